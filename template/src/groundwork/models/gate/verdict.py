"""The gate's verdict: checks, slices and the evidence for them."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from groundwork.models.evaluation.estimates import Estimate
from groundwork.models.evaluation.footprint import Footprint

Status = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True)
class Slice:
    """The rows with one value of a column that has the tag `slice`."""

    column: str
    value: str
    rows: int
    metric: float
    champion_metric: float | None
    status: Status


@dataclass(frozen=True)
class Check:
    """One condition: what was wanted, what was seen."""

    name: str
    wanted: str
    seen: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome of all checks, with its evidence."""

    checks: list[Check]
    slices: list[Slice] = field(default_factory=list)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    footprint: Footprint | None = None

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What spoke against the candidate."""
        return [f"{c.name}: wanted {c.wanted}, seen {c.seen}" for c in self.checks if not c.passed]

    def as_dict(self) -> dict[str, Any]:
        return {"passed": self.passed} | asdict(self)
