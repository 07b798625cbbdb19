"""The verbs of the loop: what they say, and with which exit code they end."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from commands import groundwork
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.store.database import Store
from groundwork.store.runs import FlowRun, UnderWay


def test_status_tells_what_is_under_way_from_what_is_lost(new_pilot: Pilot) -> None:
    now = datetime.now(UTC)
    with Store(new_pilot.settings.store) as store:
        store.runs.keep_alive(UnderWay("1", "train", now - timedelta(hours=1), now - timedelta(seconds=40)))
        store.runs.keep_alive(UnderWay("2", "ingest", now - timedelta(hours=1), now - timedelta(minutes=30)))
    said = groundwork("status").stdout
    assert re.search(r"^… train    .* UTC, running; last heartbeat [4-9]\d s ago$", said, re.MULTILINE)
    assert re.search(r"^✗ ingest   .* its process was killed, or the machine went down", said, re.MULTILINE)
    told = json.loads(groundwork("status", "--json").stdout)
    assert [run["flow"] for run in told["under_way"]] == ["train"]
    assert [run["flow"] for run in told["flow_runs"]] == ["ingest"]


@pytest.mark.parametrize("command", ["ingest", "score", "monitor"])
@pytest.mark.parametrize(
    "options",
    [
        ["--since", "2013-01-01"],
        ["--until", "2013-01-01"],
        ["--since", "2013-02-01", "--until", "2013-01-01"],
        ["--since", "2013-02-01", "--until", "2013-02-01"],
    ],
)
def test_half_a_window_is_refused(command: str, options: list[str], new_pilot: Pilot) -> None:
    done = groundwork(command, *options)
    assert done.returncode == 1
    assert "give both --since and --until, with --since earlier than --until, or neither" in done.stderr


def test_a_candidate_that_waits_says_how_it_is_approved(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.approval", "required")
    done = groundwork("train")
    assert done.returncode == 0
    assert done.stdout.endswith("next: groundwork approve 2 --by HANDLE --why REASON\n")


def test_train_names_its_windows_and_an_ingest_that_failed(pilot_copy: Pilot) -> None:
    now = datetime.now(UTC)
    with Store(pilot_copy.settings.store) as store:
        store.runs.record(FlowRun(flow="ingest", started_at=now, message="ContractBreach: too\nmany"))
    said = groundwork("train").stdout
    assert re.search(
        r"version 1 was already trained with this code on [\d,]+ rows of 2013-01-01 to 2013-01-31, "
        r"judged on [\d,]+ rows of 2013-02-01 to 2013-02-28",
        said,
    )
    assert f"the last ingest, {now:%Y-%m-%d %H:%M} UTC, failed: ContractBreach: too many" in said


ONE_AFTER_THE_OTHER = """
import sys
from groundwork.cli.main import app

for command in sys.argv[1:]:
    try:
        app(command.split())
    except SystemExit as end:
        print("EXIT", command, end.code)
"""


@pytest.mark.soak
def test_real_flows_do_what_the_plain_functions_do(pilot: Pilot, new_pilot: Pilot) -> None:
    """In a process of its own: a refusal, the whole way to a champion, and drift that is not known."""
    commands = ["status", "monitor", "ingest", "train", "monitor --json", "monitor", "status"]
    script = [sys.executable, "-c", ONE_AFTER_THE_OTHER, *commands]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    codes = [line.split()[-1] for line in done.stdout.splitlines() if line.startswith("EXIT")]
    assert codes == ["0", "1", "0", "0", "2", "2", "0"], done.stderr
    before, after = done.stdout.partition("EXIT")[0], done.stdout.rpartition("EXIT monitor")[2]
    assert "champion  none: run `groundwork train`" in before
    assert "drift     unknown: run `groundwork monitor`" in before
    assert "champion  version 1" in after
    assert "✓ train" in after
    assert "✗ monitor" in after
    assert "Emmy Noether (@emmy) answers for the model" in after
    assert "✗ there are no snapshots yet: run `groundwork ingest` first" in done.stderr
    assert "the logged predictions: 0 rows, at least 500 are needed" in done.stdout
    [unknown] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert unknown["status"] == "unknown"
    dataset = new_pilot.contract.dataset
    expected, found = (Snapshots(each.snapshots, dataset).read() for each in (pilot, new_pilot))
    assert found.equals(expected)
    champion = Registry(new_pilot).champion()
    assert champion is not None
    assert champion.tags["bundle_reason"].startswith("proven equal")
    with Store(new_pilot.settings.store) as store:
        assert {run.flow for run in store.runs.latest(succeeded=True)} == {"ingest", "train"}
        assert {run.flow for run in store.runs.latest(succeeded=False)} == {"monitor"}
