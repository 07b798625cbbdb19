"""The gate judges again, and leaves everything as it is."""

import json
from pathlib import Path

from commands import groundwork
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry


def everything(home: Path) -> dict[str, bytes]:
    files = [path for path in home.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))]
    return {str(path.relative_to(home)): path.read_bytes() for path in files}


def test_the_champion_is_judged_again_and_nothing_changes(pilot_copy: Pilot) -> None:
    Registry(pilot_copy)  # a copy's addresses become its own
    before = everything(pilot_copy.settings.home)
    done = groundwork("judge", "--json")
    assert done.returncode == 0
    [found] = json.loads(done.stdout)["judged"]
    assert (found["version"], found["champion"], found["passed"]) == ("1", True, True)
    assert found["evidence"]["rows"] > 1000
    assert {check["name"]: check["passed"] for check in found["evidence"]["checks"]}["features match contract.yaml"]
    assert everything(pilot_copy.settings.home) == before


def test_a_line_that_the_champion_misses_is_told(pilot_copy: Pilot) -> None:
    charter = pilot_copy.settings.home / "charter.yaml"
    charter.write_text(charter.read_text(encoding="utf-8").replace("minimum: 0.55", "minimum: 0.99"), encoding="utf-8")
    done = groundwork("judge")
    assert done.returncode == 1
    assert "version 1, the champion, would be refused" in done.stdout
    assert "✗ roc_auc: required at least 0.99" in done.stdout


def test_without_a_version_there_is_nothing_to_judge(new_pilot: Pilot) -> None:
    done = groundwork("judge", "--json")
    assert done.returncode == 1
    assert "has no version yet: run `groundwork train`" in json.loads(done.stdout)["error"]
