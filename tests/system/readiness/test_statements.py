"""readiness.yaml and decision-record.yaml: one mistake each is refused for what it is: no word counts by a slip."""

from collections.abc import Callable
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.core.errors import DocumentError
from groundwork.documents.decision_record import DecisionRecord
from groundwork.documents.pilot import Pilot
from groundwork.readiness.statements import Statements

TODAY = date(2026, 9, 1)
STATEMENTS: dict[str, Any] = {
    "apiVersion": "groundwork/v1",
    "kind": "Statements",
    "attestations": [{"id": "trained", "value": 1, "by": "ada", "on": date(2026, 8, 1), "why": "Seen in the course."}],
    "waivers": [{"check": "owners", "by": "grace", "until": date(2026, 9, 1), "why": "The sponsor is being chosen."}],
}
RECORD = {
    "apiVersion": "groundwork/v1",
    "kind": "DecisionRecord",
    "decisions": [
        {
            "on": date(2026, 8, 1),
            "outcome": "stop",
            "by": ["ada", "grace"],
            "why": "It does not pay.",
            "scorecardSha256": "0" * 64,
        }
    ],
}
REMOVE = object()


@pytest.fixture
def write(new_pilot: Pilot) -> Callable[..., Pilot]:
    """Writes a document, with one value changed."""

    def run(name: str, content: Any, path: str = "", value: Any = None) -> Pilot:
        content = part = deepcopy(content)
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps:
            part = part[step]
        if value is REMOVE:
            del part[last]
        elif path:
            part[last] = value
        (new_pilot.settings.home / name).write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return new_pilot

    return run


def statements(pilot: Pilot) -> Statements:
    return Statements.of(pilot.settings.home, pilot.owners)


def test_sound_statements_are_read(write: Callable[..., Pilot]) -> None:
    found = statements(write("readiness.yaml", STATEMENTS))
    attested = found.attested("trained", TODAY)
    assert attested is not None
    assert (attested.value, attested.by) == (1, "ada")
    assert list(found.waivers_on(TODAY)) == ["owners"]
    assert found.waivers_on(date(2026, 9, 2)) == {}
    assert found.attested("trained", date(2026, 7, 31)) is None  # nobody can have said it by then


def test_a_statement_is_read_as_it_is_documented(new_pilot: Pilot) -> None:
    """YAML 1.1 reads a bare `on` as true."""
    (new_pilot.settings.home / "readiness.yaml").write_text(
        "attestations:\n"
        "  - {id: trained, value: 1, by: ada, on: 2026-08-01, why: looked at}\n"
        "waivers:\n"
        "  - {check: owners, by: grace, until: 2026-09-01, why: off}\n"
    )
    found = statements(new_pilot)
    attested = found.attested("trained", TODAY)
    assert attested is not None
    assert attested.on == date(2026, 8, 1)
    assert list(found.waivers_on(TODAY)) == ["owners"]


def test_the_newest_word_counts_and_none_of_a_day_to_come(write: Callable[..., Pilot]) -> None:
    said = STATEMENTS["attestations"][0]
    days = {0: date(2026, 8, 20), 1: date(2026, 8, 1), 2: date(2026, 10, 1)}  # in no order
    content = STATEMENTS | {"attestations": [said | {"value": value, "on": on} for value, on in days.items()]}
    found = statements(write("readiness.yaml", content))
    seen = {day: found.attested("trained", day) for day in (TODAY, date(2026, 8, 19), date(2026, 10, 1))}
    assert {day: each.value for day, each in seen.items() if each} == {
        TODAY: 0,
        date(2026, 8, 19): 1,
        date(2026, 10, 1): 2,
    }
    assert found.attested("another", TODAY) is None


def test_a_waiver_says_who_until_when_and_why(write: Callable[..., Pilot]) -> None:
    waived = statements(write("readiness.yaml", STATEMENTS)).waivers_on(TODAY)
    assert waived == {"owners": "waived by grace until 2026-09-01: The sponsor is being chosen."}


def test_without_the_file_nobody_has_said_anything(new_pilot: Pilot) -> None:
    assert statements(new_pilot) == Statements()


@pytest.mark.parametrize(
    ("path", "value", "expectation"),
    [
        ("apiVersion", "groundwork/v2", "apiVersion: groundwork/v2 is newer than groundwork/v1"),
        ("attestation", [], "attestation: is not a known key here"),
        ("attestations.0.value", True, "attestations.0.value: "),  # 1 for yes, and nothing that looks like it
        ("attestations.0.value", float("nan"), "attestations.0.value: "),  # it would meet no line, and miss none
        ("attestations.0.by", "mallory", "mallory: not in OWNERS, so their statements do not count"),
        ("attestations.0.why", "", "attestations.0.why: "),
        ("waivers.0.by", "TBD", "TBD: not in OWNERS, so their statements do not count"),
        ("waivers.0.until", REMOVE, "waivers.0.until: is missing"),  # none is for ever
        ("waivers.0.forever", True, "waivers.0.forever: is not a known key here"),
    ],
)
def test_a_damaged_statement_is_refused_for_what_it_is(
    path: str, value: Any, expectation: str, write: Callable[..., Pilot]
) -> None:
    with pytest.raises(DocumentError) as refused:
        statements(write("readiness.yaml", STATEMENTS, path, value))
    assert str(refused.value).startswith("readiness.yaml: ")
    assert expectation in str(refused.value)


@pytest.mark.parametrize(
    ("path", "value", "expectation"),
    [
        ("kind", "Statements", "kind: Input should be 'DecisionRecord', found 'Statements'"),
        ("decision", "stop", "decision: is not a known key here"),
        ("decisions.0.outcome", "later", "decisions.0.outcome: Input should be 'scale', 'stop' or 'extend'"),
        ("decisions.0.by", ["ada"], "decisions.0.by: "),  # it takes two
        ("decisions.0.scorecardSha256", "none", "decisions.0.scorecardSha256: "),
        ("decisions.0.scorecardSha256", REMOVE, "decisions.0.scorecardSha256: is missing"),
    ],
)
def test_a_damaged_record_is_refused_for_what_it_is(
    path: str, value: Any, expectation: str, write: Callable[..., Pilot]
) -> None:
    home: Path = write("decision-record.yaml", RECORD).settings.home
    assert DecisionRecord.of(home).outcome == "stop"
    write("decision-record.yaml", RECORD, path, value)
    with pytest.raises(DocumentError) as refused:
        DecisionRecord.of(home)
    assert str(refused.value).startswith("decision-record.yaml: ")
    assert expectation in str(refused.value)
