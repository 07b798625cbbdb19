"""Runs the service with uvicorn, in one or several processes; logs one JSON object per line to standard output."""

import asyncio
import functools
import logging.config
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from pythonjsonlogger.core import RESERVED_ATTRS
from uvicorn.config import STARTUP_FAILURE
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.supervisors import Multiprocess

from groundwork.documents.pilot import Pilot
from groundwork.models.serving.deciding import use_rows
from groundwork.models.serving.signing import trusted_keys
from groundwork.service.auth import keys_for
from groundwork.service.request_schema import MEDIA_TYPE, Problem
from groundwork.store.database import Store

if TYPE_CHECKING:
    from groundwork.service.middleware import Front


LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(levelname)s %(name)s %(message)s",
            "timestamp": "time",
            "rename_fields": {"levelname": "level", "name": "logger"},
            "reserved_attrs": [*RESERVED_ATTRS, "color_message"],  # uvicorn's copy of the message for a terminal
        }
    },
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["stdout"]},
    # Uvicorn's lines have the same format. Its access log is off, because the service logs requests itself.
    "loggers": {
        "uvicorn": {"handlers": ["stdout"], "propagate": False},
        "uvicorn.access": {"handlers": [], "propagate": False},
    },
}
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"


def run(pilot: Pilot) -> None:
    """Serve until SIGTERM; then requests in flight finish within the grace period, and the process exits with 0."""
    os.umask(0o077)  # the prediction log and the models are written for this user alone
    options: dict[str, Any] = {
        "factory": True,
        "host": pilot.settings.host,
        "port": pilot.settings.port,
        "workers": pilot.settings.workers,
        "http": functools.partial(ImpatientProtocol, pilot.settings.client_seconds),
        "log_config": None,
        "access_log": False,
        "timeout_keep_alive": 30,
        "timeout_graceful_shutdown": pilot.settings.grace_seconds,
        "timeout_worker_healthcheck": 10,  # a starting worker does not respond while it imports
    }
    if pilot.settings.workers > 1:
        _supervise(pilot, uvicorn.Config("groundwork.service.server:worker", **options))
        return
    os.environ.pop(SHARED_METRICS, None)  # one process uses memory; before prometheus_client's import
    # Uvicorn raises the signal again after draining; a normal end must exit with 0.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run("groundwork.service.app:create_app", **options)


def worker() -> "Front":
    """Return the application of one worker process, which ends if its supervisor ends or if it hangs."""
    from groundwork.service.app import create_app

    pilot = Pilot.here()
    app = create_app(pilot)
    threading.Thread(target=_end_in_time, args=(app, pilot.settings.hung_seconds), name="watch", daemon=True).start()
    return app


def _end_in_time(app: "Front", hung_seconds: float) -> None:
    supervisor = multiprocessing.parent_process()
    assert supervisor is not None
    while True:
        supervisor.join(1)
        if not supervisor.is_alive():  # a worker without a supervisor would block the port
            os.kill(os.getpid(), signal.SIGTERM)
            return
        if app.batcher.busy_seconds > hung_seconds:  # a probe of /health/live could reach another worker
            logging.getLogger(__name__).critical("one batch hangs: this worker ends, to be started again")
            os._exit(1)


def _supervise(pilot: Pilot, config: uvicorn.Config) -> None:
    logging.config.dictConfig(LOGGING)
    # Check the settings and documents here, once: the supervisor would restart a failing worker forever.
    keys_for(pilot.settings.host, pilot.settings.api_keys)
    trusted_keys(pilot)
    pilot.read()
    use_rows()  # raises if a function of use_case/decision.py cannot be called
    Store(pilot.settings.store).close()
    if pilot.settings.otlp_endpoint:
        import groundwork.service.tracing  # noqa: F401
    # Otherwise each worker's libraries start one thread per core.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // pilot.settings.workers)))
    with tempfile.TemporaryDirectory(prefix="groundwork-metrics-", ignore_cleanup_errors=True) as folder:
        shared = Path(os.environ.setdefault(SHARED_METRICS, folder))
        shared.mkdir(parents=True, exist_ok=True)
        supervisor = _Supervisor(config, [config.bind_socket()])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        sys.exit(STARTUP_FAILURE)


class _Supervisor(Multiprocess):
    """Uvicorn's supervisor, which also removes the live gauges of a worker that ended; its counters stay."""

    def keep_subprocess_alive(self) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        before = {process.pid for process in self.processes}
        super().keep_subprocess_alive()
        for pid in before - {process.pid for process in self.processes}:
            mark_process_dead(pid)  # type: ignore[no-untyped-call]


_TOO_LARGE = Problem(431, "the headers are larger than 32,768 bytes").body
_HEAD_TOO_LARGE = (
    f"HTTP/1.1 431 Request Header Fields Too Large\r\nContent-Type: {MEDIA_TYPE}\r\n"
    f"Content-Length: {len(_TOO_LARGE)}\r\nConnection: close\r\n\r\n"
).encode() + _TOO_LARGE


class ImpatientProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, which also closes the connection if a client's headers are too slow or too large."""

    MAX_HEAD = 32_768  # bytes of request line and headers, or of the framing between chunks of a body
    head = 0  # bytes of those so far
    headers_due: asyncio.TimerHandle | None = None
    answering = False  # true from the end of the request's headers to the end of the answer

    def __init__(self, client_seconds: float, **options: Any) -> None:
        super().__init__(**options)
        self.client_seconds = client_seconds

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._await_headers()

    def data_received(self, data: bytes) -> None:
        if self.headers_due is None and not self.answering:
            self._await_headers()
        self.head += len(data)
        super().data_received(data)
        if self.head > self.MAX_HEAD and not self.transport.is_closing():
            if not self.answering:  # else it would be written into the answer
                self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def on_body(self, body: bytes) -> None:
        self.head = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self.head = 0
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self.head = 0
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
        self.headers_due = self.loop.call_later(self.client_seconds, self.transport.close)

    def _await_nothing(self) -> None:
        if self.headers_due is not None:
            self.headers_due.cancel()
            self.headers_due = None
