#!/usr/bin/env bash
# Copier 9.19.1: a copy starts git once for each file of the template, also into a folder that is no git repository.
#
# Expected: the number of processes of a copy does not depend on the number of files: whether the file system keeps the
# executable bit is asked once, or not at all where there is no repository.
# Seen: 10 files more are 10 starts of git more, each `git config core.fileMode`, with the same answer. A copy of 250 files
# spends about a fifth of its time in it.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet copier==9.19.1
mkdir bin
real=$(command -v git)
printf '#!/bin/sh\necho "$*" >>"%s/calls"\nexec "%s" "$@"\n' "$folder" "$real" >bin/git
chmod +x bin/git
calls() { # FILES: how often git is started for a copy of so many files
    rm -rf template project calls
    mkdir template
    echo '_min_copier_version: "9"' >template/copier.yml
    for number in $(seq "$1"); do echo text >"template/file-$number.txt"; done
    : >calls
    PATH=$folder/bin:$PATH venv/bin/copier copy --quiet --defaults template project 2>/dev/null
    wc -l <calls
}
ten=$(calls 10)
twenty=$(calls 20)
sort calls | uniq -c | sort -rn | head -3
echo "10 files: $ten starts of git; 20 files: $twenty"
[ $((twenty - ten)) -eq 10 ] || { echo "git is started as often for 20 files as for 10 now" >&2; exit 1; }
