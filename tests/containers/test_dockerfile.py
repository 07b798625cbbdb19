"""The Dockerfile without an engine."""

import subprocess
import sys
from pathlib import Path

TEMPLATE = Path(__file__).parents[2] / "template"


def test_dockerfile_keeps_to_good_practice() -> None:
    """Every rule of hadolint, none silenced."""
    hadolint = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([hadolint, TEMPLATE / "Dockerfile"], text=True, capture_output=True)
    assert found.returncode == 0, found.stdout + found.stderr
