"""No library sends telemetry: whatever a process imports, and in the images."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from groundwork.core.environment import QUIET, prepare
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from offline import reached_by, unshared
from pilots import ROOT

# Every verb of the loop and the service, each its own process; then a flow on a Prefect server, as a worker has it. The
# last process sleeps as long as ONNX Runtime waits before it sends.
EVERYTHING = """
import subprocess, sys, time

groundwork = [sys.executable, "-m", "groundwork.cli.main"]
subprocess.run([*groundwork, "up", "--once"], check=True)
for verb in ("evaluate", "retrain", "status", "readiness"):
    subprocess.run([*groundwork, verb])  # what they find is of no account

from groundwork.core.environment import prepare
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from groundwork.pipeline.prefect_server import announced

pilot = Pilot.here()
prepare(pilot.settings)
with announced(pilot.settings):
    print(by_hand.run(pilot, "score"))
    time.sleep(15)
"""


def elsewhere(home: Path, **variables: str) -> dict[str, str]:
    """The environment of a user: with a home of its own, not of CI, and without what this module has set already."""
    hidden = {*QUIET, "CI", "GITHUB_ACTIONS", "GITLAB_CI"}
    kept = {name: value for name, value in os.environ.items() if name not in hidden and not name.startswith("PYTEST")}
    return kept | {"HOME": str(home)} | variables


@pytest.mark.parametrize(("found", "left"), [(None, 0o700), (0o755, 0o700), (0o2775, 0o2770)])
def test_the_data_folder_is_closed_to_other_users(
    found: int | None, left: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that of an earlier release; a group that may write in it keeps its rights."""
    (tmp_path / "charter.yaml").touch()
    data = tmp_path / "data"
    if found is not None:
        data.mkdir()
        data.chmod(found)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    prepare(Settings(home=tmp_path))
    assert data.stat().st_mode & 0o7777 == left


def test_a_process_is_silent_before_it_imports_any_library() -> None:
    code = "import json, os, sys, groundwork; print(json.dumps([dict(os.environ), 'pydantic' in sys.modules]))"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=elsewhere(Path.home(), ORT_DISABLE_TELEMETRY="0"),
        text=True,
        capture_output=True,
        check=True,
    )
    variables, heavy = json.loads(said.stdout)
    assert variables | QUIET == variables
    assert not heavy


def test_the_images_say_the_same() -> None:
    [line] = re.findall("^ENV (.*_TELEMETRY=.*)", (ROOT / "template/Dockerfile").read_text(), re.MULTILINE)
    assert dict(each.split("=") for each in line.split()) == {
        name: value for name, value in QUIET.items() if re.search("TRACK$|TELEMETRY$|ANALYTICS", name)
    }


@pytest.mark.soak
@pytest.mark.skipif(not unshared(), reason="a network namespace of one's own is not allowed here")
def test_loop_flows_and_service_reach_nobody(new_pilot: Pilot, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    source = shutil.move(new_pilot.settings.data_folder / "operational.duckdb", tmp_path)
    environment = elsewhere(home, GROUNDWORK_SOURCE_URL=f"duckdb://{source}")
    assert reached_by([sys.executable, "-c", EVERYTHING], tmp_path / "seen", environment) == []
    assert not [file for file in home.rglob("*") if "microsoft" in str(file).lower()]
