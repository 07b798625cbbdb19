"""What a request must look like: made from the contract, so that the service refuses what ingest would quarantine."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from groundwork.contract import Column, Contract

_TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool, "timestamp": datetime}


class BadRequest(Exception):
    """The request is refused; the message names the record and the field."""


class RequestReader:
    """Reads the body of POST /predict.

    Types are strict: "1" and true are not numbers, NaN and Infinity are not JSON, and an unknown field is refused.
    """

    def __init__(self, contract: Contract, max_records: int) -> None:
        self.columns = contract.dataset.requested
        record = msgspec.defstruct(
            "Record",
            [_field(column) for column in sorted(self.columns, key=lambda column: not column.required)],
            forbid_unknown_fields=True,
            gc=False,
        )
        self._type = msgspec.defstruct(
            "PredictRequest",
            [("records", Annotated[list[record], Meta(min_length=1, max_length=max_records)])],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._quoted_names = [f'"{name}"'.encode() for name in ("records", *(column.name for column in self.columns))]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._type)
        self.example = {"records": [{column.name: column.examples[0] for column in self.columns}]}

    def read(self, body: bytes) -> list[Any]:
        """The records, with the contract's columns as attributes. Raises BadRequest."""
        try:
            records = self._decoder.decode(body).records
            self._refuse_repeated_names(body, len(records))
            return records
        except msgspec.ValidationError as error:
            raise BadRequest(self._explained(str(error))) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from None

    def json_schema(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The request's JSON Schema for OpenAPI: a reference, and the components it refers to."""
        (schema,), components = msgspec.json.schema_components([self._type], ref_template="#/components/schemas/{name}")
        for column in self.columns:
            components["Record"]["properties"][column.name]["description"] = column.description
        return schema, components

    def _explained(self, mistake: str) -> str:
        """Msgspec's message, which names record and field; the value that was sent is left out of it."""
        what, at, where = mistake.rpartition(" - at ")
        if what.startswith("Invalid enum value"):
            allowed = {column.name: column.valid_values for column in self.columns}
            return f"Expected one of {', '.join(allowed[where.rpartition('.')[2].rstrip('`')])}{at}{where}"
        return mistake if len(mistake) < 300 else f"{mistake[:300]}…"

    def _refuse_repeated_names(self, body: bytes, records: int) -> None:
        """JSON lets a later name replace an earlier one without a word; what was meant nobody can tell.

        The exact look is slow, so it is taken only if a quick one has a reason: a name that stands there more often
        than there are records, or an escape that could hide one.
        """
        if b"\\" not in body and not any(body.count(name) > records for name in self._quoted_names):
            return
        json.loads(body, object_pairs_hook=_without_repetition)


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("a name stands twice in one object")
    return found


def _field(column: Column) -> tuple[str, Any] | tuple[str, Any, Any]:
    limits = column.logical_type_options
    kind: Any = _TYPES[column.logical_type]
    if column.valid_values:
        kind = Literal[column.valid_values]
    elif column.logical_type == "string":
        kind = _limited(kind, min_length=limits.min_length, max_length=limits.max_length, pattern=limits.pattern)
    elif column.logical_type in ("integer", "number"):
        as_type = int if column.logical_type == "integer" else float
        bounds: Sequence[float | None] = (limits.minimum, limits.maximum)
        lowest, highest = (None if bound is None else as_type(bound) for bound in bounds)
        if column.logical_type == "integer":  # an integer beyond 64 bits would not fit any column
            lowest = max(lowest, -(2**63)) if lowest is not None else -(2**63)
            highest = min(highest, 2**63 - 1) if highest is not None else 2**63 - 1
        kind = _limited(kind, ge=lowest, le=highest)
    elif column.logical_type == "timestamp":
        kind = Annotated[datetime, Meta(tz=False)]
    return (column.name, kind) if column.required else (column.name, kind | None, None)


def _limited(kind: Any, **limits: Any) -> Any:
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Annotated[kind, Meta(**given)] if given else kind
