"""Errors as RFC 9457 problem details. They never repeat a value that was sent."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from groundwork.core.errors import BundleError, DocumentError, NoChampion, StoreError
from groundwork.service.batcher import DeadlineExceeded, Overloaded
from groundwork.service.requests import BadRequest

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A refusal: the status, what is wrong and what to do, and headers."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})

    @property
    def body(self) -> bytes:
        title = TITLES.get(self.status, HTTPStatus(self.status).phrase)
        return msgspec.json.encode(
            {"type": "about:blank", "title": title, "status": self.status, "detail": self.detail}
        )


class _Kind(NamedTuple):
    status: int
    detail: str  # {} stands for the error's own message
    retry_after: str | None = None


_KINDS: dict[type[Exception], _Kind] = {
    BadRequest: _Kind(422, "{}"),
    NoChampion: _Kind(503, "no model is loaded yet: {}", "10"),
    BundleError: _Kind(503, "the model cannot answer: {}", "10"),
    DocumentError: _Kind(503, "{}"),
    StoreError: _Kind(503, "the prediction log cannot be written, so nothing was answered", "5"),
    Overloaded: _Kind(503, "too many requests wait already; try again in a moment", "1"),
    DeadlineExceeded: _Kind(503, "the answer was not there in time; try again in a moment", "1"),
}

TITLES = {
    401: "An API key is needed",
    403: "This API key may not do that",
    408: "The request took too long to arrive",
    413: "The request is too large",
    422: "The request breaks the contract",
    500: "The service failed",
    503: "The service cannot answer now",
}


FORESEEN: tuple[type[Exception], ...] = (Problem, *_KINDS)


def as_problem(error: Exception) -> Problem:
    """What a client is told about an error; 500 for one that nobody foresaw."""
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
    """The responses of a route for OpenAPI."""
    return {
        str(status): {
            "description": TITLES[status],
            "content": {MEDIA_TYPE: {"schema": SCHEMA}},
        }
        for status in statuses
    }
