"""`decision-record.yaml`: what was decided about the pilot on day 90, by whom, and on which evidence.

A pilot that nobody ends goes on for ever. So the day is fixed, it may be put off once, and an overdue decision is said
wherever somebody looks.
"""

from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import yaml
from pydantic import Field

from groundwork.core.errors import DocumentError, GroundworkError
from groundwork.documents.charter import Charter
from groundwork.documents.document import Document, Part

FILE = "decision-record.yaml"
LAST_DAY = 90
Outcome = Literal["scale", "stop", "extend"]
Text = Annotated[str, Field(min_length=3)]


class DecisionError(GroundworkError):
    """It cannot be decided like this."""


class Evidence(NamedTuple):
    """What the scorecard said when it was decided."""

    met: bool
    verdict: str
    sha256: str
    champion: str | None  # the version in service by the promotion log, if the gate let it in


class Decided(Part):
    on: date
    outcome: Outcome
    by: tuple[Text, ...] = Field(min_length=2, strict=False, description="Handles of those who decided.")
    why: Text
    scorecard_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    champion: str | None = Field(default=None, description="The version in service that the gate let in.")


class DecisionRecord(Document):
    """Every decision so far, the newest last."""

    api_version: Literal["groundwork/v1"] = "groundwork/v1"
    kind: Literal["DecisionRecord"] = "DecisionRecord"
    decisions: tuple[Decided, ...] = Field(default=(), strict=False)

    @classmethod
    def of(cls, home: Path) -> "DecisionRecord":
        """The record in the pilot's folder; an empty one before the first decision."""
        return cls.load(home / FILE) if (home / FILE).exists() else cls()

    @property
    def outcome(self) -> Outcome | None:
        return self.decisions[-1].outcome if self.decisions else None

    def due(self, charter: Charter) -> date | None:
        """The day by which it must be decided; None while day 0 is open, or once it has been decided."""
        last = charter.plan.day(LAST_DAY)
        if last is None or self.outcome in ("scale", "stop"):
            return None
        return last + timedelta(days=charter.plan.extension_days) if self.outcome == "extend" else last

    def days_overdue(self, charter: Charter, today: date) -> int:
        """For how many days a decision has been missing; 0 while there is time."""
        due = self.due(charter)
        return max(0, (today - due).days) if due else 0

    def overdue(self, charter: Charter, today: date) -> str:
        """By how much the decision is overdue, in words; empty while there is time."""
        days = self.days_overdue(charter, today)
        return f"decision overdue by {days} day{'s' if days > 1 else ''}" if days else ""


def due(home: Path, charter: Charter) -> date | None:
    """The day by which the pilot in that folder must be decided on; None while day 0 is open, or once it has been.

    A record that cannot be read decides nothing: every command says what is wrong with it.
    """
    try:
        record = DecisionRecord.of(home)
    except DocumentError:
        record = DecisionRecord()
    return record.due(charter)


def decide(
    home: Path, charter: Charter, outcome: Outcome, by: tuple[str, ...], why: str, scorecard: Evidence, today: date
) -> Decided:
    """Write the decision down. Raises DecisionError where the charter does not allow it."""
    record = DecisionRecord.of(home)
    if record.outcome in ("scale", "stop"):
        raise DecisionError(f"it was decided on {record.decisions[-1].on}: {record.outcome}")
    if len(set(by)) < 2:
        raise DecisionError("a decision takes two people: --by HANDLE --by HANDLE")
    if charter.plan.deciders and (strangers := sorted(set(by) - set(charter.plan.deciders))):
        raise DecisionError(
            f"{', '.join(strangers)}: not among the deciders of charter.yaml, {', '.join(charter.plan.deciders)}"
        )
    if outcome == "extend" and record.outcome == "extend":
        raise DecisionError("it was extended once already, and once is all: scale or stop")
    if outcome == "scale" and not scorecard.met:
        raise DecisionError(f"the line for scaling is not met: {scorecard.verdict}")
    if outcome == "scale" and not scorecard.champion:
        raise DecisionError("there is nothing to scale: by the promotion log, no champion in service passed the gate")
    decided = Decided(
        on=today, outcome=outcome, by=by, why=why, scorecard_sha256=scorecard.sha256, champion=scorecard.champion
    )
    grown = record.model_copy(update={"decisions": (*record.decisions, decided)})
    temporary = home / (FILE + ".tmp")
    temporary.write_text(
        "# Written by `groundwork decide`; not to be edited.\n"
        + yaml.safe_dump(
            grown.model_dump(by_alias=True, exclude_none=True), sort_keys=False, allow_unicode=True, width=1000
        ),
        encoding="utf-8",
    )
    temporary.replace(home / FILE)
    return decided
