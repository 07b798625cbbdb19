"""Runs the service on uvicorn: one process, which scales by replicas; `python -m groundwork.service` does just that."""

import asyncio
import signal
import sys
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from groundwork.settings import Settings


def run(settings: Settings) -> None:
    """Serve until told to end: SIGTERM lets requests in flight finish within the grace period, and exits with 0."""
    # Uvicorn raises the signal again once it has drained; an orderly end is no failure.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "groundwork.service.app:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        http=_protocol(settings.client_seconds),
        log_config=None,
        access_log=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=settings.grace_seconds,
    )


def _protocol(client_seconds: float) -> type[asyncio.Protocol]:
    class ImpatientProtocol(HttpToolsProtocol):
        """Uvicorn's own, but a client that does not finish its headers in time is cut off."""

        headers_due: asyncio.TimerHandle | None = None
        answering = False  # from the end of the headers to the end of the answer

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._await_headers()

        def data_received(self, data: bytes) -> None:
            if self.headers_due is None and not self.answering:
                self._await_headers()
            super().data_received(data)

        def on_headers_complete(self) -> None:
            self._await_nothing()
            self.answering = True
            super().on_headers_complete()

        def on_response_complete(self) -> None:
            self.answering = False
            super().on_response_complete()

        def connection_lost(self, exc: Exception | None) -> None:
            self._await_nothing()
            super().connection_lost(exc)

        def _await_headers(self) -> None:
            self.headers_due = self.loop.call_later(client_seconds, self.transport.close)

        def _await_nothing(self) -> None:
            if self.headers_due is not None:
                self.headers_due.cancel()
                self.headers_due = None

    return ImpatientProtocol
