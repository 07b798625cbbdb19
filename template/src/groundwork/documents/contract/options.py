"""Limits on one value of a column: `logicalTypeOptions` and `enum`."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import Field, FiniteFloat, WithJsonSchema, WrapValidator, field_validator, model_validator
from pydantic.json_schema import SkipJsonSchema

from groundwork.core.windows import zone_named
from groundwork.documents.contract.standard import (
    CustomProperties,
    Definitions,
    Identifier,
    Scalar,
    StandardPart,
    Texts,
)

NumberOrTime = WithJsonSchema({"type": ["number", "string"]})


def _exactly(limit: Any, as_float: Callable[[Any], float]) -> float:
    """Return the limit as a float, or as it is if it is an integer that no float is equal to."""
    found = as_float(limit)
    return limit if type(limit) is int and found != limit else found


Limit = Annotated[FiniteFloat, WrapValidator(_exactly)]


class Options(StandardPart):
    """Limits on one value (`logicalTypeOptions`)."""

    reads = "minimum maximum minLength maxLength pattern timezone defaultTimezone"

    minimum: Annotated[Limit | None, NumberOrTime] = None
    maximum: Annotated[Limit | None, NumberOrTime] = None
    min_length: int | None = Field(default=None, ge=0)
    max_length: int | None = Field(default=None, ge=0)
    pattern: str | None = None
    timezone: bool | None = Field(default=None, description="If true, the source's column must have a time zone.")
    default_timezone: str | None = Field(
        default=None,
        description="The time zone of a timestamp's values without an offset, such as Europe/Berlin; by default UTC.",
    )
    # What the standard knows, and nothing here checks:
    exclusive_minimum: FiniteFloat | str | None = None
    exclusive_maximum: FiniteFloat | str | None = None
    multiple_of: FiniteFloat | None = Field(default=None, gt=0)
    format: str | None = None
    earliest: SkipJsonSchema[str | None] = None  # the minimum of a timestamp, which is a text
    latest: SkipJsonSchema[str | None] = None

    @model_validator(mode="before")
    @classmethod
    def _times_are_texts(cls, content: Any) -> Any:
        if not isinstance(content, dict):
            return content
        if own := {"earliest", "latest"} & set(content):
            raise ValueError(
                f"{', '.join(sorted(own))} is not a known key here; a timestamp has a minimum and a maximum"
            )
        names = {"minimum": "earliest", "maximum": "latest"}
        return {names.get(key, key) if isinstance(value, str) else key: value for key, value in content.items()}

    @field_validator("default_timezone")
    @classmethod
    def _is_a_zone(cls, name: str | None) -> str | None:
        if name is not None:
            zone_named(name)
        return name


class EnumValue(StandardPart):
    """A value that a column may have (`enum`)."""

    reads = "value"
    nullable = frozenset({"value"})

    value: Scalar
    label: str | None = None
    id: Identifier | None = None
    description: str | None = None
    custom_properties: CustomProperties = ()
    authoritative_definitions: Definitions = ()
    tags: Texts = ()
