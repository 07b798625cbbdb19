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
STATEMENTS = {
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


def test_without_the_file_nobody_has_said_anything(new_pilot: Pilot) -> None:
    assert statements(new_pilot) == Statements()


@pytest.mark.parametrize(
    ("path", "value", "expectation"),
    [
        ("apiVersion", "groundwork/v2", "'groundwork/v1'"),
        ("kind", "Waivers", "'Statements'"),
        ("attestation", [], "is not a known key here"),
        ("attestations", {"trained": 1}, "valid tuple"),
        ("attestations.0.id", REMOVE, "is missing"),
        ("attestations.0.value", "yes", "valid number"),
        ("attestations.0.value", True, "valid number"),
        ("attestations.0.value", float("nan"), "finite number"),
        ("attestations.0.by", REMOVE, "is missing"),
        ("attestations.0.by", "mallory", "mallory: not in OWNERS"),
        ("attestations.0.on", REMOVE, "is missing"),
        ("attestations.0.on", "last week", "valid date"),
        ("attestations.0.why", "", "at least 3 characters"),
        ("waivers.0.check", REMOVE, "is missing"),
        ("waivers.0.by", "TBD", "TBD: not in OWNERS"),
        ("waivers.0.until", REMOVE, "is missing"),
        ("waivers.0.until", "never", "valid date"),
        ("waivers.0.why", REMOVE, "is missing"),
        ("waivers.0.forever", True, "is not a known key here"),
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
        ("kind", "Decision", "'DecisionRecord'"),
        ("decision", "stop", "is not a known key here"),
        ("decisions.0.on", REMOVE, "is missing"),
        ("decisions.0.outcome", "later", "'scale', 'stop' or 'extend'"),
        ("decisions.0.by", ["ada"], "at least 2 items"),
        ("decisions.0.by", "ada and grace", "valid tuple"),
        ("decisions.0.why", "", "at least 3 characters"),
        ("decisions.0.scorecardSha256", "none", "should match pattern"),
        ("decisions.0.scorecardSha256", REMOVE, "is missing"),
    ],
)
def test_a_damaged_record_is_refused_for_what_it_is(
    path: str, value: Any, expectation: str, write: Callable[..., Pilot]
) -> None:
    home: Path = write("decision-record.yaml", RECORD).home
    assert DecisionRecord.of(home).outcome == "stop"
    write("decision-record.yaml", RECORD, path, value)
    with pytest.raises(DocumentError) as refused:
        DecisionRecord.of(home)
    assert str(refused.value).startswith("decision-record.yaml: ")
    assert expectation in str(refused.value)
