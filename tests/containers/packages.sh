#!/usr/bin/env bash
# Unpacks packages of Debian into a folder, whatever Debian this machine has; nothing is installed.
#
#   tests/containers/packages.sh FOLDER PACKAGE…
#
# Exit code 77 means: this machine cannot fetch them. The last line on stderr then says why.
# shellcheck disable=SC2016 # what is in single quotes is for apt to expand
set -euo pipefail

suite=trixie # the oldest Debian with cosign, whose engine knows `HEALTHCHECK --start-interval` and runs on an older libc
folder=$1
apt=$folder.apt
shift

cannot() { echo "no packages: $*" >&2; exit 77; }

command -v apt-get >/dev/null || cannot "they are fetched with apt-get, and this is no Debian"
# An apt of its own, so that the machine's keeps to its own suite. The mirror is the one the machine already uses.
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1) ||
    cannot "apt has no Debian mirror to fetch packages from"
rm -rf "$apt" "$folder.new" && mkdir -p "$apt"/{lists,archives}/partial "$folder.new"
: >"$apt/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$apt/sources.list"
cat >"$apt/conf" <<-EOF
	Dir::State::Lists "$apt/lists"; Dir::State::Status "$apt/status"; Dir::Cache "$apt"; Dir::Cache::Archives "$apt/archives";
	Dir::Etc::SourceList "$apt/sources.list"; Dir::Etc::SourceParts "/dev/null"; Dir::Etc::PreferencesParts "/dev/null"; APT::Sandbox::User "root";
EOF
(
    export APT_CONFIG=$apt/conf
    cd "$apt/archives" && apt-get -qq update && apt-get -qq download "$@"
) >&2 || cannot "apt-get could not fetch $*"
for deb in "$apt"/archives/*.deb; do dpkg-deb -x "$deb" "$folder.new"; done
rm -rf "$apt" "$folder" && mv "$folder.new" "$folder" # last and at once: a broken-off run is not mistaken for a whole one
