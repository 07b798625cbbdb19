"""Rules of a contract, on columns, rows, windows and freshness."""

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from groundwork.documents.contract.standard import (
    CustomProperties,
    Definitions,
    Identifier,
    Labelled,
    Scalar,
    StandardPart,
)

if TYPE_CHECKING:
    from groundwork.documents.contract import sql

LogicalType = Literal["string", "integer", "number", "boolean", "timestamp"]
ROLES = ("event_time", "outcome", "feature")
SENSITIVE = frozenset({"confidential", "restricted", "sensitive", "pii"})
Dimension = Literal["accuracy", "completeness", "conformity", "consistency", "coverage", "timeliness", "uniqueness"]
PLACES = ("features", "log", "reports")  # places where a sensitive column needs permission in the contract


class Quality(Labelled):
    """A quality rule: a metric of the standard's library or a figure in SQL with its bound, or a rule for others."""

    reads = (
        "name type metric arguments query mustBe mustNotBe mustBeGreaterThan mustBeGreaterOrEqualTo mustBeLessThan "
        "mustBeLessOrEqualTo mustBeBetween mustNotBeBetween"
    )
    nullable = frozenset({"mustBe", "mustNotBe"})
    runs: ClassVar[str] = ""  # the metric that is run here

    name: str | None = None
    description: str | None = None
    type: Literal["library", "sql", "text", "custom"] = "library"
    metric: Literal["nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"] | None = None
    rule: str | None = None
    arguments: dict[str, Any] | None = None
    query: str | None = None
    engine: str | None = None
    implementation: str | dict[str, Any] | None = None
    must_be: FiniteFloat | Any = Field(default=None, union_mode="left_to_right")
    must_not_be: FiniteFloat | Any = Field(default=None, union_mode="left_to_right")
    must_be_greater_than: FiniteFloat | None = None
    must_be_greater_or_equal_to: FiniteFloat | None = None
    must_be_less_than: FiniteFloat | None = None
    must_be_less_or_equal_to: FiniteFloat | None = None
    must_be_between: tuple[FiniteFloat, FiniteFloat] | None = Field(default=None, strict=False)
    must_not_be_between: tuple[FiniteFloat, FiniteFloat] | None = Field(default=None, strict=False)
    unit: str | None = None
    dimension: Dimension | None = None
    severity: str | None = None
    method: str | None = None
    schedule: str | None = None
    scheduler: str | None = None
    business_impact: str | None = None

    @model_validator(mode="after")
    def _says_what_and_how_much(self) -> Self:
        given = {str(type(self).model_fields[name].alias) for name in self.model_fields_set}
        bounds = {key for key in given if key.startswith("must")}
        needed, allowed = set(), set()
        if self.metric or (self.type == "library" and "type" in given):
            needed, allowed = {"metric"}, {"metric", "rule", "arguments"}
        if self.type == "sql":
            needed, allowed = needed | {"query"}, allowed | {"query"}
        if self.type == "custom":
            needed, allowed = needed | {"engine", "implementation"}, allowed | {"engine", "implementation"}
        judged = bool(needed & {"metric", "query"})
        if missing := sorted(needed - given):
            raise ValueError(f"a rule of the type {self.type} needs {', '.join(missing)}")
        own = {"metric", "rule", "arguments", "query", "engine", "implementation"}
        if stray := sorted((given & own) - allowed) + sorted(bounds if not judged else ()):
            raise ValueError(
                f"{', '.join(stray)} does not belong to this rule: a rule has either a metric, or type: sql and a "
                "query, or type: custom with engine and implementation, or type: text"
            )
        if judged and len(bounds) != 1:
            raise ValueError(f"a rule needs exactly one bound, such as mustBe or mustBeBetween, found {len(bounds)}")
        for between in (self.must_be_between, self.must_not_be_between):
            if between and between[0] >= between[1]:
                raise ValueError("mustBeBetween and mustNotBeBetween need their lower bound first")
        return self

    @property
    def valid_values(self) -> tuple[str, ...]:
        """The values that the metric invalidValues allows; empty if it is not run here."""
        values = (self.arguments or {}).get("validValues")
        texts = isinstance(values, list) and all(isinstance(value, str) for value in values)
        runs = self.type == "library" and self.metric == self.runs == "invalidValues" and self.bounds == {"must_be": 0}
        return tuple(values) if values and texts and runs and not self.in_percent else ()

    @property
    def in_percent(self) -> bool:
        return (self.unit or "").strip().lower() in ("percent", "percentage", "%")

    @property
    def not_run(self) -> str:
        """Why Groundwork does not run the rule; empty if it does, unless its SQL says more than Groundwork knows."""
        if self.type in ("text", "custom"):
            return f"type: {self.type}"
        if self.type == "library" and self.metric is None:
            return "it has no metric"
        if not self.bounds:
            return "its bound is not a number"
        if self.type == "library" and self.metric != self.runs:
            return f"metric: {self.metric}{_INSTEAD.get(str(self.metric), '')}"
        if self.type == "library" and self.in_percent:
            return f"unit: {self.unit}"
        if self.type == "library" and self.metric == "invalidValues" and not self.valid_values:
            return "only a list of texts as arguments.validValues, with mustBe: 0, is"
        return ""

    @property
    def bounds(self) -> dict[str, Any]:
        bounds = {name: bound for name, bound in self if name.startswith("must_") and bound is not None}
        return {name: bound for name, bound in bounds.items() if isinstance(bound, tuple) or _finite(bound)}

    def admits(self, figure: float) -> bool:
        """Whether the figure meets every bound; False for NaN."""
        most = (self.must_be, self.must_be_less_or_equal_to, (self.must_be_between or (None, None))[1])
        below = self.must_be_less_than is None or figure < self.must_be_less_than
        return self.reaches(figure) and below and all(figure <= bound for bound in most if bound is not None)

    def reaches(self, figure: float) -> bool:
        """Whether the figure meets every lower bound, and is none that must not be; a count may still grow there."""
        least = (self.must_be, self.must_be_greater_or_equal_to, (self.must_be_between or (None, None))[0])
        above = self.must_be_greater_than is None or figure > self.must_be_greater_than
        low, high = self.must_not_be_between or (math.inf, -math.inf)
        free = not math.isnan(figure) and figure != self.must_not_be and not low <= figure <= high
        return above and free and all(figure >= bound for bound in least if bound is not None)

    @property
    def expectation(self) -> str:
        """The bounds as text, such as "at least 5"."""
        words = {
            "must_be": "exactly {}",
            "must_be_greater_than": "more than {}",
            "must_be_greater_or_equal_to": "at least {}",
            "must_be_less_than": "less than {}",
            "must_be_less_or_equal_to": "at most {}",
            "must_be_between": "from {} to {}",
            "must_not_be": "other than {}",
            "must_not_be_between": "outside of {} to {}",
        }
        return " and ".join(
            words[name].format(*(f"{each:,.10g}" for each in (bound if isinstance(bound, tuple) else (bound,))))
            for name, bound in self.bounds.items()
        )


