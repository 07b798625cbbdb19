"""Rules of a contract, on columns, rows, windows and freshness."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, GetJsonSchemaHandler, WrapValidator, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from groundwork.documents.contract import sql
from groundwork.documents.document import Part

LogicalType = Literal["string", "integer", "number", "boolean", "timestamp"]
ROLES = ("event_time", "outcome", "feature")
SENSITIVE = frozenset({"confidential", "restricted", "sensitive", "pii"})
PLACES = ("features", "log", "reports")  # places where a sensitive column needs permission in the contract


class StandardPart(Part):
    """A part of a document of the standard; `unread` lists the standard's keys that are ignored."""

    unread: ClassVar[frozenset[str]] = frozenset(
        {"id", "businessName", "authoritativeDefinitions", "customProperties", "tags", "description"}
    )

    @model_validator(mode="before")
    @classmethod
    def _leave_alone(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        read = {field.alias for field in cls.model_fields.values()}
        return {key: value for key, value in content.items() if key in read or key not in cls.unread}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core_schema))
        read = schema["properties"]
        schema["properties"] = {key: {"description": "Ignored."} for key in sorted(cls.unread - set(read))} | read
        return schema


def _exactly(limit: Any, as_float: Callable[[Any], float]) -> float:
    """Return the limit as a float, or as it is if it is an integer that no float is equal to."""
    found = as_float(limit)
    return limit if type(limit) is int and found != limit else found


Limit = Annotated[FiniteFloat, WrapValidator(_exactly)]


class Options(StandardPart):
    """Limits on one value (`logicalTypeOptions`)."""

    minimum: Limit | None = None
    maximum: Limit | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    pattern: str | None = None


class ValidValues(StandardPart):
    valid_values: tuple[str, ...] = Field(min_length=1, strict=False)


class Quality(StandardPart):
    """A quality rule: a metric of the standard's library, or a figure in SQL, with its bounds."""

    unread = StandardPart.unread | {"dimension", "severity", "businessImpact"}

    name: str | None = None
    type: Literal["library", "sql"] = "library"
    metric: Literal["invalidValues", "rowCount"] | None = None
    arguments: ValidValues | None = None
    query: str | None = None
    must_be: FiniteFloat | None = None
    must_be_greater_than: FiniteFloat | None = None
    must_be_greater_or_equal_to: FiniteFloat | None = None
    must_be_less_than: FiniteFloat | None = None
    must_be_less_or_equal_to: FiniteFloat | None = None
    must_be_between: tuple[FiniteFloat, FiniteFloat] | None = Field(default=None, strict=False)

    @model_validator(mode="after")
    def _says_what_and_how_much(self) -> Self:
        if (self.type == "sql") != (self.query is not None) or (self.type == "sql") == (self.metric is not None):
            raise ValueError("a rule has either a metric, or type: sql and a query")
        if (self.metric == "invalidValues") != (self.arguments is not None):
            raise ValueError("arguments.validValues is required for the metric invalidValues, and only allowed there")
        if not self.bounds:
            raise ValueError("a rule needs a bound, such as mustBe or mustBeBetween")
        if self.metric == "invalidValues" and self.bounds != {"must_be": 0}:
            raise ValueError("the bound of invalidValues should be 0: mustBe: 0")
        if self.must_be_between and self.must_be_between[0] > self.must_be_between[1]:
            raise ValueError("mustBeBetween needs its lower bound first")
        return self

    @property
    def bounds(self) -> dict[str, Any]:
        return {name: bound for name, bound in self if name.startswith("must_be") and bound is not None}

    def admits(self, figure: float) -> bool:
        """Whether the figure meets every bound; False for NaN."""
        most = (self.must_be, self.must_be_less_or_equal_to, (self.must_be_between or (None, None))[1])
        below = self.must_be_less_than is None or figure < self.must_be_less_than
        return self.reaches(figure) and below and all(figure <= bound for bound in most if bound is not None)

    def reaches(self, figure: float) -> bool:
        """Whether the figure meets every lower bound."""
        least = (self.must_be, self.must_be_greater_or_equal_to, (self.must_be_between or (None, None))[0])
        above = self.must_be_greater_than is None or figure > self.must_be_greater_than
        return above and all(figure >= bound for bound in least if bound is not None)

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
        }
        return " and ".join(
            words[name].format(*(f"{each:,.10g}" for each in (bound if isinstance(bound, tuple) else (bound,))))
            for name, bound in self.bounds.items()
        )


class ColumnQuality(Quality):
    metric: Literal["invalidValues"] | None = None


class DatasetQuality(Quality):
    metric: Literal["rowCount"] | None = None


@dataclass(frozen=True)
class Rule:
    """A parsed SQL rule on a row or on a whole window."""

    place: str  # the column or data set under which the rule is written
    name: str
    query: sql.Query
    quality: Quality

    @property
    def about_one_row(self) -> bool:
        """Whether the rule is on single rows: it counts rows that meet a condition, and the count must be 0."""
        return self.query.counts_rows and self.query.condition is not None and self.quality.bounds == {"must_be": 0}

    @property
    def counts_all_rows(self) -> bool:
        return self.query.counts_rows and self.query.condition is None


class ServiceLevel(StandardPart):
    """A service level. Only `freshness` is enforced; other levels are agreements between people, and are ignored."""

    unread = StandardPart.unread | {"valueExt", "driver", "scheduler", "schedule"}

    property: str
    value: Any
    unit: str | None = None
    element: str | None = None

    @model_validator(mode="after")
    def _is_a_time(self) -> Self:
        if self.property == "freshness":
            self.longest()  # raises if it is not a duration
        return self

    def longest(self) -> timedelta:
        """Returns the maximum age of the newest row. Raises ValueError if it is not a number of hours or days."""
        units = {"h": "hours", "hour": "hours", "hours": "hours", "d": "days", "day": "days", "days": "days"}
        if not isinstance(self.value, int | float) or not 0 < self.value < 100_000 or self.unit not in units:
            raise ValueError(
                f"freshness must be a number with the unit h or d, found {self.value!r} {self.unit or 'without unit'}"
            )
        return timedelta(**{units[self.unit]: self.value})


def one_of(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
