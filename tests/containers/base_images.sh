#!/usr/bin/env bash
# The images that template/Dockerfile builds on, for the engine of engine.sh where no container registry can be reached:
# Python from Debian's packages and a CPython of this machine, uv from its PyPI wheel. They stand in for the official
# images under the same tags, with the same paths inside. An image that is there already is kept.
# shellcheck disable=SC2016 # what is in single quotes is for others to expand
set -euo pipefail

suite=trixie
dockerfile=$(dirname "$0")/../../template/Dockerfile
work=${XDG_CACHE_HOME:-$HOME/.cache}/groundwork/docker
scratch=$(mktemp -d) && trap 'rm -rf "$scratch"' EXIT

argument() { sed -n "s/^ARG $1=//p" "$dockerfile"; }
missing() { ! docker image inspect "$1" >/dev/null 2>&1; }

python_image() { # python:X.Y-slim: the interpreter in /usr/local, on Debian's smallest
    local image=$1 version home mirror
    version=$(grep -oE '[0-9]+\.[0-9]+' <<<"${image#*:}")
    # Any relocatable CPython will do, as pyenv and uv install them; Debian's own in /usr is not one.
    for home in "$(pyenv root 2>/dev/null)"/versions/"$version".* \
        "$(uv python dir 2>/dev/null)"/cpython-"$version".*-linux-x86_64-gnu /usr/local; do
        [ -x "$home/bin/python$version" ] && break
    done
    [ -x "$home/bin/python$version" ] ||
        { echo "base images: no CPython $version here to make $image of (looked where pyenv and uv keep them)" >&2; exit 77; }
    echo "base images: $image from Debian $suite and $home" >&2

    mkdir -p "$scratch/root/usr/local"
    tar -C "$home" -cf - --exclude='__pycache__' --exclude="lib/python$version/"{test,idlelib,turtledemo,tkinter,'config-*','site-packages/*'} \
        --exclude='_tkinter*' --exclude='_test*.so' --exclude='*.a' "bin/python$version" lib | tar -C "$scratch/root/usr/local" -xf -
    ln -s "python$version" "$scratch/root/usr/local/bin/python3"
    ln -s "python$version" "$scratch/root/usr/local/bin/python"
    find "$scratch/root" -type f \( -name '*.so*' -o -name "python$version" \) -exec chmod u+w {} + -exec strip --strip-unneeded {} +
    mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1)
    mmdebstrap --quiet --variant=minbase \
        --include=ca-certificates,libbz2-1.0,libcrypt1,libexpat1,libffi8,liblzma5,libncursesw6,libnsl2,libreadline8t64,libsqlite3-0,libssl3t64,libuuid1,netbase,tzdata,zlib1g \
        --dpkgopt='path-exclude=/usr/share/'{doc,man,info,locale}'/*' \
        --customize-hook="copy-in $scratch/root/usr /" \
        --customize-hook='chroot "$1" sh -c "ldconfig && PIP_ROOT_USER_ACTION=ignore python3 -m ensurepip >/dev/null 2>&1 && ln -s pip3 /usr/local/bin/pip"' \
        --customize-hook='chroot "$1" python3 -c "import bz2, ctypes, curses, lzma, readline, sqlite3, ssl, uuid, zlib"' \
        --customize-hook='find "$1/usr/local" -name __pycache__ -prune -exec rm -rf {} +' \
        "$suite" - "$mirror" >"$scratch/python.tar"
    docker import --change 'ENV PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8' \
        --change 'CMD ["python3"]' "$scratch/python.tar" "$image" >/dev/null
}

uv_image() { # ghcr.io/astral-sh/uv:TAG: nothing but the two static binaries
    local image=$1
    echo "base images: $image from its wheel" >&2
    uv pip install --quiet --target "$scratch/uv" --python-platform x86_64-unknown-linux-musl "uv==${image##*:}.*"
    tar -C "$scratch/uv/bin" -cf - uv uvx | docker import --change 'ENTRYPOINT ["/uv"]' - "$image" >/dev/null
}

# Any other engine is somebody's own, with a registry behind it: there `docker build` fetches the real ones.
[ "${DOCKER_HOST-}" = "unix://$work/docker.sock" ] || exit 0
exec 9>"$work/lock" && flock 9
image=$(argument PYTHON_IMAGE) && { ! missing "$image" || python_image "$image"; }
image=$(argument UV_IMAGE) && { ! missing "$image" || uv_image "$image"; }
