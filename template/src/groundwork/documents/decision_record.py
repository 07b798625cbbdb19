"""`decision-record.yaml`: the decisions about the pilot on day 90, with people, reason and evidence.

A pilot without an end date tends to continue for ever. So the date is fixed and may be extended once, and an overdue
decision is shown by every command, on the pages, in the metrics and as an alert.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from groundwork.core.errors import DocumentError, GroundworkError
from groundwork.core.files import write_atomically
from groundwork.documents.charter import Charter
from groundwork.documents.document import Day, Document, Part, write_yaml
from groundwork.documents.pilot import Pilot

FILE = "decision-record.yaml"
LAST_DAY = 90
Outcome = Literal["scale", "stop", "extend"]
Text = Annotated[str, Field(min_length=3)]


class DecisionError(GroundworkError):
    """The decision is not allowed; the message says why."""


class ScorecardVerdict(NamedTuple):
    """The scorecard's result at the time of the decision."""

    met: bool  # all required checks passed
    verdict: str
    sha256: str  # of the scorecard
    champion: str | None  # the version in service by the promotion log, if it passed the gate


class RecordedDecision(Part):
    on: Day
    outcome: Outcome
    by: tuple[Text, ...] = Field(min_length=2, strict=False, description="Handles of the decision-makers.")
    why: Text
    scorecard_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    champion: str | None = Field(default=None, description="The version in service, if it passed the gate.")


class DecisionRecord(Document):
    """All decisions, the newest last."""

    api_version: Literal["groundwork/v1"] = "groundwork/v1"
    kind: Literal["DecisionRecord"] = "DecisionRecord"
    decisions: tuple[RecordedDecision, ...] = Field(default=(), strict=False)

    @classmethod
    def of(cls, home: Path) -> "DecisionRecord":
        """Returns the record in the pilot's folder; an empty record before the first decision."""
        return cls.load(home / FILE) if (home / FILE).exists() else cls()

    @property
    def outcome(self) -> Outcome | None:
        return self.decisions[-1].outcome if self.decisions else None

    def due(self, charter: Charter) -> date | None:
        """Returns the date by which the decision is due; None while day 0 is TBD, or after scale or stop."""
        last = charter.plan.day(LAST_DAY)
        if last is None or self.outcome in ("scale", "stop"):
            return None
        return last + timedelta(days=charter.plan.extension_days) if self.outcome == "extend" else last

    def days_overdue(self, charter: Charter, today: date) -> int:
        """Returns the number of days by which the decision is overdue; 0 before the due date."""
        due = self.due(charter)
        return max(0, (today - due).days) if due else 0

    def overdue(self, charter: Charter, today: date) -> str:
        """Returns "decision overdue by N days"; empty if the decision is not overdue."""
        days = self.days_overdue(charter, today)
        return f"decision overdue by {days} day{'s' if days > 1 else ''}" if days else ""


def due(home: Path, charter: Charter) -> date | None:
    """Returns the date by which the decision about the pilot is due; None while day 0 is TBD, or after scale or stop.

    An invalid record counts as empty; every command reports its error.
    """
    try:
        record = DecisionRecord.of(home)
    except DocumentError:
        record = DecisionRecord()
    return record.due(charter)


def decide(
    pilot: Pilot, outcome: Outcome, scorecard: ScorecardVerdict, *, by: tuple[str, ...], why: str, today: date
) -> RecordedDecision:
    """Write the decision to the record and return it. Raises DecisionError if the decision is not allowed."""
    home, charter = pilot.settings.home, pilot.charter
    record = DecisionRecord.of(home)
    if record.outcome in ("scale", "stop"):
        raise DecisionError(f"the decision was already taken on {record.decisions[-1].on}: {record.outcome}")
    if len(set(by)) < 2:
        raise DecisionError("a decision requires two people: --by HANDLE --by HANDLE")
    if charter.plan.deciders and (strangers := sorted(set(by) - set(charter.plan.deciders))):
        raise DecisionError(
            f"{', '.join(strangers)}: not in plan.deciders of charter.yaml ({', '.join(charter.plan.deciders)})"
        )
    if outcome == "extend" and record.outcome == "extend":
        raise DecisionError("the pilot was already extended once, and only one extension is allowed: scale or stop")
    if outcome == "scale" and not scorecard.met:
        raise DecisionError(f"the criteria for scaling are not met: {scorecard.verdict}")
    if outcome == "scale" and not scorecard.champion:
        raise DecisionError("there is no model to scale: by the promotion log, no champion in service passed the gate")
    decided = RecordedDecision(
        on=today, outcome=outcome, by=by, why=why, scorecard_sha256=scorecard.sha256, champion=scorecard.champion
    )
    grown = record.model_copy(update={"decisions": (*record.decisions, decided)})
    content = write_yaml(grown.model_dump(by_alias=True, exclude_none=True))
    write_atomically({home / FILE: "# Written by `groundwork decide`; do not edit.\n" + content})
    return decided
