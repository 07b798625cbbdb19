#!/usr/bin/env bash
# Copier 9.19.1: a question of `type: bool` takes any word or number that it does not know for yes, without a word.
#
# Expected: `--data sign=nein` is refused, as a value of `type: int` that is no number is, or as a word outside `choices`.
# Seen: `no`, `off` and `0` are no; `yes`, and just as well `nein`, `maybe` and `3`, are yes, and Copier ends with 0. What
# is not among the words that it knows is cast as Python's bool() does, for which every text but the empty one is true. A
# validator sees the boolean alone, so a template cannot refuse the word.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet copier==9.19.1
mkdir template
printf 'sign: {type: bool, default: false}\nrows: {type: int, default: 1}\n' >template/copier.yml
echo '{{ sign }}' >template/answer.txt.jinja
answer() { # WORD: what the project says
    rm -rf project
    venv/bin/copier copy --quiet --defaults --data "sign=$1" template project 2>/dev/null
    cat project/answer.txt
}
for word in yes no nein maybe 3; do echo "$word: $(answer "$word")"; done
[ "$(answer yes)" = True ] && [ "$(answer no)" = False ]
if venv/bin/copier copy --quiet --defaults --data rows=many template other 2>/dev/null; then exit 1; fi
echo "rows=many: refused"
[ "$(answer nein)" = True ] && [ "$(answer maybe)" = True ] || { echo "Copier refuses the word now" >&2; exit 1; }
