"""The verbs about the decision: what they say of the documents, the criteria and the scorecard."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from commands import commit, groundwork
from groundwork.core.errors import DocumentError
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import data_dictionary
from pilots import ROOT


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


def test_check_lists_what_is_wrong_in_every_document_at_once(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "charter.yaml", "gate.minRows", "many")
    set_in(new_pilot.settings.home / "contract.yaml", "status", 3)
    (new_pilot.settings.home / "OWNERS").write_text("accountable: nobody\n", encoding="utf-8")
    done = groundwork("check")
    assert done.returncode == 1
    for place in ("charter.yaml: gate.minRows: ", "contract.yaml: status: ", "OWNERS: accountable: "):
        assert done.stderr.count(place) == 1


def test_check_lists_what_is_wrong_beyond_the_documents_at_once(new_pilot: Pilot) -> None:
    (new_pilot.settings.home / "CODEOWNERS").unlink()
    (new_pilot.settings.home / "docs/clients.md").unlink()
    done = groundwork("check")
    assert done.returncode == 1
    assert "CODEOWNERS" in done.stderr
    assert "docs/clients.md" in done.stderr
    assert "✓ charter.yaml is valid" in done.stdout


def test_check_fails_where_the_dictionary_says_something_else(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.description", "The airline | its code.")
    done = groundwork("check")
    assert done.returncode == 1
    assert "docs/data-dictionary.md: does not match contract.yaml: run `groundwork dictionary`" in done.stderr
    assert groundwork("dictionary").returncode == 0
    page = (new_pilot.settings.home / "docs/data-dictionary.md").read_text(encoding="utf-8")
    assert "| `carrier` | The airline \\| its code. | text; matches `^[0-9A-Z]{2}$`; required | B6 |" in page
    assert "docs/data-dictionary.md and docs/clients.md match contract.yaml" in groundwork("check").stdout
    (new_pilot.settings.home / "docs/data-dictionary.md").unlink()
    done = groundwork("check")
    assert done.returncode == 1
    assert "docs/data-dictionary.md: is missing: run `groundwork dictionary` and commit it" in done.stderr


def test_check_fails_where_clients_are_told_of_another_contract(new_pilot: Pilot) -> None:
    shutil.copy(ROOT / "tests/orders/contract.yaml", new_pilot.settings.home)
    data_dictionary.write(new_pilot.settings.home, Pilot.here().contract)
    clients = new_pilot.settings.home / "docs/clients.md"
    clients.write_text(clients.read_text(encoding="utf-8").replace("order_id", "flight_id"), encoding="utf-8")
    with pytest.raises(DocumentError, match=r"^docs/clients\.md: does not match contract\.yaml: run `groundwork dict"):
        data_dictionary.check(new_pilot.settings.home, Pilot.here().contract)
    data_dictionary.write(new_pilot.settings.home, Pilot.here().contract)
    data_dictionary.check(new_pilot.settings.home, Pilot.here().contract)
    assert "flight_id" not in clients.read_text(encoding="utf-8")


def test_check_fails_where_other_tools_are_told_something_else_than_owners_says(new_pilot: Pilot) -> None:
    file = new_pilot.settings.home / "CODEOWNERS"
    file.write_text(file.read_text(encoding="utf-8").replace("@emmy", "@mallory"), encoding="utf-8")
    done = groundwork("check")
    assert done.returncode == 1
    assert "✗ CODEOWNERS: does not match OWNERS\nrun `groundwork owners` and commit" in done.stderr
    assert groundwork("owners").stdout.startswith(
        "✓ CODEOWNERS\n✓ catalog-info.yaml\n✓ ops/prometheus/alertmanager.yml\n"
    )
    told = json.loads(groundwork("check", "--json").stdout)
    assert told["warnings"] == [
        "no email in OWNERS, so no alerts are sent to: decision (@ada), data:flights (@grace), model (@emmy), "
        "service (@alan)"
    ]


def test_check_fails_where_the_contract_breaks_the_last_one(new_pilot: Pilot, set_in: Callable) -> None:
    commit(new_pilot.settings.home, "contract.yaml")
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.5.logicalTypeOptions.maximum", 600)
    done = groundwork("check")
    assert done.returncode == 1
    assert "✗ contract.yaml: version 1.0.0 breaks compatibility with version 1.0.0 at the last commit:\n" in done.stderr
    assert "  distance_miles: maximum was 6000, is now 600\n" in done.stderr
    set_in(new_pilot.settings.home / "contract.yaml", "version", "2.0.0")
    assert groundwork("dictionary").returncode == 0
    assert "contract.yaml starts a new series" in groundwork("check").stdout


def test_a_line_moved_behind_its_seal_fails_the_check(new_pilot: Pilot, set_in: Callable) -> None:
    assert groundwork("charter", "lock", "--by", "ada").returncode == 0
    assert "silent edits cannot be detected without git" in groundwork("check").stderr
    commit(new_pilot.settings.home, "charter.yaml")
    assert groundwork("check").returncode == 0
    set_in(new_pilot.settings.home / "charter.yaml", "readyToScale.criteria.0.threshold", 1)
    done = groundwork("check")
    assert done.returncode == 1
    assert "the criteria differ from those sealed on" in done.stderr
    amend = ("charter", "amend", "--by", "ada", "--why", "Measured anew.")
    assert "requires a second person" in groundwork(*amend, "--approved-by", "ada").stderr
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


def test_a_pilot_below_its_line_is_not_scaled(new_pilot: Pilot) -> None:
    both = ("--by", "ada", "--by", "grace", "--why", "We like it.")
    done = groundwork("decide", "scale", *both)
    assert (done.returncode, "the criteria for scaling are not met" in done.stderr) == (1, True)
    assert groundwork("decide", "continue", *both).returncode == 2
    assert groundwork("decide", "stop", *both).returncode == 0
    assert (new_pilot.settings.home / "decision-record.yaml").exists()


def test_check_holds_the_examples_against_their_columns(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.1.examples", ["soon"])
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.5.examples", ["762"])
    done = groundwork("check")
    assert done.returncode == 1
    assert done.stderr == (
        "✗ contract.yaml: scheduled_departure: examples: must be a timestamp as YYYY-MM-DDTHH:MM:SS, found 'soon'\n"
        "contract.yaml: distance_miles: examples: must be a number, found '762'\n"
        "docs/data-dictionary.md: does not match contract.yaml: run `groundwork dictionary` and commit it\n"
    )


def test_an_example_that_is_no_valid_value_is_held_against_a_list_that_can_be_read(
    new_pilot: Pilot, set_in: Callable
) -> None:
    values = ["A, B", "C"]
    rule = {"metric": "invalidValues", "arguments": {"validValues": values}, "mustBe": 0}
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.quality", [rule])
    assert "carrier: examples: must be one of 'A, B', 'C', found" in groundwork("check").stderr


def test_check_reads_the_statements_too(new_pilot: Pilot) -> None:
    file = new_pilot.settings.home / "readiness.yaml"
    file.write_text("attestations:\n  - {id: trained, value: 1, by: ada, on: 2026-08-01, why: looked at}\n")
    assert groundwork("check").returncode == 0
    file.write_text("attestations:\n  - {id: trained, value: 1, by: ada, on: soon, why: looked at}\n")
    done = groundwork("check")
    assert done.returncode == 1
    assert "readiness.yaml: attestations.0.on: must be a valid date as YYYY-MM-DD, found 'soon'" in done.stderr


def test_check_imports_the_parser_of_sql_only_if_there_is_a_rule(new_pilot: Pilot, set_in: Callable) -> None:
    ask = (
        "import sys; from groundwork.cli.main import app; "
        "app(['check', '--json'], standalone_mode=False); sys.exit('sqlglot' in sys.modules)"
    )
    document = new_pilot.settings.home / "contract.yaml"
    for rules, needed in ((None, 1), ([], 0)):
        if rules is not None:
            for part in ("schema.0.quality", "schema.0.properties.6.quality"):
                set_in(document, part, rules)
            groundwork("dictionary")
        done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
        assert (done.returncode, '"valid":true' in done.stdout) == (needed, True), done.stderr
