"""What other tools are told of OWNERS: who reviews what, who owns what, and who gets which alert."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.core.errors import DocumentError
from groundwork.documents.decision_record import DecisionRecord, RecordedDecision, ScorecardVerdict, decide
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import owner_files
from groundwork.documents.publish.owner_files import CATALOG, CODEOWNERS, ROUTES

ADA, GRACE = {"name": "Ada Lovelace", "handle": "ada"}, {"name": "Grace Hopper", "handle": "grace"}
EMMY = {"name": "Emmy Noether", "handle": "emmy", "email": "emmy@example.org", "deputy": ADA}
ALAN = {"name": "Alan Turing", "handle": "alan", "email": "alan@example.org", "deputy": GRACE | {"email": "g@b.org"}}
OPEN = {"name": "TBD", "handle": "TBD"}
FILES = (CODEOWNERS, CATALOG, ROUTES)


@pytest.fixture
def owned(new_pilot: Pilot, set_in: Callable) -> Pilot:
    """A pilot in which everybody is named, and some have an address or a deputy."""
    owners = new_pilot.settings.home / "OWNERS"
    set_in(owners, "approvers", ["ada", "acme/platform"])
    set_in(owners, "accountable.sponsor", {"name": "Charles Babbage", "handle": "charles"})
    set_in(owners, "accountable.model", EMMY)
    set_in(owners, "accountable.service", ALAN)
    owner_files.write(Pilot.here())
    return Pilot.here()


def read(path: Path) -> str:
    return (Pilot.here().settings.home / path).read_text(encoding="utf-8")


# ---- CODEOWNERS, as GitHub documents it: paths from the root, and the last line that fits decides -------------------


def reviewers(path: str) -> list[str]:
    found: list[str] = []
    for line in read(CODEOWNERS).splitlines():
        if line.startswith("#"):
            continue
        pattern, *handles = line.split()
        assert all(re.fullmatch(r"@[\w.-]+(/[\w.-]+)?", handle) for handle in handles), line
        assert handles, "a line without people would let anybody review"
        assert not re.search(r"[!\[\]\\]", pattern), "GitHub knows none of these"
        folder = pattern.endswith("/") and path.startswith(pattern.removeprefix("/"))
        if pattern == "*" or folder or path == pattern.removeprefix("/"):
            found = [handle.removeprefix("@") for handle in handles]
    return found


@pytest.mark.parametrize(
    ("path", "people"),
    [
        ("README.md", ["ada", "acme/platform"]),
        ("src/groundwork/cli.py", ["ada", "acme/platform"]),
        ("src/use_case/model.py", ["emmy", "ada"]),
        ("src/use_case/source.py", ["grace"]),
        ("contract.yaml", ["grace"]),
        ("charter.yaml", ["ada", "charles"]),
        ("OWNERS", ["ada", "charles"]),
        ("readiness.yaml", ["ada", "charles"]),
        ("decision-record.yaml", ["ada", "charles"]),
        ("CODEOWNERS", ["ada", "charles"]),
        ("ops/prometheus/alertmanager.yml", ["alan", "grace"]),
        ("Dockerfile", ["alan", "grace"]),
    ],
)
def test_a_change_is_reviewed_by_who_answers_for_it(path: str, people: list[str], owned: Pilot) -> None:
    assert reviewers(path) == people


def test_what_is_open_is_reviewed_by_the_approvers(owned: Pilot, set_in: Callable) -> None:
    set_in(owned.settings.home / "OWNERS", "accountable.model", OPEN)
    owner_files.write(Pilot.here())
    assert reviewers("src/use_case/model.py") == ["ada", "acme/platform"]
    set_in(owned.settings.home / "OWNERS", "approvers", ["TBD"])
    owner_files.write(Pilot.here())
    assert reviewers("src/use_case/model.py") == []
    assert "TBD" not in "".join(map(read, FILES))


# ---- catalog-info.yaml, as Backstage describes its entities ----------------------------------------------------------

REQUIRED = {"System": {"owner"}, "Component": {"type", "lifecycle", "owner"}, "Resource": {"type", "owner"}}
REFERENCE = r"([a-z]+:)?([\w-]+/)?[A-Za-z0-9]([\w.-]*[A-Za-z0-9])?"


def catalog() -> dict[str, dict[str, Any]]:
    """The entities by kind and name, each as Backstage would take it."""
    entities = list(yaml.safe_load_all(read(CATALOG)))
    for entity in entities:
        assert set(entity) == {"apiVersion", "kind", "metadata", "spec"}
        assert entity["apiVersion"] == "backstage.io/v1alpha1"
        assert REQUIRED[entity["kind"]] <= set(entity["spec"])
        assert re.fullmatch(r"[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?", entity["metadata"]["name"])
        for value in (*entity["metadata"].get("annotations", {}).values(), entity["spec"]["owner"]):
            assert re.fullmatch(REFERENCE, value)
    found = {f"{entity['kind']}:{entity['metadata']['name']}".lower(): entity for entity in entities}
    assert len(found) == len(entities)
    for entity in entities:  # what is referred to is there
        assert set(entity["spec"].get("dependsOn", ())) <= set(found)
        assert f"system:{entity['spec'].get('system', entity['metadata']['name'])}" in found
    return found


def test_the_catalogue_knows_the_service_its_model_and_its_data(owned: Pilot) -> None:
    name = owned.name
    owner = {kind: entity["spec"]["owner"] for kind, entity in catalog().items()}
    assert owner == {
        f"system:{name}": "user:default/ada",
        f"component:{name}": "user:default/alan",
        f"resource:{name}-model": "user:default/emmy",
        f"resource:{name}-flights-data": "user:default/grace",
    }
    service = catalog()[f"component:{name}"]
    assert service["metadata"]["annotations"] == {"groundwork/deputy": "user:default/grace"}
    assert service["spec"]["type"] == "service"
    assert service["spec"]["lifecycle"] == "experimental"


def test_a_long_name_is_cut_and_a_group_is_a_group(owned: Pilot, set_in: Callable) -> None:
    set_in(owned.settings.home / "charter.yaml", "metadata.name", "a" + "b-" * 31)
    set_in(owned.settings.home / "OWNERS", "accountable.data.flights", {"name": "The data team", "handle": "acme/data"})
    set_in(owned.settings.home / "OWNERS", "accountable.data.model", GRACE)  # a data set of that name
    owner_files.write(Pilot.here())
    assert "group:default/data" in {entity["spec"]["owner"] for entity in catalog().values()}


def test_it_is_in_production_once_it_was_decided_to_scale(owned: Pilot, set_in: Callable) -> None:
    """And the project's check says so until the catalogue does."""
    met = ScorecardVerdict(True, "Ready to scale", "0" * 64, "3")
    decide(owned, "scale", met, by=("ada", "grace"), why="It pays.", today=date(2026, 11, 23))
    with pytest.raises(DocumentError, match=r"catalog-info\.yaml: does not match OWNERS\nrun `groundwork own"):
        owner_files.check(Pilot.here())
    owner_files.write(Pilot.here())
    assert catalog()[f"component:{owned.name}"]["spec"]["lifecycle"] == "production"


