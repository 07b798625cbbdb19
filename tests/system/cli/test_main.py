"""The command line: what it says, and with which exit code it ends."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.pipeline import work
from groundwork.store.database import Store
from groundwork.store.runs import UnderWay


def groundwork(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "groundwork.cli.app.main", *arguments],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_check_accepts_the_documents_and_lists_what_is_open(new_pilot: Pilot, set_in: Callable) -> None:
    for path in ("decision.statement", "plan.day0"):
        set_in(new_pilot.settings.home / "charter.yaml", path, "TBD")
    set_in(new_pilot.settings.home / "OWNERS", "accountable.model.name", "TBD: who?")
    assert groundwork("owners").returncode == 0
    done = groundwork("check")
    assert done.returncode == 0
    for line in ("charter.yaml is valid", "contract.yaml is valid", "OWNERS is valid"):
        assert f"✓ {line}\n" in done.stdout
    still_open = {line.split()[0] for line in done.stdout.splitlines() if "is still TBD" in line}
    assert still_open >= {"decision.statement", "plan.day0", "accountable.model.name"}
    assert not any(path.startswith(("approvers", "accountable.data", "value")) for path in still_open)


def test_check_fails_where_the_dictionary_says_something_else(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.description", "The airline | its code.")
    done = groundwork("check")
    assert done.returncode == 1
    assert "docs/data-dictionary.md: does not say what contract.yaml says: run `groundwork dictionary`" in done.stderr
    assert groundwork("dictionary").returncode == 0
    page = (new_pilot.settings.home / "docs/data-dictionary.md").read_text(encoding="utf-8")
    assert "| `carrier` | The airline \\| its code. | text; written as `^[0-9A-Z]{2}$`; always there | B6 |" in page
    assert "docs/data-dictionary.md says what contract.yaml says" in groundwork("check").stdout
    (new_pilot.settings.home / "docs/data-dictionary.md").unlink()
    assert groundwork("check").returncode == 1


def test_check_fails_where_other_tools_are_told_something_else_than_owners_says(new_pilot: Pilot) -> None:
    file = new_pilot.settings.home / "CODEOWNERS"
    file.write_text(file.read_text(encoding="utf-8").replace("@emmy", "@mallory"), encoding="utf-8")
    done = groundwork("check")
    assert done.returncode == 1
    assert "✗ CODEOWNERS: does not say what OWNERS says\nrun `groundwork owners` and commit" in done.stderr
    assert groundwork("owners").stdout.startswith(
        "✓ CODEOWNERS\n✓ catalog-info.yaml\n✓ ops/prometheus/alertmanager.yml\n"
    )
    told = json.loads(groundwork("check", "--json").stdout)
    assert told["warnings"] == [
        "no alert is sent to who has no email in OWNERS: decision (@ada), data:flights (@grace), model (@emmy), "
        "service (@alan)"
    ]


def commit(home: Path, *documents: str) -> None:
    """The first commit of a repository."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for arguments in (["init", "-q"], ["add", *documents], ["commit", "-qm", "The start."]):
        subprocess.run([*git, *arguments], cwd=home, check=True)


def test_check_fails_where_the_contract_breaks_the_last_one(new_pilot: Pilot, set_in: Callable) -> None:
    commit(new_pilot.settings.home, "contract.yaml")
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.5.logicalTypeOptions.maximum", 600)
    done = groundwork("check")
    assert done.returncode == 1
    assert "✗ contract.yaml: version 1.0.0 breaks what version 1.0.0 at the last commit promised:\n" in done.stderr
    assert "  distance_miles: maximum 6000 is now 600\n" in done.stderr
    set_in(new_pilot.settings.home / "contract.yaml", "version", "2.0.0")
    assert groundwork("dictionary").returncode == 0
    assert "contract.yaml begins a new series" in groundwork("check").stdout


