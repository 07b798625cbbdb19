"""What a pilot's own tests have no time for: hundreds of faults, in the installed demo. A few minutes each."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from support import ROOT

FILE = ROOT / "tests/in_pilot/long_faults.py"
FAULTS = re.findall(r"^def (test_\w+)", FILE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_the_service_survives(fault: str, pilot: Path, tmp_path: Path) -> None:
    tests = pilot / "tests"
    copy = shutil.copy(FILE, tmp_path)  # away from this repository's own conftest.py
    done = subprocess.run(
        [pilot / ".venv/bin/python", "-m", "pytest", "-q", "-rs", "-p", "conftest", f"{copy}::{fault}"],
        cwd=pilot,
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(map(str, (tests, tests / "groundwork"))), "INSTALLED_PILOT": str(pilot)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=1500,
    )
    if done.returncode == 0 and "1 skipped" in done.stdout:
        pytest.skip(done.stdout[-500:])
    assert done.returncode == 0, done.stdout[-5000:]
