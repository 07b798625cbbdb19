"""The parts of the Open Data Contract Standard that carry no rule of ours: read, held against the standard, left alone.

Versions 3.1 and 3.2, after the standard's JSON Schema. Dates and addresses are texts there, and any text will do.
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from groundwork.documents.document import Part


class StandardPart(Part):
    """A part of a document of the standard; a key without a value is an error, as the standard has it."""

    reads: ClassVar[str] = ""  # the keys that mean something here
    nullable: ClassVar[frozenset[str]] = frozenset()  # the keys whose value may be null
    newer: ClassVar[frozenset[str]] = frozenset()  # the fields that version 3.2 has added

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Returns the JSON Schema for editors: what is kept for others, and no null for a key that is absent."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        for key, described in schema.get("properties", {}).items():
            if key not in cls.reads.split():
                described["description"] = "Kept for other tools."
            if key not in cls.nullable and described.get("default", 0) is None:
                del described["default"]
                kinds = [kind for kind in described.pop("anyOf", ()) if kind != {"type": "null"}]
                described |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
        return schema

    @model_validator(mode="before")
    @classmethod
    def _has_values(cls, content: Any) -> Any:
        if isinstance(content, dict):
            empty = [str(key) for key, value in content.items() if value is None and key not in cls.nullable]
            if empty:
                raise ValueError(f"{', '.join(empty)} has no value: give it one, or remove the key")
        return content


Identifier = Annotated[str, Field(pattern=r"^[^\s.#/\\@!%&^]+$")]
Texts = Annotated[tuple[str, ...], Field(strict=False)]
Scalar = str | int | float | bool | None


class Definition(StandardPart):
    """A link to where something is defined."""

    id: Identifier | None = None
    url: str
    type: str
    description: str | None = None


class CustomProperty(StandardPart):
    """A property that the standard does not know; a few names mean something here."""

    reads = "property value description"
    nullable = frozenset({"value"})
    newer = frozenset({"vendor"})

    id: Identifier | None = None
    property: str
    value: Any
    description: str = ""
    vendor: str | None = None


Definitions = Annotated[tuple[Definition, ...], Field(strict=False)]
CustomProperties = Annotated[tuple[CustomProperty, ...], Field(strict=False)]


def number_of(properties: CustomProperties, name: str, *, default: float, most: float) -> float:
    """Returns the property's value, from 0 to `most`. Raises ValueError if it is no such number."""
    value = {each.property: each.value for each in properties}.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise ValueError(f"{name} must be between 0 and {most:,}, found {value!r}")
    return float(value)


class Labelled(StandardPart):
    """What many parts may say of themselves."""

    id: Identifier | None = None
    tags: Texts = ()
    authoritative_definitions: Definitions = ()
    custom_properties: CustomProperties = ()


class Statement(Labelled):
    id: str | None = None
    question: str
    answer: str | None = None


class Constraint(Labelled):
    id: str | None = None
    constraint: str


class Context(StandardPart):
    """What a language model is told of the data."""

    instructions: str | None = None
    verified_statements: tuple[Statement, ...] = Field(default=(), strict=False)
    constraints: tuple[Constraint, ...] = Field(default=(), strict=False)


class Synonym(StandardPart):
    id: Identifier | None = None
    synonym: str
    description: str | None = None
    locale: str | None = None
    source: str | None = None
    status: str | None = None
    custom_properties: CustomProperties = ()


class Element(Labelled):
    """What a data set and a column have in common."""

    newer = frozenset({"deprecated", "synonyms"})

    business_name: str | None = None
    physical_name: str | None = None
    physical_type: str | None = None
    deprecated: bool = False
    synonyms: tuple[Synonym, ...] = Field(default=(), strict=False)


_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_STEP = r"[A-Za-z_][A-Za-z0-9_]*/[^\s.#/\\@!%&^]+"
Reference = Annotated[
    str, Field(pattern=rf"^({_NAME}(\.{_NAME})+|((https?://)?[A-Za-z0-9._/-]+\.ya?ml#)?/?{_STEP}(/{_STEP})*)$")
]
References = Annotated[tuple[Reference, ...], Field(strict=False, min_length=1)]


class Relationship(StandardPart):
    """A foreign key of a column."""

    type: Literal["foreignKey"] = "foreignKey"
    to: Reference | References
    custom_properties: CustomProperties = ()


class DatasetRelationship(Relationship):
    """A foreign key of a data set, which names its columns."""

    from_: Reference | References = Field(alias="from")

    @model_validator(mode="after")
    def _pairs_columns(self) -> Self:
        if isinstance(self.from_, str) != isinstance(self.to, str):
            raise ValueError("from and to must be two texts or two lists")
        return self


def newer_parts(part: Any) -> list[str]:
    """Returns the keys in the part, and within it, that only version 3.2 of the standard knows."""
    if isinstance(part, list | tuple):
        return [key for each in part for key in newer_parts(each)]
    if not isinstance(part, StandardPart):
        return []
    fields = type(part).model_fields
    own = [str(fields[name].alias) for name in sorted(part.model_fields_set & part.newer)]
    return own + [key for name in fields for key in newer_parts(getattr(part, name))]