@pytest.mark.parametrize("command", ["check", "serve", "status"])
def test_an_invalid_document_ends_a_command_with_its_message(command: str, new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.logicalType", "date")
    done = groundwork(command)
    assert done.returncode == 1
    assert "✗ contract.yaml: schema.0.properties.2.logicalType: Input should be 'string'" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_a_line_moved_behind_its_seal_fails_the_check(new_pilot: Pilot, set_in: Callable) -> None:
    assert groundwork("charter", "lock", "--by", "ada").returncode == 0
    assert "nobody can tell silent edits, without git" in groundwork("check").stderr
    commit(new_pilot.settings.home, "charter.yaml")
    assert groundwork("check").returncode == 0
    set_in(new_pilot.settings.home / "charter.yaml", "readyToScale.criteria.0.threshold", 1)
    done = groundwork("check")
    assert done.returncode == 1
    assert "the criteria differ from those sealed on" in done.stderr
    amend = ("charter", "amend", "--by", "ada", "--why", "Measured anew.")
    assert "takes a second person" in groundwork(*amend, "--approved-by", "ada").stderr
    assert groundwork(*amend, "--approved-by", "grace").returncode == 0
    assert groundwork("check").returncode == 0


def test_readiness_ends_with_its_verdict_and_keeps_its_report(new_pilot: Pilot) -> None:
    done = groundwork("readiness", "--report", "report", cwd=new_pilot.settings.home)
    assert done.returncode == 3
    assert done.stdout.startswith("Criteria not locked yet\nnext: the criteria are not locked")
    assert {file.name for file in (new_pilot.settings.home / "report").iterdir()} == {
        "badge.svg",
        "scorecard.html",
        "scorecard.md",
        "scorecard.xml",
    }
    assert json.loads(groundwork("readiness", "--json").stdout)["exit_code"] == 3
    (new_pilot.settings.home / "charter.yaml").write_text("{}", encoding="utf-8")
    assert groundwork("readiness").returncode == 3


def test_status_tells_what_is_under_way_from_what_is_lost(new_pilot: Pilot) -> None:
    now = datetime.now(UTC)
    with Store(new_pilot.settings.store) as store:
        store.runs.keep_alive(UnderWay("1", "train", now - timedelta(hours=1), now - timedelta(seconds=40)))
        store.runs.keep_alive(UnderWay("2", "ingest", now - timedelta(hours=1), now - timedelta(minutes=30)))
    said = groundwork("status").stdout
    assert re.search(r"^… train    .* UTC, under way; heard of [4-9]\d s ago$", said, re.MULTILINE)
    assert re.search(r"^✗ ingest   .* its process was killed, or the machine went down", said, re.MULTILINE)
    told = json.loads(groundwork("status", "--json").stdout)
    assert [run["flow"] for run in told["under_way"]] == ["train"]
    assert [run["flow"] for run in told["flow_runs"]] == ["ingest"]


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


def test_a_decision_that_is_not_due_yet_is_not_spoken_of(new_pilot: Pilot, set_in: Callable) -> None:
    for day0 in (date.today() - timedelta(90), "TBD"):
        set_in(new_pilot.settings.home / "charter.yaml", "plan.day0", day0)
        assert groundwork("check").stderr == ""


def test_a_pilot_below_its_line_is_not_scaled(new_pilot: Pilot) -> None:
    both = ("--by", "ada", "--by", "grace", "--why", "We like it.")
    done = groundwork("decide", "scale", *both)
    assert (done.returncode, "the line for scaling is not met" in done.stderr) == (1, True)
    assert groundwork("decide", "continue", *both).returncode == 2
    assert groundwork("decide", "stop", *both).returncode == 0
    assert (new_pilot.settings.home / "decision-record.yaml").exists()


def test_it_works_in_a_folder_of_the_pilot_and_nowhere_else(new_pilot: Pilot, tmp_path: Path) -> None:
    inside = new_pilot.settings.home / "docs"
    environment = {name: value for name, value in os.environ.items() if name != "GROUNDWORK_HOME"}
    command = [sys.executable, "-m", "groundwork.cli.app.main", "check"]
    for folder, code in ((inside, 0), (tmp_path, 1)):
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code
    assert "run this inside the pilot's folder or set GROUNDWORK_HOME" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_home_that_is_no_pilot_is_refused(tmp_path: Path) -> None:
    done = groundwork("check", GROUNDWORK_HOME=str(tmp_path))
    assert done.returncode == 1
    assert "there is no charter.yaml in" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_said_to_be_in_use(new_pilot: Pilot) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = groundwork("serve", GROUNDWORK_PORT=port)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use: stop what uses it, or set GROUNDWORK_PORT" in done.stderr


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
    assert "give both --since and --until, the earlier day first, or neither" in done.stderr


def test_a_candidate_that_waits_says_how_it_is_approved(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.approval", "required")
    done = groundwork("train")
    assert done.returncode == 0
    assert done.stdout.endswith("next: groundwork approve 2 --by HANDLE --why REASON\n")


def test_months_in_which_nobody_decided_are_no_empty_table(
    new_pilot: Pilot, capsys: pytest.CaptureFixture[str]
) -> None:
    cli._show_months(new_pilot)
    assert "no version is in service, so nobody decided" in " ".join(capsys.readouterr().out.split())


def test_quarantine_and_erasure_say_what_they_did(
    new_pilot: Pilot, sql: Callable, set_in: Callable, plain_steps: None
) -> None:
    sql(new_pilot, "update flights set origin = 'HPN' where flight < 10")
    work.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    said = groundwork("quarantine", "list").stdout
    assert re.search(r"2013-01-01 to 2013-01-31 +\d+ rows  origin: is none of EWR, JFK, LGA: HPN\n", said)
    assert "Grace Hopper (@grace) answers for the data set flights" in said
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.3.quality", [])
    assert re.search(
        r"✓ replay +\d+ rows let in, 0 stay, snapshot version 1 ", groundwork("quarantine", "replay").stdout
    )
    assert "there is nothing in quarantine" in groundwork("quarantine", "list").stdout
    subject = Snapshots(new_pilot.snapshots, new_pilot.contract.dataset).read()["flight_id"][0].as_py()
    said = groundwork("erase", "--subject", subject).stdout
    assert "by flight_id: 1 rows of the snapshots, 0 of quarantine, 0 predictions, 0 outcomes" in said
    assert "not touched: the source, backups, and models that were trained on it" in said


def test_what_is_no_command_is_wrong_use(new_pilot: Pilot) -> None:
    assert groundwork("ingets").returncode == 2
    assert groundwork("ingest", "--since", "yesterday").returncode == 2


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
    assert json.loads(done.stdout) == {"error": "give both --since and --until, the earlier day first, or neither"}


ONE_AFTER_THE_OTHER = """
import sys
from groundwork.cli.app.main import app

for command in sys.argv[1:]:
    try:
        app(command.split())
    except SystemExit as end:
        print("EXIT", command, end.code)
"""


def test_real_flows_do_what_the_plain_functions_do(pilot: Pilot, new_pilot: Pilot) -> None:
    """Through Prefect: a refusal, the whole way to a champion, and drift that nobody can tell."""
    commands = ["status", "monitor", "ingest", "train", "monitor --json", "monitor", "status"]
    script = [sys.executable, "-c", ONE_AFTER_THE_OTHER, *commands]  # in one process: each starts Prefect's server
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
