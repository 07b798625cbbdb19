"""`contract.yaml`: what each word in the data means, as an Open Data Contract Standard (ODCS) v3.1 document.

Only rules that are enforced are accepted: a rule that nobody checks is worse than none. Keys of the standard that
carry no rule (names, links, classification) are allowed and left alone.
"""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, FiniteFloat, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from groundwork.documents import Document, Part

LogicalType = Literal["string", "integer", "number", "boolean", "timestamp"]

ROLES = ("event_time", "outcome", "feature")


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
    """The one quality metric that is enforced: the set of valid values of a text."""

    unread = StandardPart.unread | {"name", "dimension", "severity", "businessImpact"}

    type: Literal["library"] = "library"
    metric: Literal["invalidValues"]
    arguments: ValidValues
    must_be: Literal[0]


class CustomProperty(Part):
    property: str
    value: Any


class Column(StandardPart):
    """One column: its type, its limits, and the part it plays."""

    unread = (StandardPart.unread - {"tags"}) | {
        "physicalName",
        "physicalType",
        "primaryKeyPosition",
        "classification",
        "criticalDataElement",
        "encryptedName",
        "transformSourceObjects",
        "transformLogic",
        "transformDescription",
    }

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    description: str
    logical_type: LogicalType
    logical_type_options: Options = Options()
    required: bool = False
    unique: bool = False
    primary_key: bool = False
    tags: tuple[str, ...] = Field(default=(), strict=False)
    examples: tuple[Any, ...] = Field(min_length=1, strict=False, description="One that may be sent as it is.")
    quality: tuple[Quality, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _limits_fit_the_type(self) -> Self:
        options = self.logical_type_options
        numeric = self.logical_type in ("integer", "number")
        for limit, value in self.logical_type_options:
            if value is not None and (limit in ("minimum", "maximum")) != numeric:
                raise ValueError(f"{limit} does not apply to the type {self.logical_type}")
        if self.quality and self.logical_type != "string":
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
        return self.quality[0].arguments.valid_values if self.quality else ()

    def plays(self, role: str) -> bool:
        """Whether the column plays this role: event_time, outcome or feature."""
        return role in self.tags


class Dataset(StandardPart):
    """One data set (`schema` entry) of the contract."""

    unread = (StandardPart.unread - {"customProperties"}) | {
        "physicalName",
        "physicalType",
        "dataGranularityDescription",
    }

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    logical_type: Literal["object"] = "object"
    columns: tuple[Column, ...] = Field(alias="properties", min_length=1, strict=False)
    custom_properties: tuple[CustomProperty, ...] = Field(default=(), strict=False)

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
        for name, wanted, column in (
            ("event_time", "timestamp", self.event_time),
            ("outcome", "boolean", self.outcome),
        ):
            if column.logical_type != wanted:
                raise ValueError(f"the {name} must be a {wanted}, {column.name} is a {column.logical_type}")
        if mixed := [column.name for column in self.columns if sum(map(column.plays, ROLES)) > 1]:
            raise ValueError(f"{', '.join(mixed)} can play one part only: {', '.join(ROLES)}")
        if self.key.logical_type != "string":
            raise ValueError(f"the primaryKey must be a string, {self.key.name} is a {self.key.logical_type}")
        if any(column.logical_type == "timestamp" for column in self.features):
            raise ValueError("a timestamp cannot be a feature; derive numbers from it in source.py")
        if self.key in self.features:
            raise ValueError(f"the primaryKey {self.key.name} cannot be a feature: it says nothing about other rows")
        self.max_quarantined_share  # noqa: B018 - raises when it is not a share
        return self

    def playing(self, role: str) -> list[Column]:
        """The columns that play this role."""
        return [column for column in self.columns if column.plays(role)]

    @property
    def key(self) -> Column:
        """Names one row for ever."""
        return next(column for column in self.columns if column.primary_key)

    @property
    def event_time(self) -> Column:
        """The one clock: windows, splits and drift go by it."""
        return self.playing("event_time")[0]

    @property
    def outcome(self) -> Column:
        """What turned out to be true; null as long as nobody knows."""
        return self.playing("outcome")[0]

    @property
    def features(self) -> list[Column]:
        """The model's inputs, in order."""
        return self.playing("feature")

    @property
    def feature_names(self) -> list[str]:
        return [column.name for column in self.features]

    @property
    def requested(self) -> list[Column]:
        """What a request carries: everything but the outcome."""
        return [column for column in self.columns if not column.plays("outcome")]

    @property
    def max_quarantined_share(self) -> float:
        """A run with a larger share of broken rows stops."""
        share = {custom.property: custom.value for custom in self.custom_properties}.get("maxQuarantinedShare", 0.0)
        if not isinstance(share, int | float) or not 0 <= share <= 1:
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
        "slaProperties",
        "slaDefaultElement",
    }

    api_version: Literal["v3.1.0"]
    kind: Literal["DataContract"]
    id: str
    name: str | None = None
    version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")]
    status: Literal["proposed", "draft", "active", "deprecated", "retired"]
    datasets: tuple[Dataset, ...] = Field(alias="schema", min_length=1, max_length=1, strict=False)

    @property
    def dataset(self) -> Dataset:
        """The data set that the pilot reads."""
        return self.datasets[0]