@pytest.mark.parametrize(("outcome", "champion"), [("extend", "3"), ("stop", "3"), ("scale", None)])
def test_it_is_not_in_production_before(outcome: Any, champion: str | None) -> None:
    """Whatever answers meanwhile; nor by a record that names no model that passed the gate."""
    decided = RecordedDecision(
        on=date(2026, 11, 23),
        outcome=outcome,
        by=("ada", "grace"),
        why="As agreed.",
        scorecard_sha256="0" * 64,
        champion=champion,
    )
    assert owner_files.lifecycle(DecisionRecord(decisions=(decided,))) == "experimental"
    assert owner_files.lifecycle(DecisionRecord()) == "experimental"


# ---- alertmanager.yml ------------------------------------------------------------------------------------------------


def receiver(**labels: str) -> dict[str, Any]:
    """Who gets an alert with these labels: the first route whose matchers all fit, or the root's receiver."""
    content = yaml.safe_load(read(ROUTES))
    name = content["route"]["receiver"]
    for route in reversed(content["route"]["routes"]):
        wanted = dict(matcher.split("=", 1) for matcher in route["matchers"])
        if all(labels.get(label) == json.loads(value) for label, value in wanted.items()):
            name = route["receiver"]
    [found] = [each for each in content["receivers"] if each["name"] == name]
    return dict(found)


def test_an_alert_goes_to_who_answers_and_to_the_deputy(owned: Pilot, set_in: Callable) -> None:
    set_in(owned.settings.home / "OWNERS", "accountable.data.weather", ALAN)
    owner_files.write(Pilot.here())
    service = receiver(owner="service")
    assert service["name"] == "service-alan"
    assert [each["to"] for each in service["email_configs"]] == ["alan@example.org, g@b.org"]
    assert receiver(owner="model")["email_configs"][0]["to"] == "emmy@example.org"
    assert receiver(owner="data", role="data:weather")["name"] == "data-weather-alan"
    assert receiver(owner="data", role="data:flights") == {"name": "data-flights-grace"}  # has no address
    assert receiver(owner="decision") == {"name": "decision-ada"}
    assert receiver(owner="somebody else") == {"name": "decision-ada"}


def test_alerts_for_an_open_role_go_to_the_decision_or_to_nobody(owned: Pilot, set_in: Callable) -> None:
    set_in(owned.settings.home / "OWNERS", "accountable.model", OPEN)
    owner_files.write(Pilot.here())
    assert receiver(owner="model")["name"] == "decision-ada"
    set_in(owned.settings.home / "OWNERS", "accountable.decision", OPEN)
    owner_files.write(Pilot.here())
    assert receiver(owner="model") == {"name": "nobody"}


