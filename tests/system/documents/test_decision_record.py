"""Day 90: decided by two, put off once, and overdue where nobody decided."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from groundwork.core.errors import DocumentError
from groundwork.documents.decision_record import DecisionError, DecisionRecord, ScorecardVerdict, decide, due
from groundwork.documents.pilot import Pilot

DAY0 = date(2026, 8, 1)
MET = ScorecardVerdict(True, "ready to scale", "0" * 64, "3")
NOT_MET = ScorecardVerdict(False, "gain: wanted >= 5000, seen 4100", "1" * 64, "3")
BOTH = ("ada", "grace")


@pytest.fixture
def pilot_since_august(new_pilot: Pilot, set_in: Callable) -> Pilot:
    set_in(new_pilot.settings.home / "charter.yaml", "plan", {"day0": DAY0, "deciders": ["ada", "grace"]})
    return Pilot.here()


def decided(pilot: Pilot, outcome: str, scorecard: ScorecardVerdict = MET, by: tuple[str, ...] = BOTH) -> None:
    decide(pilot, outcome, scorecard, by=by, why="As agreed.", today=DAY0 + timedelta(90))  # type: ignore[arg-type]


def overdue(pilot: Pilot, day: int) -> int:
    return DecisionRecord.of(pilot.settings.home).days_overdue(pilot.charter, DAY0 + timedelta(day))


def test_it_is_overdue_from_day_91_on(pilot_since_august: Pilot) -> None:
    assert [overdue(pilot_since_august, day) for day in (0, 45, 90, 91, 100)] == [0, 0, 0, 1, 10]


def test_without_day_0_nothing_is_due(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "charter.yaml", "plan.day0", "TBD")
    assert DecisionRecord.of(new_pilot.settings.home).due(Pilot.here().charter) is None


def test_a_record_that_cannot_be_read_decides_nothing(pilot_since_august: Pilot) -> None:
    """What watches goes on watching."""
    decided(pilot_since_august, "stop")
    assert due(pilot_since_august.settings.home, pilot_since_august.charter) is None
    (pilot_since_august.settings.home / "decision-record.yaml").write_text("decisions: [scale]", encoding="utf-8")
    assert due(pilot_since_august.settings.home, pilot_since_august.charter) == DAY0 + timedelta(90)


@pytest.mark.parametrize("outcome", ["scale", "stop"])
def test_a_decision_ends_it(outcome: str, pilot_since_august: Pilot) -> None:
    decided(pilot_since_august, outcome)
    record = DecisionRecord.of(pilot_since_august.settings.home)
    assert (record.outcome, record.decisions[0].by) == (outcome, BOTH)
    assert overdue(pilot_since_august, 200) == 0
    with pytest.raises(DecisionError, match="the decision was already taken on 2026-10-30"):
        decided(pilot_since_august, "stop")


def test_it_is_put_off_once(pilot_since_august: Pilot) -> None:
    decided(pilot_since_august, "extend", NOT_MET)
    assert [overdue(pilot_since_august, day) for day in (91, 120, 121)] == [0, 0, 1]
    with pytest.raises(DecisionError, match="only one extension is allowed: scale or stop"):
        decided(pilot_since_august, "extend")
    decided(pilot_since_august, "stop", NOT_MET)


@pytest.mark.parametrize(
    ("outcome", "scorecard", "by", "why_not"),
    [
        ("scale", NOT_MET, BOTH, "the criteria for scaling are not met: gain: wanted >= 5000, seen 4100"),
        ("scale", MET._replace(champion=None), BOTH, "no champion in service passed the gate"),
        ("stop", MET, ("ada",), "requires two people"),
        ("stop", MET, ("ada", "ada"), "requires two people"),
        ("stop", MET, ("ada", "mallory"), "mallory: not in plan.deciders"),
    ],
)
def test_what_the_charter_does_not_allow_is_not_written(
    outcome: str, scorecard: ScorecardVerdict, by: tuple[str, ...], why_not: str, pilot_since_august: Pilot
) -> None:
    with pytest.raises(DecisionError, match=why_not):
        decided(pilot_since_august, outcome, scorecard, by)
    assert DecisionRecord.of(pilot_since_august.settings.home).decisions == ()


def test_a_record_with_one_decider_is_refused(pilot_since_august: Pilot) -> None:
    decided(pilot_since_august, "stop")
    file = pilot_since_august.settings.home / "decision-record.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("  - grace\n", ""), encoding="utf-8")
    with pytest.raises(DocumentError, match=r"decisions\.0\.by"):
        DecisionRecord.of(pilot_since_august.settings.home)
