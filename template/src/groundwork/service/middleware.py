"""The first layer of every request: origin, API key, limits, metrics per route, and POST /predict itself.

This is plain ASGI: at a hundred microseconds per answer, a framework's routing would be a third of the time.
"""

import asyncio
import itertools
import logging
import os
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from groundwork.core.settings import Settings
from groundwork.service.auth import OPEN, ApiKeys, KeyLimits, refuse_other_sites
from groundwork.service.batcher import Batcher
from groundwork.service.metrics import Metrics
from groundwork.service.request_schema import MEDIA_TYPE, Problem, RequestReader, as_problem

log = logging.getLogger("groundwork.request")

_PROCESS, _count = os.urandom(8).hex(), itertools.count()  # a request's id: the process and a counter

_FREQUENT = OPEN | {"/metrics"}
_JSON = (b"content-type", b"application/json")
_WITH_BODY = {"/predict", "/outcomes"}
# Answers hold people's names and records: no browser or proxy keeps them, guesses their type, or frames them.
_PROTECTED = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
_NO_PAGE = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")


class Front:
    """The ASGI application for the server; it answers POST /predict and passes all other requests to `app`."""

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        keys: ApiKeys | None,
        *,
        reader: RequestReader,
        batcher: Batcher[Any, bytes],
        metrics: Metrics,
    ) -> None:
        self.app = app
        self.keys = keys
        self.reader = reader
        self.batcher = batcher
        self.metrics = metrics
        self.max_body_bytes = settings.max_body_bytes
        self.client_seconds = settings.client_seconds
        self.limits = KeyLimits(settings.requests_per_second) if settings.requests_per_second else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started = time.perf_counter()
        exchange = _Exchange(send)
        path, method = scope["path"], scope["method"]
        predicting = path == "/predict" and method == "POST"
        headers = dict(scope["headers"])
        asked = scope if method != "HEAD" else {**scope, "method": "GET"}  # the server leaves out the body
        self.metrics.in_progress.inc()
        try:
            refuse_other_sites(headers, keyless=self.keys is None)
            if self.keys is not None:
                key = self.keys.check(path, headers.get(b"authorization"))
                if key and self.limits:
                    allowed, exchange.limits = self.limits.count(key)
                    if not allowed:
                        raise Problem(429, "this key has made too many requests in one second", {"Retry-After": "1"})
            if path == "/predict" and not predicting:
                raise Problem(405, "send records by POST", {"Allow": "POST"})
            if method == "POST" and path in _WITH_BODY:
                _refuse_other_types(headers.get(b"content-type", _JSON[1]))
            if predicting:
                records = self.reader.read(await self._body(headers, receive))
                await exchange.answer(200, await self.batcher.submit(records, len(records)), [_JSON])
            else:
                await self.app(asked, self._limited(receive), exchange.send)
        except Exception as error:
            problem = as_problem(error)
            if problem.status == 500:
                log.error("unhandled error", exc_info=error)
            if not exchange.status:  # after the answer has begun, only the server can end it
                await exchange.refuse(problem)
        finally:
            self.metrics.in_progress.dec()
            seconds = time.perf_counter() - started
            route = "/predict" if predicting else getattr(asked.get("route"), "path", "unmatched")
            self.metrics.observe_request(method, route, exchange.status, seconds)
            # Predictions are in the prediction log; successful probes and scrapes would fill the request log.
            if exchange.status >= 400 or not (predicting or path in _FREQUENT):
                log.info(
                    "request",
                    extra={
                        "request_id": exchange.request_id,
                        "trace_id": _trace_id(headers),
                        "key": self._name_of_key(headers),
                        "address": (scope.get("client") or ("",))[0],
                        "method": method,
                        "route": route,
                        "status": exchange.status,
                        "milliseconds": round(seconds * 1000, 3),
                    },
                )

    def _name_of_key(self, headers: Mapping[bytes, bytes]) -> str | None:
        found = self.keys.find(headers.get(b"authorization")) if self.keys else None
        return found.name if found else None

    async def _body(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Return the whole body. Raises Problem if it is too large or arrives too slowly."""
        declared = headers.get(b"content-length")
        if declared is not None and int(declared) > self.max_body_bytes:
            raise self._too_large()
        message = await self._next(receive)
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts, size = [body], len(body)
            deadline = time.monotonic() + self.client_seconds
            while message.get("more_body"):
                message = await self._next(receive, deadline - time.monotonic())
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > self.max_body_bytes:
                    raise self._too_large()
            body = b"".join(parts)
        if len(body) > self.max_body_bytes:
            raise self._too_large()
        return body

    async def _next(self, receive: Receive, seconds: float | None = None) -> Message:
        try:
            async with asyncio.timeout(self.client_seconds if seconds is None else seconds):
                message = await receive()
        except TimeoutError:
            raise Problem(
                408, f"the whole request must arrive within {self.client_seconds:g} s", {"Connection": "close"}
            ) from None
        if message["type"] == "http.disconnect":
            raise Problem(408, "the client went away", {"Connection": "close"})
        return message

    def _limited(self, receive: Receive) -> Receive:
        """Return `receive` for a body of limited size, all of which must arrive in time."""
        received, whole, deadline = 0, False, time.monotonic() + self.client_seconds

        async def limited() -> Message:
            nonlocal received, whole
            if whole:  # what comes later is the end of the connection
                return await receive()
            message = await self._next(receive, deadline - time.monotonic())
            received += len(message.get("body", b""))
            whole = not message.get("more_body")
            if received > self.max_body_bytes:
                raise self._too_large()
            return message

        return limited

    def _too_large(self) -> Problem:
        return Problem(
            413,
            f"the body is larger than {self.max_body_bytes:,} bytes; send fewer records at once",
            {"Connection": "close"},
        )


class _Exchange:
    """The answer to one request: its id, and the status sent so far (0 before)."""

    __slots__ = ("_send", "limits", "request_id", "status")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0
        self.limits: list[tuple[bytes, bytes]] = []  # headers that tell how many requests the key may still make
        self.request_id = f"{_PROCESS}{next(_count):08x}"

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            if all(name != _NO_PAGE[0] for name, _ in headers):
                headers = [*headers, _NO_PAGE]
            await self._start(message["status"], headers)
        else:
            await self._send(message)

    async def answer(self, status: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        await self._start(status, [(b"content-length", str(len(body)).encode()), _NO_PAGE, *headers])
        await self._send({"type": "http.response.body", "body": body})

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        headers = [*headers, (b"x-request-id", self.request_id.encode()), *self.limits, *_PROTECTED]
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def refuse(self, problem: Problem) -> None:
        headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        await self.answer(problem.status, problem.body, [(b"content-type", MEDIA_TYPE.encode()), *headers])


def _refuse_other_types(content_type: bytes) -> None:
    """Raise Problem 415 unless it is JSON. A page of another site can have a browser send forms and plain text."""
    if content_type == _JSON[1]:
        return
    kind = content_type.partition(b";")[0].strip().lower()
    if kind != _JSON[1] and not (kind.startswith(b"application/") and kind.endswith(b"+json")):
        raise Problem(415, "send JSON, with the header Content-Type: application/json", {"Accept": "application/json"})


def _trace_id(headers: Mapping[bytes, bytes]) -> str | None:
    """Return the trace id of a W3C `traceparent` header (version-traceid-parentid-flags); None without one."""
    parts = headers.get(b"traceparent", b"").decode("ascii", "replace").split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 else None
