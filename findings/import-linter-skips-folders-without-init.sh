#!/usr/bin/env bash
# import-linter 2.17 on grimp 3.20: inside a package with __init__.py, a folder without one is left out of the graph, so a
# forbidden import in it is reported as kept.
#
# Expected: every module that Python can import as part of the root package is analysed (a folder without __init__.py is a
# namespace package, importable since Python 3.3), or a warning names what was left out.
# Seen: the folder is skipped without a word, the contract is KEPT and the exit code is 0. Where the root package itself has
# no __init__.py, the same folder is analysed, and the same contract is BROKEN.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet import-linter==2.17 grimp==3.20
mkdir -p "$folder/shop/low" "$folder/shop/high/deep"
touch "$folder/shop/low/__init__.py" "$folder/shop/high/__init__.py"
echo "price = 1" >"$folder/shop/low/prices.py"
echo "import json" >"$folder/shop/high/deep/report.py"
cat >"$folder/.importlinter" <<'INI'
[importlinter]
root_package = shop
include_external_packages = True

[importlinter:contract:1]
name = nothing of json
type = forbidden
source_modules = shop.high
forbidden_modules = json
INI
cd "$folder"
echo "" >shop/__init__.py
PYTHONPATH=. venv/bin/python -c "import shop.high.deep.report"
PYTHONPATH=. venv/bin/lint-imports --no-cache | grep -E "KEPT|BROKEN" | tee with-init.txt
grep -q "nothing of json KEPT" with-init.txt || { echo "the folder is analysed now"; exit 1; }
touch shop/high/deep/__init__.py
PYTHONPATH=. venv/bin/lint-imports --no-cache | grep -E "KEPT|BROKEN" | tee all-init.txt || true
grep -q "nothing of json BROKEN" all-init.txt
echo "as found: the same import counts only once the folder has an __init__.py"
