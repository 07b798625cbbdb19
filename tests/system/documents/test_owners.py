"""Who can be held to account today, and why not."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from groundwork.documents.pilot import Pilot

TODAY = date(2026, 11, 23)
ADA, GRACE = {"name": "Ada Lovelace", "handle": "ada"}, {"name": "Grace Hopper", "handle": "grace"}


@pytest.fixture
def named(new_pilot: Pilot, set_in: Callable) -> Pilot:
    """Everybody is named, with a deputy."""
    person = ADA | {"deputy": GRACE}
    for role in ("sponsor", "decision", "model", "service"):
        set_in(new_pilot.settings.home / "OWNERS", f"accountable.{role}", person)
    set_in(new_pilot.settings.home / "OWNERS", "accountable.data", {"flights": person})
    return new_pilot


def test_people_with_deputies_are_no_finding(named: Pilot) -> None:
    assert Pilot.here().owners.findings(TODAY) == []


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ({"name": "TBD"}, "model: is still TBD"),
        ({"handle": "TBD"}, "model: is still TBD"),
        (
            {"name": "Platform team", "handle": "platform"},
            "model: Platform team (@platform) is not a person's full name",
        ),
        ({"name": "Platform", "handle": "platform"}, "model: Platform (@platform) is not a person's full name"),
        ({"handle": "acme/data"}, "model: Ada Lovelace (@acme/data) is not a person's full name"),
        ({"until": date(2026, 11, 22)}, "model: the appointment of Ada Lovelace (@ada) ended on 2026-11-22"),
        ({"deputy": None}, "model: Ada Lovelace (@ada) has no deputy"),
        ({"deputy": {"name": "TBD", "handle": "TBD"}}, "model: Ada Lovelace (@ada) has no deputy"),
        ({"deputy": ADA}, "model: Ada Lovelace (@ada) cannot also be the deputy"),
        (
            {"deputy": {"name": "Data desk", "handle": "desk"}},
            "model: the deputy Data desk (@desk) is not a person's full name",
        ),
    ],
)
def test_who_cannot_be_held_to_account_is_a_finding(
    change: dict[str, Any], finding: str, named: Pilot, set_in: Callable
) -> None:
    set_in(named.settings.home / "OWNERS", "accountable.model", ADA | {"deputy": GRACE} | change)
    [found] = Pilot.here().owners.findings(TODAY)
    assert found.startswith(finding)


def test_the_last_day_still_counts(named: Pilot, set_in: Callable) -> None:
    set_in(named.settings.home / "OWNERS", "accountable.model.until", TODAY)
    assert Pilot.here().owners.findings(TODAY) == []


def test_a_pilot_without_a_sponsor_has_a_finding(named: Pilot, set_in: Callable) -> None:
    set_in(named.settings.home / "OWNERS", "accountable.sponsor", None)
    assert Pilot.here().owners.findings(TODAY) == ["sponsor: no person is named"]


def test_roles_name_each_person_once(new_pilot: Pilot) -> None:
    assert [(role, person.handle) for role, person in new_pilot.owners.roles()] == [
        ("decision", "ada"),
        ("data:flights", "grace"),
        ("model", "emmy"),
        ("service", "alan"),
    ]
