#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.2.0: `--dist loadgroup` no longer keeps the tests of an xdist_group in one process.
#
# Expected: tests marked xdist_group("shop") run in one worker, as the documentation of pytest-xdist says, or the run says
# that groups are not supported.
# Seen: they are spread over both workers, without a word; with pytest 9.1.1 they stay together. pytest-xdist tells the
# scheduler of the group by a suffix that it writes to the item's private `_nodeid`, which pytest 9.2.0 no longer reads.
# Fixtures of the session are then made once more, and tests that rest on each other fail only where both workers are free.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cat >"$folder/test_shop.py" <<'PY'
import os
import time

import pytest


@pytest.mark.xdist_group("shop")
@pytest.mark.parametrize("number", range(6))
def test_of_the_group(number):
    time.sleep(0.5)
    with open("workers.txt", "a") as file:
        file.write(os.environ["PYTEST_XDIST_WORKER"] + "\n")
PY
cd "$folder"
workers_with() { # VERSION of pytest: how many processes ran the tests of the one group
    python3 -m venv "venv-$1"
    "venv-$1/bin/pip" install --quiet "pytest==$1" pytest-xdist==3.8.0
    rm -f workers.txt
    "venv-$1/bin/python" -m pytest -q -p no:cacheprovider --numprocesses 2 --dist loadgroup >/dev/null
    sort -u workers.txt | wc -l
}
before=$(workers_with 9.1.1)
after=$(workers_with 9.2.0)
echo "processes of one group: $before with pytest 9.1.1, $after with pytest 9.2.0"
[ "$before" = 1 ]
[ "$after" = 2 ] || { echo "the group stays together now" >&2; exit 1; }
