"""A column of the contract, and the prediction task that follows from the outcome's type."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from groundwork.core.quoting import listed
from groundwork.core.windows import zone_named
from groundwork.documents.contract.options import EnumValue, Options
from groundwork.documents.contract.quality import (
    PLACES,
    SENSITIVE,
    ColumnQuality,
    LogicalType,
    one_of,
)
from groundwork.documents.contract.standard import Element, Relationship, Texts

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_TEXT = 10_000  # characters of a text without `maxLength`, so that no single one fills memory and the log
Kind = Literal["binary", "multiclass", "regression"]
# The metrics that the gate supports, per kind of outcome.
METRICS: dict[Kind, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
    "regression": ("mae", "rmse"),
}
LOWER_IS_BETTER = ("log_loss", "mae", "rmse")


@dataclass(frozen=True)
class Task:
    """The prediction task: the kind of outcome, and the types and shapes of outcomes and scores.

    A score is the probability of true (binary), the predicted quantity (regression), or one probability per class in
    the order of `classes` (multiclass).
    """

    kind: Kind = "binary"
    classes: tuple[str, ...] = ()  # of a multiclass outcome, in the order of the contract

    def outcomes(self, values: Sequence[Any]) -> "NDArray":
        """Returns known outcomes as an array for `decision.value`: bool, class names, or float64."""
        import numpy as np  # imported here, so that commands that only read the contract start faster

        return np.array(values, dtype={"binary": bool, "multiclass": str, "regression": np.float64}[self.kind])

    def targets(self, outcomes: "NDArray") -> "NDArray":
        """Returns the outcomes as training targets: int64 0 and 1, int64 class indices, or float32 quantities."""
        import numpy as np

        if self.kind == "multiclass":
            place = {name: number for number, name in enumerate(self.classes)}
            return np.array([place[str(outcome)] for outcome in outcomes], dtype=np.int64)
        return outcomes.astype(np.int64 if self.kind == "binary" else np.float32)

    def shape(self, rows: int) -> tuple[int, ...]:
        """Returns the shape of the scores of `rows` rows: (rows, classes) for multiclass, else (rows,)."""
        return (rows, len(self.classes)) if self.kind == "multiclass" else (rows,)

    def predicted(self, scores: "NDArray") -> "NDArray":
        """Returns, per row, the name of the most probable class for multiclass; otherwise the scores unchanged."""
        import numpy as np

        return np.array(self.classes, dtype=object)[scores.argmax(1)] if self.kind == "multiclass" else scores

    def logged(self, scores: "NDArray") -> "NDArray | dict[str, NDArray]":
        """Returns the scores as the prediction log stores them: for multiclass, one array per class."""
        if self.kind != "multiclass":
            return scores
        return {name: scores[:, place] for place, name in enumerate(self.classes)}

    def shown(self, scores: "NDArray") -> list[Any]:
        """Returns the score of each row as an answer shows it; for multiclass, a map of class to score."""
        if self.kind != "multiclass":
            return scores.tolist()
        return [dict(zip(self.classes, row, strict=True)) for row in scores.tolist()]


BINARY = Task()
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)?")


def _is_timestamp(text: str) -> bool:
    try:
        return bool(_TIMESTAMP.fullmatch(text) and datetime.fromisoformat(text))
    except ValueError:
        return False


class Column(Element):
    """One column: its type, its limits and its role."""

    reads = (
        "name businessName description logicalType logicalTypeOptions required unique primaryKey tags examples enum "
        "quality classification customProperties"
    )
    newer = Element.newer | {"enum", "semantic_type"}

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str
    logical_type: LogicalType
    logical_type_options: Options = Field(default_factory=Options)
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    examples: tuple[Any, ...] = Field(
        min_length=1, strict=False, description="A valid value; used in example requests."
    )
    enum: tuple[EnumValue, ...] = Field(default=(), strict=False)
    quality: tuple[ColumnQuality, ...] = Field(default=(), strict=False)
    classification: str | None = None
    primary_key_position: int | None = None
    partitioned: bool = False
    partition_key_position: int | None = None
    critical_data_element: bool = False
    encrypted_name: str | None = None
    semantic_type: Literal["column", "measure", "dimension"] = "column"
    transform_source_objects: Texts = ()
    transform_logic: str | None = None
    transform_description: str | None = None
    relationships: tuple[Relationship, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _is_allowed_with_a_reason(self) -> Self:
        for custom in self.custom_properties:
            if custom.property != "allowedIn":
                continue
            if not self.sensitive:
                raise ValueError(
                    f"allowedIn applies only to a column with the classification {one_of(sorted(SENSITIVE))}"
                )
            if not isinstance(custom.value, list) or not set(custom.value) <= set(PLACES):
                raise ValueError(f"allowedIn must be a list of {', '.join(PLACES)}, found {custom.value!r}")
            if len(custom.description) < 3:
                raise ValueError("allowedIn needs the reason as its description")
        for role, place in (("feature", "features"), ("event_time", "log")):
            if self.plays(role) and not self.may_be_in(place):
                raise ValueError(self._refused(f"have the tag {role}", place))
        if self.primary_key and not self.may_be_in("log"):
            raise ValueError(self._refused("be the primaryKey, which the prediction log contains", "log"))
        if self.plays("subject") and not self.may_be_in("log"):
            raise ValueError(
                self._refused("have the tag subject, because `erase` looks for it in the prediction log", "log")
            )
        return self

    def _refused(self, what: str, place: str) -> str:
        return (
            f"{self.name} is {self.classification}, so it cannot {what}, unless its customProperties contain allowedIn "
            f"with {place}, and a description with the reason"
        )

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        options = self.logical_type_options
        for limit in sorted(options.model_fields_set - _FITS[self.logical_type]):
            raise ValueError(
                f"{_IN_THE_FILE.get(limit, to_camel(limit))} does not apply to the type {self.logical_type}"
            )
        for value in (options.exclusive_minimum, options.exclusive_maximum):
            if value is not None and isinstance(value, str) != (self.logical_type == "timestamp"):
                raise ValueError(f"an exclusive limit of the type {self.logical_type} cannot be {value!r}")
        formats = _FORMATS.get(self.logical_type)
        if formats and options.format and options.format not in formats:
            raise ValueError(f"the format must be one of {', '.join(formats)}, found {options.format!r}")
        if any(isinstance(each, float) and not math.isfinite(each) for each in self.examples):
            raise ValueError("examples: must be finite numbers")  # JSON, and so the API's description, has no others
        for low, high in ((options.minimum, options.maximum), (options.min_length, self.longest)):
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
        """Whether every row must have a value; always true for the key and the event time."""
        return self.required or self.primary_key or self.plays("event_time")

    @property
    def valid_values(self) -> tuple[str, ...]:
        """The allowed values of a string column; empty if all are allowed."""
        if self.logical_type != "string":
            return ()
        lists = [rule.valid_values for rule in self.quality if rule.valid_values]
        if self.enum and all(isinstance(each.value, str) for each in self.enum):
            lists.insert(0, tuple(str(each.value) for each in self.enum))
        return tuple(value for value in lists[0] if all(value in each for each in lists)) if lists else ()

    @property
    def left_alone(self) -> list[str]:
        """The limits that Groundwork does not check, by their keys in the contract."""
        found = [
            _IN_THE_FILE.get(limit, to_camel(limit))
            for limit in sorted(self.logical_type_options.model_fields_set & _NOT_CHECKED)
        ]
        return [*found, "enum"] if self.enum and not self.valid_values else found

    @property
    def zone(self) -> tzinfo:
        """The time zone of a timestamp's values without an offset; `datetime.UTC` by default."""
        return zone_named(self.logical_type_options.default_timezone or "UTC")

    @property
    def longest(self) -> int | None:
        """The most characters of a text: `maxLength`, else LONGEST_TEXT; None if the values are listed, or no texts."""
        given = self.logical_type_options.max_length
        return LONGEST_TEXT if given is None and self.logical_type == "string" and not self.valid_values else given

    @property
    def numeric(self) -> bool:
        """Whether drift is measured as for numbers; the tag `categorical` marks numbers that are only identifiers."""
        return self.kind == "number" and "categorical" not in self.tags

    @property
    def kind(self) -> str:
        """The type for SQL and statistics: number (also for integers), string, boolean or timestamp."""
        return "number" if self.logical_type == "integer" else self.logical_type

    @property
    def sensitive(self) -> bool:
        """Whether its classification restricts its values to the places in `allowedIn`."""
        return (self.classification or "").lower() in SENSITIVE

    def may_be_in(self, place: str) -> bool:
        """Whether its values may be used in this place: features, log or reports."""
        allowed = [custom.value for custom in self.custom_properties if custom.property == "allowedIn"]
        return not self.sensitive or any(place in places for places in allowed)

    def wrong_examples(self) -> Iterator[str]:
        """Yields what is wrong with each example that is no value of the column, one line each."""
        for example in self.examples:
            if mistake := self._mistake_in(example):
                yield f"{self.name}: examples: {mistake}, found {example!r}"

    def _mistake_in(self, value: Any) -> str:
        """Returns why the value is none of this column's; empty if it is one."""
        limits, numeric = self.logical_type_options, self.logical_type in ("integer", "number")
        text, number = isinstance(value, str), isinstance(value, int | float) and not isinstance(value, bool)
        if value is None:
            return "a value is required" if self.needed else ""
        if numeric and not (number and math.isfinite(value) and (self.logical_type == "number" or value == int(value))):
            return f"must be a {'number' if self.logical_type == 'number' else 'whole number'}"
        if self.logical_type == "boolean" and not isinstance(value, bool):
            return "must be true or false"
        if self.logical_type == "string" and not text:
            return "must be text; write it in quotes"
        if self.logical_type == "timestamp" and not (text and _is_timestamp(value)):
            return "must be a timestamp as YYYY-MM-DDTHH:MM:SS"
        if self.valid_values and value not in self.valid_values:
            return f"must be one of {', '.join(listed(self.valid_values))}"
        size, low, high = (value, limits.minimum, limits.maximum) if numeric else (0, None, None)
        if self.logical_type == "string":
            size, low, high = len(value), limits.min_length, self.longest
            if limits.pattern is not None and not re.search(limits.pattern, value):
                return f"must match {limits.pattern}"
        if (low is not None and size < low) or (high is not None and size > high):
            return "must be within the column's limits"
        return ""

    def plays(self, role: str) -> bool:
        """Whether the column has this role: event_time, outcome, feature, subject or slice."""
        return role in self.tags


_NUMBERS = {"minimum", "maximum", "exclusive_minimum", "exclusive_maximum", "multiple_of", "format"}
_TIMES = {"earliest", "latest", "exclusive_minimum", "exclusive_maximum", "format", "timezone", "default_timezone"}
_FITS: dict[LogicalType, set[str]] = {
    "string": {"min_length", "max_length", "pattern", "format"},
    "integer": _NUMBERS,
    "number": _NUMBERS,
    "boolean": set(),
    "timestamp": _TIMES,
}
_NOT_CHECKED = {"earliest", "latest", "exclusive_minimum", "exclusive_maximum", "multiple_of", "format"}
_IN_THE_FILE = {"earliest": "minimum", "latest": "maximum"}
_FORMATS = {
    "integer": [f"{sign}{bits}" for sign in "iu" for bits in (8, 16, 32, 64, 128)],
    "number": ["f32", "f64"],
}
