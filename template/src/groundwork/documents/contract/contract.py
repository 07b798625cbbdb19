"""`contract.yaml`: what each word in the data means, as an Open Data Contract Standard (ODCS) v3.1 document.

Only rules that are enforced are accepted: a rule that nobody checks is worse than none. Keys of the standard that
carry no rule (names, links, classification) are allowed and left alone.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from groundwork.documents.contract import sql
from groundwork.documents.contract.task import BINARY, Task
from groundwork.documents.document import Document, Part

LogicalType = Literal["string", "integer", "number", "boolean", "timestamp"]

ROLES = ("event_time", "outcome", "feature")

SENSITIVE = frozenset({"confidential", "restricted", "sensitive", "pii"})
PLACES = ("features", "log", "reports")  # where a sensitive column may go only if the contract allows it


class StandardPart(Part):
    """A part of the standard's document; the keys in `unread` are the standard's, and carry no rule."""

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
        schema["properties"] = {key: {"description": "Not read."} for key in sorted(cls.unread - set(read))} | read
        return schema


class Options(StandardPart):
    """Limits on one value (`logicalTypeOptions`)."""

    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    pattern: str | None = None


class ValidValues(StandardPart):
    valid_values: tuple[str, ...] = Field(min_length=1, strict=False)


class Quality(StandardPart):
    """A rule beyond the limits on one value: a metric of the standard's library, or a figure in SQL, and its bounds."""

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
            raise ValueError("the metric invalidValues, and no other rule, has arguments.validValues")
        if not self.bounds:
            raise ValueError("a rule needs a bound, such as mustBe or mustBeBetween")
        if self.metric == "invalidValues" and self.bounds != {"must_be": 0}:
            raise ValueError("the bound of invalidValues should be 0: mustBe: 0")
        if self.must_be_between and self.must_be_between[0] > self.must_be_between[1]:
            raise ValueError("mustBeBetween has its lower bound first")
        return self

    @property
    def bounds(self) -> dict[str, Any]:
        return {name: bound for name, bound in self if name.startswith("must_be") and bound is not None}

    def admits(self, figure: float) -> bool:
        """Whether the figure keeps every bound; NaN keeps none."""
        most = (self.must_be, self.must_be_less_or_equal_to, (self.must_be_between or (None, None))[1])
        below = self.must_be_less_than is None or figure < self.must_be_less_than
        return self.reaches(figure) and below and all(figure <= bound for bound in most if bound is not None)

    def reaches(self, figure: float) -> bool:
        """Whether the figure keeps every lower bound."""
        least = (self.must_be, self.must_be_greater_or_equal_to, (self.must_be_between or (None, None))[0])
        above = self.must_be_greater_than is None or figure > self.must_be_greater_than
        return above and all(figure >= bound for bound in least if bound is not None)

    @property
    def expectation(self) -> str:
        """The bounds in words."""
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
    """A rule over several columns, or over a whole window."""

    place: str  # the column or the data set that it stands at
    name: str
    query: sql.Query
    quality: Quality

    @property
    def about_one_row(self) -> bool:
        """Whether single rows break it: it counts the rows that meet a condition, and there must be none."""
        return self.query.counts_rows and self.query.condition is not None and self.quality.bounds == {"must_be": 0}

    @property
    def counts_all_rows(self) -> bool:
        return self.query.counts_rows and self.query.condition is None


class ServiceLevel(StandardPart):
    """What was agreed on delivery. `freshness` is enforced; the rest binds people, and is left alone."""

    unread = StandardPart.unread | {"valueExt", "driver", "scheduler", "schedule"}

    property: str
    value: Any
    unit: str | None = None
    element: str | None = None

    @model_validator(mode="after")
    def _is_a_time(self) -> Self:
        if self.property == "freshness":
            self.longest()  # raises when it is not a time
        return self

    def longest(self) -> timedelta:
        """How old the newest row may be."""
        units = {"h": "hours", "hour": "hours", "hours": "hours", "d": "days", "day": "days", "days": "days"}
        if not isinstance(self.value, int | float) or not 0 < self.value < 100_000 or self.unit not in units:
            raise ValueError(
                f"freshness must be a number of h or d, found {self.value!r} {self.unit or 'without unit'}"
            )
        return timedelta(**{units[self.unit]: self.value})