def test_how_mail_leaves_is_the_teams_own(owned: Pilot, set_in: Callable) -> None:
    kept = read(ROUTES).replace("localhost:25", "mail.example.org:587")
    (owned.settings.home / ROUTES).write_text(kept, encoding="utf-8")
    owner_files.check(Pilot.here())
    set_in(owned.settings.home / "OWNERS", "accountable.model.email", "noether@example.org")
    owner_files.write(Pilot.here())
    assert "smtp_smarthost: mail.example.org:587\n" in read(ROUTES)
    assert "noether@example.org" in read(ROUTES)


@pytest.mark.parametrize("email", ["ada", "ada@", "a@b, c@d", "{{ .x }}@b.org", "a@b.org\n", "ada lovelace@b.org"])
def test_what_is_no_address_is_refused(email: str, owned: Pilot, set_in: Callable) -> None:
    set_in(owned.settings.home / "OWNERS", "accountable.model.email", email)
    with pytest.raises(DocumentError, match=r"OWNERS: accountable\.model\.email: "):
        Pilot.here().owners  # noqa: B018


@pytest.mark.skipif(not shutil.which("amtool"), reason="amtool is not installed")
def test_alertmanager_takes_it(owned: Pilot) -> None:
    for _ in ("as written", "with nobody to write to"):
        told = subprocess.run(
            ["amtool", "check-config", ROUTES], cwd=owned.settings.home, capture_output=True, text=True
        )
        assert told.returncode == 0, told.stdout + told.stderr
        (owned.settings.home / "OWNERS").write_text(
            re.sub("email: .*", "", (owned.settings.home / "OWNERS").read_text())
        )
        owner_files.write(Pilot.here())


# ---- the check -------------------------------------------------------------------------------------------------------


def test_files_that_follow_from_owners_are_no_finding(owned: Pilot) -> None:
    assert owner_files.differences(owned) == {}
    assert owner_files.check(owned) == [
        "no email in OWNERS, so no alerts are sent to: decision (@ada), data:flights (@grace)"
    ]


@pytest.mark.parametrize("path", FILES)
def test_a_file_that_is_edited_or_missing_fails_the_check(path: Path, owned: Pilot) -> None:
    file = owned.settings.home / path
    file.write_text(read(path).replace("alan", "mallory"), encoding="utf-8")
    with pytest.raises(DocumentError, match=rf"^{path}: .* match OWNERS\nrun `groundwork owners`"):
        owner_files.check(owned)
    file.unlink()
    with pytest.raises(DocumentError, match=f"^{path}: is missing\n"):
        owner_files.check(owned)
    owner_files.write(owned)
    owner_files.check(owned)


@pytest.mark.parametrize(
    ("role", "person", "files"),
    [
        ("accountable.service", GRACE, 3),
        ("accountable.model.deputy", GRACE, 2),  # without an address
        ("accountable.service.email", "turing@example.org", 1),
    ],
)
def test_another_person_in_owners_fails_the_check(
    role: str, person: Any, files: int, owned: Pilot, set_in: Callable
) -> None:
    set_in(owned.settings.home / "OWNERS", role, person)
    assert len(owner_files.differences(Pilot.here())) == files
    owner_files.write(Pilot.here())
    assert owner_files.differences(Pilot.here()) == {}


def test_what_hides_our_codeowners_from_github_fails_the_check(owned: Pilot) -> None:
    (owned.settings.home / ".github").mkdir()
    (owned.settings.home / ".github/CODEOWNERS").write_text("* @mallory\n", encoding="utf-8")
    with pytest.raises(DocumentError, match="hides CODEOWNERS from GitHub: delete it"):
        owner_files.check(owned)


@pytest.mark.parametrize("path", FILES)
def test_a_file_of_somebody_else_is_not_overwritten_and_nothing_is_written(path: Path, owned: Pilot) -> None:
    for each in FILES:
        (owned.settings.home / each).unlink()
    (owned.settings.home / path).write_text("# Ours.\n", encoding="utf-8")
    with pytest.raises(DocumentError, match=f"^{path}: was not written by `groundwork owners`"):
        owner_files.write(owned)
    assert read(path) == "# Ours.\n"
    assert [each for each in FILES if (owned.settings.home / each).exists()] == [path]
    assert list(owned.settings.home.rglob("*.tmp")) == []


def test_while_nobody_is_named_nothing_is_written_and_nothing_is_missing(new_pilot: Pilot, set_in: Callable) -> None:
    owners = new_pilot.settings.home / "OWNERS"
    for role in ("decision", "data.flights", "model", "service"):
        set_in(owners, f"accountable.{role}", OPEN)
    with pytest.raises(DocumentError, match="CODEOWNERS: names people, but OWNERS names no person"):
        owner_files.check(Pilot.here())
    for path in FILES:
        (new_pilot.settings.home / path).unlink()
    assert owner_files.write(Pilot.here()) == []
    assert "OWNERS names no person yet" in owner_files.check(Pilot.here())[0]