def _finite(bound: Any) -> bool:
    return isinstance(bound, float) and math.isfinite(bound)


class ColumnQuality(Quality):
    runs = "invalidValues"


class DatasetQuality(Quality):
    runs = "rowCount"


_INSTEAD = {
    "nullValues": " (required: true is run)",
    "missingValues": " (required: true is run)",
    "duplicateValues": " (unique: true is run)",
}


@dataclass(frozen=True)
class Rule:
    """A parsed SQL rule on a row or on a whole window."""

    place: str  # the column or data set under which the rule is written
    name: str
    query: "sql.Query"
    quality: Quality

    @property
    def about_one_row(self) -> bool:
        """Whether the rule is on single rows: it counts rows that meet a condition, and the count must be 0."""
        return self.query.counts_rows and self.query.condition is not None and self.quality.bounds == {"must_be": 0}

    @property
    def counts_all_rows(self) -> bool:
        return self.query.counts_rows and self.query.condition is None


class ServiceLevel(StandardPart):
    """A service level. `freshness` is enforced, `latency` used by ingest; others are agreements between people."""

    reads = "property value unit element"
    nullable = frozenset({"value", "valueExt"})
    newer = frozenset({"custom_properties", "authoritative_definitions"})

    id: Identifier | None = None
    property: str
    value: Scalar
    value_ext: Scalar = None
    unit: str | None = None
    element: str | None = None
    driver: str | None = None
    description: str | None = None
    scheduler: str | None = None
    schedule: str | None = None
    custom_properties: CustomProperties = ()
    authoritative_definitions: Definitions = ()

    def longest(self) -> timedelta | None:
        """The maximum age of the newest row; None if it is not a freshness in hours or days."""
        return (self._time() or None) if self.property == "freshness" else None

    def latest(self) -> timedelta | None:
        """How long after its event time a row may still arrive or change; None if it is no latency in hours or days."""
        return self._time() if self.property == "latency" else None

    def left_alone(self) -> str:
        """A sentence if it is a freshness or a latency whose time Groundwork cannot read; else empty."""
        use = {"freshness": "checked", "latency": "used"}.get(self.property)
        if use is None or self.longest() or self.latest() is not None:
            return ""
        given = f"the {self.property} {self.value} {self.unit or 'without a unit'}"
        return f"slaProperties: {given} is not {use} by Groundwork, which knows a number with the unit h or d"

    def _time(self) -> timedelta | None:
        units = {"h": "hours", "hour": "hours", "hours": "hours", "d": "days", "day": "days", "days": "days"}
        # True is a number in Python, and no time.
        if self.unit not in units or not isinstance(self.value, int | float) or self.value is True:
            return None
        return timedelta(**{units[self.unit]: self.value}) if 0 <= self.value < 100_000 else None


def one_of(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
