"""The format of requests, made from the contract: the service refuses the same rows that ingest would quarantine."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta

from groundwork.core.errors import BundleError, DocumentError, NoChampion, StoreError
from groundwork.core.quoting import listed
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Contract
from groundwork.service import integers, times
from groundwork.service.batcher import DeadlineExceeded, Overloaded


class BadRequest(Exception):
    """The request is refused; the message names the record and the field."""


class RequestReader:
    """Reads the body of POST /predict.

    Types are strict: "1" and true are not numbers, NaN and Infinity are not JSON, and an unknown field is refused.
    An integer of up to 64 bits stays exactly the integer that was sent.
    """

    def __init__(self, contract: Contract, max_records: int) -> None:
        self.columns = contract.dataset.requested
        record = msgspec.defstruct(
            "Record",
            [_field(column) for column in sorted(self.columns, key=lambda column: not column.needed)],
            forbid_unknown_fields=True,
            gc=False,
        )
        self._type = msgspec.defstruct(
            "PredictRequest",
            [("records", Annotated[list[record], Meta(min_length=1, max_length=max_records)])],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._quoted_names = [f'"{name}"'.encode() for name in ("records", *(column.name for column in self.columns))]
        self._timestamps = [column for column in self.columns if column.logical_type == "timestamp"]
        self._integers = [column.name for column in self.columns if column.logical_type == "integer"]
        asked = {column.name for column in self.columns}
        self._rules = [
            (f"Breaks the rule: {rule.name}", rule.query.met())
            for rule in contract.dataset.row_rules
            if rule.query.columns <= asked
        ]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._type)
        self.example = {"records": [{column.name: column.examples[0] for column in self.columns}]}

    def read(self, body: bytes) -> list[Any]:
        """Return the records, with the contract's columns as attributes. Raises BadRequest."""
        try:
            records = self._decoder.decode(body).records
            times.localize(records, self._timestamps)
            integers.make_whole(records, self._integers)
            self._refuse_repeated_names(body, len(records))
            self._refuse_broken(records)
            return records
        except msgspec.ValidationError as error:
            raise BadRequest(self._explained(str(error))) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from None

    def json_schema(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The request's JSON Schema for OpenAPI: a reference, and the components it refers to."""
        (schema,), components = msgspec.json.schema_components([self._type], ref_template="#/components/schemas/{name}")
        for column in self.columns:
            described = components["Record"]["properties"][column.name]
            described["description"] = column.description
            if not column.needed:  # generated clients take a field that has a default as always present
                described.pop("default", None)
            _sharpen(described, column)
        return schema, components

    def _explained(self, mistake: str) -> str:
        """Return msgspec's message, which names record and field but not the value."""
        what, at, where = mistake.rpartition(" - at ")
        field = where.rpartition(".")[2].rstrip("`")
        column = next((column for column in self.columns if column.name == field), None)
        if column and column.valid_values and what.startswith("Invalid enum value"):
            what = f"Expected one of {', '.join(listed(column.valid_values))}"
        elif column and column.logical_type == "integer":
            what = integers.explain(what)
        elif column and column.logical_type == "timestamp":
            what = times.explain(what)
        return f"{what}{at}{where}"[:300]

    def _refuse_broken(self, records: list[Any]) -> None:
        """Refuse a record that breaks a rule over several columns, as ingest would quarantine it."""
        for mistake, broken_by in self._rules:
            for row, record in enumerate(records):
                if broken_by(record):
                    raise BadRequest(self._explained(f"{mistake} - at `$.records[{row}]`"))

    def _refuse_repeated_names(self, body: bytes, records: int) -> None:
        """Refuse a body in which an object has a name twice: JSON parsers silently keep only the last value.

        The exact check is slow, so it runs only if a fast check finds a name more often than there are records, or an
        escape that could hide a name.
        """
        if b"\\" not in body and not any(body.count(name) > records for name in self._quoted_names):
            return
        json.loads(body, object_pairs_hook=_without_repetition)


class OutcomesReader:
    """Reads the body of POST /outcomes; each outcome has the type of the contract's outcome column."""

    MAX_OUTCOMES = 1000

    def __init__(self, outcome: Column) -> None:
        self._outcome = outcome
        told = msgspec.defstruct(
            "Outcome",
            [
                ("prediction_id", Annotated[str, Meta(min_length=1, max_length=64)]),
                ("outcome", Annotated[_kind(outcome), Meta(description=outcome.description)]),
            ],
            forbid_unknown_fields=True,
        )
        self._type = msgspec.defstruct(
            "OutcomesRequest",
            [("outcomes", Annotated[list[told], Meta(min_length=1, max_length=self.MAX_OUTCOMES)])],  # type: ignore[valid-type]
            forbid_unknown_fields=True,
        )
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(self._type)
        self.example = {"outcomes": [{"prediction_id": "0f3c1f0e4f52", "outcome": outcome.examples[0]}]}

    def read(self, body: bytes) -> list[tuple[str, bool | float | str]]:
        """Return pairs of prediction id and outcome. Raises BadRequest."""
        try:
            return [(each.prediction_id, each.outcome) for each in self._decoder.decode(body).outcomes]
        except msgspec.ValidationError as error:
            is_integer = self._outcome.logical_type == "integer" and str(error).endswith(".outcome`")
            raise BadRequest(integers.explain(str(error)) if is_integer else str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise BadRequest(f"the body is not valid JSON: {error}") from None

    def json_schema(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The request's JSON Schema for OpenAPI: a reference, and the components it refers to."""
        (schema,), components = msgspec.json.schema_components([self._type], ref_template="#/components/schemas/{name}")
        _sharpen(components["Outcome"]["properties"]["outcome"], self._outcome)
        return schema, components


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadRequest("an object has the same name twice")
    return found


def _field(column: Column) -> tuple[str, Any] | tuple[str, Any, Any]:
    kind = _kind(column)
    return (column.name, kind) if column.needed else (column.name, kind | None, None)


def _kind(column: Column) -> Any:
    """Return the type of the column's values, with their limits."""
    limits = column.logical_type_options
    if column.valid_values:
        return Literal[column.valid_values]
    if column.logical_type == "string":
        pattern = _to_the_end(limits.pattern)
        return _limited(str, min_length=limits.min_length, max_length=column.longest, pattern=pattern)
    if column.logical_type == "integer":
        return integers.kind(
            limits.minimum, limits.maximum, integers.SAFE if column.plays("outcome") else integers.INT64
        )
    if column.logical_type == "number":
        return _limited(float, ge=limits.minimum, le=limits.maximum)
    return bool if column.logical_type == "boolean" else times.KIND


def _sharpen(described: dict[str, Any], column: Column) -> None:
    """Add to a field's JSON Schema what msgspec leaves out: whole numbers, patterns, dates and times."""
    if column.logical_type == "integer":
        integers.describe(described)
    value = described["anyOf"][0] if "anyOf" in described else described  # the other one is null
    if column.logical_type_options.pattern:
        value["pattern"] = column.logical_type_options.pattern
    if column.logical_type == "timestamp":
        value["pattern"] = times.PATTERN
        described["description"] += f" Without an offset, the time is in {column.zone}."


def _to_the_end(pattern: str | None) -> str | None:
    """Return the pattern with a final `$` replaced: in Python, not in databases, it also matches before a newline."""
    if pattern is None or not pattern.endswith("$") or pattern.endswith("\\$"):
        return pattern
    return pattern[:-1] + r"\Z"


def _limited(kind: Any, **limits: Any) -> Any:
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Annotated[kind, Meta(**given)] if given else kind


MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal: the HTTP status, the reason with the remedy, and headers."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        """The response body, as JSON of the media type `application/problem+json` (RFC 9457)."""
        title = TITLES.get(self.status, HTTPStatus(self.status).phrase)
        return msgspec.json.encode(
            {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        )


class _Kind(NamedTuple):
    status: int
    detail: str  # {} is replaced by the error's message
    retry_after: str | None = None


_KINDS: dict[type[Exception], _Kind] = {
    BadRequest: _Kind(422, "{}"),
    NoChampion: _Kind(503, "no model is loaded yet: {}", "10"),
    BundleError: _Kind(503, "the model cannot answer: {}", "10"),
    DocumentError: _Kind(503, "{}"),
    StoreError: _Kind(503, "the prediction log cannot be written, so the request was not answered", "5"),
    Overloaded: _Kind(503, "too many requests are waiting; try again in a moment", "1"),
    DeadlineExceeded: _Kind(503, "the answer was not ready in time; try again in a moment", "1"),
}
TITLES = {
    401: "An API key is required",
    403: "This request is not allowed",
    408: "The request took too long to arrive",
    413: "The request is too large",
    415: "The request is not JSON",
    422: "The request breaks the contract",
    429: "Too many requests",
    500: "The service failed",
    503: "The service cannot answer now",
}
FORESEEN: tuple[type[Exception], ...] = (Problem, *_KINDS)


def as_problem(error: Exception) -> Problem:
    """Return the response to an error; an unexpected error gets status 500."""
    if isinstance(error, Problem):
        return error
    kind = _KINDS.get(type(error))
    if kind is None:
        return Problem(500, "the service failed to answer; the cause is in its log")
    headers = {"Retry-After": kind.retry_after} if kind.retry_after else {}
    return Problem(kind.status, kind.detail.format(error), headers)


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail"],
}


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a route for OpenAPI, by status."""
    return {
        str(status): {
            "description": TITLES[status],
            "content": {MEDIA_TYPE: {"schema": SCHEMA}},
        }
        for status in statuses
    }