class CustomProperty(StandardPart):
    unread = frozenset({"id"})

    property: str
    value: Any
    description: str = ""


class Column(StandardPart):
    """One column: its type, its limits, and the part it plays."""

    unread = (StandardPart.unread - {"tags", "customProperties"}) | {
        "physicalName",
        "physicalType",
        "primaryKeyPosition",
        "criticalDataElement",
        "encryptedName",
        "transformSourceObjects",
        "transformLogic",
        "transformDescription",
    }

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    business_name: str | None = None
    description: str
    logical_type: LogicalType
    logical_type_options: Options = Options()
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    tags: tuple[str, ...] = Field(default=(), strict=False)
    examples: tuple[Any, ...] = Field(min_length=1, strict=False, description="One that may be sent as it is.")
    quality: tuple[ColumnQuality, ...] = Field(default=(), strict=False)
    classification: str | None = None
    custom_properties: tuple[CustomProperty, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _is_allowed_with_a_reason(self) -> Self:
        for custom in self.custom_properties:
            if custom.property != "allowedIn":
                continue
            if not self.sensitive:
                raise ValueError(f"allowedIn is for a column whose classification is {_one_of(sorted(SENSITIVE))}")
            if not isinstance(custom.value, list) or not set(custom.value) <= set(PLACES):
                raise ValueError(f"allowedIn must be a list of {', '.join(PLACES)}, found {custom.value!r}")
            if len(custom.description) < 3:
                raise ValueError("allowedIn needs the reason as its description")
        for role, place in (("feature", "features"), ("event_time", "log")):
            if self.plays(role) and not self.may_be_in(place):
                raise ValueError(self._refused(f"have the tag {role}", place))
        if self.primary_key and not self.may_be_in("log"):
            raise ValueError(self._refused("be the primaryKey, which stands in the prediction log", "log"))
        if self.plays("subject") and not self.may_be_in("log"):
            raise ValueError(
                self._refused("have the tag subject: erasing would not find it in the prediction log", "log")
            )
        return self

    def _refused(self, what: str, place: str) -> str:
        return (
            f"{self.name} is {self.classification}, so it cannot {what}, unless its customProperties have allowedIn "
            f"with {place}, and the reason as its description"
        )

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        options = self.logical_type_options
        numeric = self.logical_type in ("integer", "number")
        for limit, value in self.logical_type_options:
            if value is not None and (limit in ("minimum", "maximum")) != numeric:
                raise ValueError(f"{limit} does not apply to the type {self.logical_type}")
        if self.valid_values and self.logical_type != "string":
            raise ValueError("invalidValues applies to the type string only")
        for low, high in ((options.minimum, options.maximum), (options.min_length, options.max_length)):
            if low is not None and high is not None and low > high:
                raise ValueError(f"no value can be at least {low:g} and at most {high:g}")
        if options.pattern is not None:
            try:
                re.compile(options.pattern)
            except re.error as error:
                raise ValueError(f"the pattern {options.pattern} is not a regular expression: {error}") from None
        return self

    @property
    def needed(self) -> bool:
        """Whether every row must have a value: the key and the event time always."""
        return self.required or self.primary_key or self.plays("event_time")

    @property
    def valid_values(self) -> tuple[str, ...]:
        """The allowed texts; empty where any is allowed."""
        return next((rule.arguments.valid_values for rule in self.quality if rule.arguments), ())

    @property
    def numeric(self) -> bool:
        """Whether its drift is that of numbers; the tag `categorical` is for numbers that only tell things apart."""
        return self.kind == "number" and "categorical" not in self.tags

    @property
    def kind(self) -> str:
        """The type as SQL and statistics see it: an integer is a number."""
        return "number" if self.logical_type == "integer" else self.logical_type

    @property
    def sensitive(self) -> bool:
        """Whether its classification keeps it out of what it is not explicitly allowed in."""
        return (self.classification or "").lower() in SENSITIVE

    def may_be_in(self, place: str) -> bool:
        """Whether its values may go there: features, log or reports."""
        allowed = [custom.value for custom in self.custom_properties if custom.property == "allowedIn"]
        return not self.sensitive or any(place in places for places in allowed)

    def plays(self, role: str) -> bool:
        """Whether the column plays this role: event_time, outcome, feature, subject or slice."""
        return role in self.tags


class Dataset(StandardPart):
    """One data set (`schema` entry) of the contract."""

    unread = (StandardPart.unread - {"customProperties"}) | {
        "physicalName",
        "physicalType",
        "dataGranularityDescription",
    }

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str | None = None
    logical_type: Literal["object"] = "object"
    columns: tuple[Column, ...] = Field(alias="properties", min_length=1, strict=False)
    custom_properties: tuple[CustomProperty, ...] = Field(default=(), strict=False)
    quality: tuple[DatasetQuality, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _has_its_roles(self) -> Self:
        names = [column.name for column in self.columns]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"the property {', '.join(repeated)} stands twice")
        for what, found in (
            ("the tag event_time", self.playing("event_time")),
            ("the tag outcome", self.playing("outcome")),
            ("primaryKey: true", [column for column in self.columns if column.primary_key]),
        ):
            if len(found) != 1:
                raise ValueError(f"exactly one property must have {what}, found {len(found)}")
        if not self.features:
            raise ValueError("at least one property must have the tag feature")
        if self.event_time.logical_type != "timestamp":
            event_time = self.event_time
            raise ValueError(f"the event_time must be a timestamp, {event_time.name} is a {event_time.logical_type}")
        self.task  # noqa: B018 - raises when nobody could learn to predict it
        if mixed := [column.name for column in self.columns if sum(map(column.plays, ROLES)) > 1]:
            raise ValueError(f"{', '.join(mixed)} can play one part only: {', '.join(ROLES)}")
        if len(self.playing("subject")) > 1:
            raise ValueError("one property at most may have the tag subject")
        if self.subject.logical_type not in ("string", "integer") or self.subject == self.outcome:
            raise ValueError(f"the subject must be a string or an integer, and not the outcome: {self.subject.name}")
        if self.key.logical_type != "string":
            raise ValueError(f"the primaryKey must be a string, {self.key.name} is a {self.key.logical_type}")
        if any(column.logical_type == "timestamp" for column in self.features):
            raise ValueError("a timestamp cannot be a feature; derive numbers from it in source.py")
        if self.key in self.features:
            raise ValueError(f"the primaryKey {self.key.name} cannot be a feature: it says nothing about other rows")
        endless = [
            each.name for each in self.slices if each.logical_type in ("number", "timestamp") or each.primary_key
        ]
        if endless:
            raise ValueError(f"{', '.join(endless)} has too many values to be a slice")
        if secret := [each.name for each in self.slices if not each.may_be_in("reports")]:
            raise ValueError(f"{', '.join(secret)} is a slice, whose values are reported: see allowedIn")
        self.max_quarantined_share  # noqa: B018 - raises when it is not a share
        list(self._rules())  # raises for a query that cannot be enforced
        return self

    def playing(self, role: str) -> list[Column]:
        """The columns that play this role."""
        return [column for column in self.columns if column.plays(role)]

    @property
    def key(self) -> Column:
        """Names one row for ever."""
        return next(column for column in self.columns if column.primary_key)

    @property
    def unique(self) -> list[str]:
        """The columns in which no value may stand twice: the key, and what is declared so."""
        return [column.name for column in self.columns if column.unique or column.primary_key]

    @property
    def event_time(self) -> Column:
        """The one clock: windows, splits and drift go by it."""
        return self.playing("event_time")[0]

    @property
    def outcome(self) -> Column:
        """What turned out to be true; null as long as nobody knows."""
        return self.playing("outcome")[0]

    @property
    def task(self) -> Task:
        """What is predicted: yes or no for a boolean, a class for a text with valid values, else a quantity."""
        outcome = self.outcome
        if outcome.logical_type == "timestamp":
            raise ValueError(f"the outcome cannot be a timestamp, as {outcome.name} is; derive a number in source.py")
        if outcome.logical_type == "boolean":
            return BINARY
        if outcome.logical_type != "string":
            return Task(kind="regression")
        if len(outcome.valid_values) < 2:
            raise ValueError(f"the outcome {outcome.name} is a string: say by invalidValues which classes there are")
        return Task(kind="multiclass", classes=outcome.valid_values)

    @property
    def features(self) -> list[Column]:
        """The model's inputs, in order."""
        return self.playing("feature")

    @property
    def slices(self) -> list[Column]:
        """The columns in each of whose values the gate looks at the model by itself."""
        return self.playing("slice")

    @property
    def feature_names(self) -> list[str]:
        return [column.name for column in self.features]

    @property
    def requested(self) -> list[Column]:
        """What a request carries: everything but the outcome."""
        return [column for column in self.columns if not column.plays("outcome")]

    @property
    def logged(self) -> list[Column]:
        """What of a request the prediction log keeps."""
        return [column for column in self.requested if column.may_be_in("log")]

    @property
    def reported(self) -> list[Column]:
        """The features whose drift is measured: what may be logged, and shown in a report."""
        return [column for column in self.features if column.may_be_in("log") and column.may_be_in("reports")]

    def told(self, error: Exception) -> tuple[str, Exception | None]:
        """What may be said of an error met among the rows, and its cause: an engine's words may repeat a value."""
        if any(column.sensitive for column in self.columns):
            return f"{type(error).__name__}, whose words are left out, as they may repeat sensitive values", None
        return str(error), error

    @property
    def subject(self) -> Column:
        """Whose row it is: what can be erased on request. The key, unless a column has the tag subject."""
        return next(iter(self.playing("subject")), self.key)

    @property
    def row_rules(self) -> list[Rule]:
        """The rules over several columns of one row; a row that breaks one is quarantined."""
        return [rule for rule in self._rules() if rule.about_one_row]

    @property
    def window_rules(self) -> list[Rule]:
        """The rules on figures over a whole window; one that is broken stops the ingest."""
        return [rule for rule in self._rules() if not rule.about_one_row]

    def _rules(self) -> Iterator[Rule]:
        kinds = tuple((column.name, column.kind) for column in self.columns)
        places = [(column.name, rule) for column in self.columns for rule in column.quality]
        for place, rule in [*places, *((self.name, rule) for rule in self.quality)]:
            if rule.metric == "invalidValues":
                continue
            query = rule.query or "SELECT COUNT(*) FROM ${object}"
            name = rule.name or rule.metric or " ".join(query.split())
            text = query.replace("${object}", self.name).replace("${property}", place)
            try:
                yield Rule(place, name, sql.parse(text, self.name, kinds), rule)
            except ValueError as error:
                raise ValueError(f"{place}: quality: {error}") from None

    @property
    def max_quarantined_share(self) -> float:
        """A run with a larger share of broken rows stops."""
        share = {custom.property: custom.value for custom in self.custom_properties}.get("maxQuarantinedShare", 0.0)
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
            raise ValueError(f"maxQuarantinedShare must be between 0 and 1, found {share!r}")
        return float(share)


class Contract(StandardPart, Document):
    """The data contract, with its one data set."""

    unread = StandardPart.unread | {
        "tenant",
        "domain",
        "dataProduct",
        "contractCreatedTs",
        "servers",
        "team",
        "support",
        "price",
        "roles",
        "slaDefaultElement",
    }

    api_version: Literal["v3.1.0"]
    kind: Literal["DataContract"]
    id: str
    name: str | None = None
    description: dict[str, Any] | str = ""
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    status: Literal["proposed", "draft", "active", "deprecated", "retired"]
    datasets: tuple[Dataset, ...] = Field(alias="schema", min_length=1, max_length=1, strict=False)
    sla_properties: tuple[ServiceLevel, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _promises_what_can_be_seen(self) -> Self:
        for level in self.freshness:
            self.moment_of(level)
        return self

    @property
    def freshness(self) -> list[ServiceLevel]:
        """How old the newest data may be."""
        return [level for level in self.sla_properties if level.property == "freshness"]

    def moment_of(self, level: ServiceLevel) -> Column:
        """The timestamp that freshness goes by: its element, or else the event time."""
        element = (level.element or self.dataset.event_time.name).removeprefix(f"{self.dataset.name}.")
        for column in self.dataset.columns:
            if column.name == element and column.logical_type == "timestamp":
                return column
        raise ValueError(f"slaProperties: freshness: the data set has no timestamp {element}")

    @property
    def dataset(self) -> Dataset:
        """The data set that the pilot reads."""
        return self.datasets[0]


def _one_of(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
