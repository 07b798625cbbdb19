"""What every command shares: it finds the pilot, and ends with a message or with one JSON object."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import groundwork as groundwork_package
import ibis
import pytest
from commands import commit, groundwork
from groundwork.cli import console, data
from groundwork.core import progress
from groundwork.documents.pilot import Pilot
from rich.console import Console


@pytest.mark.parametrize("command", ["check", "serve", "status"])
def test_an_invalid_document_ends_a_command_with_its_message(command: str, new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.logicalType", "date")
    done = groundwork(command)
    assert done.returncode == 1
    assert "✗ contract.yaml: schema.0.properties.2.logicalType: Input should be 'string'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_every_command_begins_with_an_overdue_decision(new_pilot: Pilot, set_in: Callable) -> None:
    commit(new_pilot.settings.home, "charter.yaml")
    set_in(new_pilot.settings.home / "charter.yaml", "plan.day0", date.today() - timedelta(93))
    line = "! decision overdue by 3 days: `groundwork decide scale`, `stop` or `extend`\n"
    for command in (("check",), ("signer",), ("score",), ("quarantine", "list"), ("charter", "lock", "--by", "ada")):
        assert groundwork(*command).stderr.startswith(line), command
    told = groundwork("check", "--json")
    assert (told.stderr, json.loads(told.stdout)["valid"]) == (line, True)
    assert groundwork("decide", "stop", "--by", "ada", "--by", "grace", "--why", "Nobody uses it.").stderr == line
    assert groundwork("check").stderr == ""


def test_a_line_into_a_pipe_stays_one(new_pilot: Pilot, set_in: Callable) -> None:
    name = "Emmy " + "N" * 150
    set_in(new_pilot.settings.home / "OWNERS", "accountable.model.name", name)
    set_in(new_pilot.settings.home / "charter.yaml", "plan.deciders", [])
    assert f"owner     {name} (@emmy) answers for the model\n" in groundwork("status").stdout
    [row] = [line for line in groundwork("readiness").stdout.splitlines() if "Are day 0 and the deciders" in line]
    for cell in (
        "Are day 0 and the deciders of day 90 fixed? (required)",
        "day 0 and at least two deciders",
        "Ada Love",
    ):
        assert cell in row
    assert row.rstrip().endswith("set plan.day0 and plan.deciders in charter.yaml")


def test_a_decision_that_is_not_due_yet_is_not_spoken_of(new_pilot: Pilot, set_in: Callable) -> None:
    for day0 in (date.today() - timedelta(90), "TBD"):
        set_in(new_pilot.settings.home / "charter.yaml", "plan.day0", day0)
        assert groundwork("check").stderr == ""


def test_it_works_in_a_folder_of_the_pilot_and_nowhere_else(new_pilot: Pilot, tmp_path: Path) -> None:
    inside = new_pilot.settings.home / "docs"
    environment = {name: value for name, value in os.environ.items() if name != "GROUNDWORK_HOME"}
    command = [sys.executable, "-m", "groundwork.cli.main", "check"]
    for folder, code in ((inside, 0), (tmp_path, 1)):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
    assert "run this in the pilot's folder or set GROUNDWORK_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_is_no_pilot_is_refused(tmp_path: Path) -> None:
    done = groundwork("check", GROUNDWORK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "there is no charter.yaml in" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["check", "status"])
def test_json_is_one_object_and_nothing_else(command: str, new_pilot: Pilot) -> None:
    done = groundwork(command, "--json")
    assert done.returncode == 0
    said = json.loads(done.stdout)
    assert said["valid"] if command == "check" else said["champion"] is None
    assert done.stderr == ""


def test_an_error_in_json_says_what_text_says(new_pilot: Pilot) -> None:
    done = groundwork("ingest", "--json", "--since", "2013-01-01")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "error": "give both --since and --until, with --since earlier than --until, or neither"
    }


@pytest.mark.parametrize("terminal", [True, False])
def test_a_terminal_shows_a_bar_and_a_pipe_nothing(terminal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(console, "console", Console(file=shown, force_terminal=terminal, width=100))
    with console.under_way("ingest"):
        progress.tell("windows", 3, 12)
    assert ("3 of 12 windows" in shown.getvalue()) is terminal
    assert bool(shown.getvalue()) is terminal


def test_an_error_that_nobody_foresaw_ends_in_one_line_that_tells_how_to_see_more(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "require_both_or_neither", lambda since, until: {}["until"])
    done = groundwork("ingest")
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert re.fullmatch(
        r"✗ src/groundwork/cli/data\.py:\d+: KeyError: 'until' "
        r"\(for the whole traceback, run `groundwork --traceback ingest …`\)",
        line,
    )
    whole = groundwork("--traceback", "ingest")
    assert whole.returncode == 1
    assert "Traceback (most recent call last):" in whole.stderr
    assert whole.stderr.splitlines()[-1].endswith(": KeyError: 'until'")
    told = groundwork("ingest", "--json")
    assert json.loads(told.stdout)["error"].endswith("KeyError: 'until'")


def test_an_error_of_the_teams_code_is_told_with_its_line_and_the_traceback_has_the_whole(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flights(name: str) -> None:
        raise RuntimeError(f"no table {name}")

    monkeypatch.setattr(
        ibis, "connect", lambda url: SimpleNamespace(name="sqlite", table=flights, disconnect=lambda: None)
    )
    done = groundwork("ingest")
    line = done.stderr.splitlines()[0]
    assert re.match(r"✗ src/use_case/source\.py:\d+: rows\(\) cannot build its query .*: no table flights", line)
    assert "Traceback" not in done.stderr
    assert done.stderr.rstrip().endswith("(for the whole traceback, run `groundwork --traceback ingest …`)")
    assert 'flights = source.table("flights")' in groundwork("--traceback", "ingest").stderr


def test_an_error_that_says_how_to_fix_it_names_no_traceback(new_pilot: Pilot) -> None:
    done = groundwork("ingest", "--since", "2013-01-01")
    assert done.stderr == "✗ give both --since and --until, with --since earlier than --until, or neither\n"


@pytest.mark.parametrize("verb", ["check", "train", "ingest"])
def test_a_syntax_error_in_the_use_case_ends_a_command_at_once(verb: str, new_pilot: Pilot, tmp_path: Path) -> None:
    source = Path(groundwork_package.__file__).parents[1]
    shutil.copytree(source / "use_case", tmp_path / "src/use_case", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "src/use_case/model.py").open("a", encoding="utf-8") as file:
        file.write("\nx = (\n")
    lines = len((tmp_path / "src/use_case/model.py").read_text(encoding="utf-8").splitlines())
    environment = os.environ | {"PYTHONPATH": f"{tmp_path / 'src'}{os.pathsep}{source}"}
    command = [sys.executable, "-m", "groundwork.cli.main", verb]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"✗ src/use_case/model.py:{lines}: '(' was never closed\n"


@contextmanager
def full_disk(pilot: Pilot, room: int) -> Iterator[Path]:
    """The pilot's data folder on a file system of its own, with so many bytes of room; yields the file to delete."""
    data, there = pilot.settings.data_folder, pilot.settings.home / "before"
    data.rename(there)
    data.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=60m", "tmpfs", data]).returncode != 0:
        pytest.skip("only root makes a file system")
    try:
        shutil.copytree(there, data, dirs_exist_ok=True)
        rest = data / "rest"
        with rest.open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(b" " * 4096):
                pass
        os.truncate(rest, rest.stat().st_size - room)
        yield rest
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


@pytest.mark.soak
@pytest.mark.parametrize("room", [0, 150_000])  # the latter lets a run begin and write a part
def test_on_a_full_disk_every_verb_ends_in_one_sentence_and_works_again_when_there_is_room(
    room: int, pilot_copy: Pilot, sql: Callable[..., Any], set_in: Callable[[Path, str, Any], None]
) -> None:
    sql(pilot_copy, "update flights set arr_delay = arr_delay + 1 where month = 2")  # there is something to ingest
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minGainOverChampion", -1e9)  # and to train
    with full_disk(pilot_copy, room) as rest:
        for verb in ("ingest", "train", "score", "monitor", "evaluate", "retrain"):
            done = groundwork(verb)
            assert done.returncode == 1, (verb, done.stdout)
            assert "there is no room left on the disk" in done.stderr, (verb, done.stderr)
            assert len(done.stderr.splitlines()) == 1
        rest.unlink()
        for verb in ("ingest", "train", "score", "monitor"):
            done = groundwork(verb)
            assert done.returncode == 0, (verb, done.stderr)
