"""The scorecard: its rows, and the verdict computed from them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from enum import IntEnum
from hashlib import sha256
from typing import Literal

import msgspec

Level = Literal["must", "should"]
State = Literal["passed", "failed", "warning", "unknown", "not applicable", "error"]
Section = Literal["scale", "organisation", "data", "model", "infrastructure", "monitoring"]
SECTIONS: dict[Section, str] = {
    "scale": "Criteria for scaling",
    "organisation": "Decision and people",
    "data": "ML Test Score: data",
    "model": "ML Test Score: model",
    "infrastructure": "ML Test Score: infrastructure",
    "monitoring": "ML Test Score: monitoring",
}


class Exit(IntEnum):
    """Exit codes of `groundwork readiness`."""

    MET = 0
    FAILED = 1
    UNDETERMINED = 2
    NOT_IN_FORCE = 3


@dataclass(frozen=True)
class Row:
    """One check: what is required, what was found, and what to do about it."""

    id: str
    title: str
    section: Section
    level: Level
    state: State
    wanted: str
    seen: str
    owner: str  # name or role of the owner
    proof: str  # the command, query or person that provides the evidence
    fix: str  # what to do next; empty if there is nothing to do
    at: datetime | None = None  # time of the finding; None if it was found just now
    points: float | None = None  # points of the ML Test Score: 0, 0.5 or 1
    waived: str = ""  # the waiver: by whom, until when and why; empty without one

    @property
    def blocks(self) -> bool:
        """Whether the check blocks scaling: it is required, not waived, and failed or unknown."""
        return self.level == "must" and not self.waived and self.state in ("failed", "unknown", "error")


@dataclass(frozen=True)
class Scorecard:
    """All checks on one day."""

    pilot: str
    on: date
    day: int | None  # day of the pilot, 0 is the first; None if day 0 is not set
    rows: tuple[Row, ...]
    not_in_force: tuple[str, ...]  # why the criteria are not in force: not locked, or changed without approval
    overdue: str  # by how many days the decision is overdue, in words; empty if it is not

    @property
    def blocking(self) -> list[Row]:
        """The checks that block scaling: failed ones first, then unknown ones."""
        return sorted((row for row in self.rows if row.blocks), key=lambda row: row.state != "failed")

    @property
    def met(self) -> bool:
        """Whether the criteria for scaling are met; it may be true although the decision is overdue."""
        return not self.blocking and not self.not_in_force

    @property
    def exit_code(self) -> Exit:
        """The exit code of `groundwork readiness`."""
        if self.not_in_force or self.overdue:
            return Exit.NOT_IN_FORCE
        if any(row.state == "failed" for row in self.blocking):
            return Exit.FAILED
        return Exit.UNDETERMINED if self.blocking else Exit.MET

    @property
    def verdict(self) -> str:
        """The verdict in one sentence."""
        code = self.exit_code
        if self.overdue:
            return self.overdue[0].upper() + self.overdue[1:]
        if code is Exit.NOT_IN_FORCE:
            unlocked = "not locked" in self.not_in_force[0]
            return "Criteria not locked yet" if unlocked else "Criteria changed without approval"
        failed = sum(row.state == "failed" for row in self.blocking)
        unknown = len(self.blocking) - failed
        if code is Exit.FAILED:
            others = f", {unknown} {'is' if unknown == 1 else 'are'} unknown" if unknown else ""
            return f"Not ready to scale: {_checks(failed)} failed{others}"
        if code is Exit.UNDETERMINED:
            return f"Not known to be ready to scale: {_checks(unknown)} {'is' if unknown == 1 else 'are'} unknown"
        return "Ready to scale"

    @property
    def next_step(self) -> str:
        """The next step, in words."""
        if self.overdue:
            return "decide: `groundwork decide scale`, `stop` or `extend`"
        if self.not_in_force:
            return self.not_in_force[0]
        if self.blocking:
            first = self.blocking[0]
            return f"{first.title}: {first.fix} ({first.owner})"
        return "decide: `groundwork decide scale`"

    @property
    def ml_test_score(self) -> float:
        """The lowest of the four sections' sums, from 0 to 7 (Breck et al., The ML Test Score, 2017)."""
        return min(self.points(section) for section in ("data", "model", "infrastructure", "monitoring"))

    def points(self, section: str) -> float:
        """Return the sum of the section's points."""
        return sum(row.points or 0 for row in self.rows if row.section == section)

    @property
    def content(self) -> dict[str, object]:
        """The scorecard as a dictionary that can be written as JSON."""
        return {
            "pilot": self.pilot,
            "on": self.on.isoformat(),
            "day": self.day,
            "verdict": self.verdict,
            "exit_code": int(self.exit_code),
            "next_step": self.next_step,
            "ml_test_score": self.ml_test_score,
            "rows": [asdict(row) | {"blocks": row.blocks} for row in self.rows],
        }

    @property
    def sha256(self) -> str:
        """The digest of `content`."""
        return sha256(msgspec.json.encode(self.content)).hexdigest()


def _checks(number: int) -> str:
    return f"{number} required check{'' if number == 1 else 's'}"


def waive(rows: Sequence[Row], waivers: dict[str, str]) -> tuple[Row, ...]:
    """Return the rows, with the waiver noted on each row that has one and has not passed."""
    return tuple(
        replace(row, waived=waivers[row.id]) if row.id in waivers and row.state != "passed" else row for row in rows
    )
