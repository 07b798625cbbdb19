"""The web application: `uvicorn groundwork.service.app:create_app --factory`, or `python -m groundwork.service`."""

import asyncio
import logging.config
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from math import nan
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse

from groundwork import __version__
from groundwork.core.errors import StoreError
from groundwork.core.pages import policy
from groundwork.documents.decision_record import due
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.signing import trusted_keys
from groundwork.service.answering import Answerer, Records
from groundwork.service.auth import keys_for
from groundwork.service.batcher import Batcher
from groundwork.service.champion import ModelLoader
from groundwork.service.clock import Clock
from groundwork.service.metrics import Metrics
from groundwork.service.middleware import Front
from groundwork.service.openapi import describe_keys, describe_requests
from groundwork.service.request_schema import (
    FORESEEN,
    MEDIA_TYPE,
    OutcomesReader,
    Problem,
    RequestReader,
    as_problem,
    described,
)
from groundwork.service.server import LOGGING
from groundwork.store.database import Store

log = logging.getLogger(__name__)

CACHE_SECONDS = 5.0  # wait so long for the last good champion before the first request; it may load longer
AFTER_DRAINING = 2.0  # seconds for the remaining work once no request is in flight
# Evidently's report brings its scripts with it. In a sandbox they can neither read nor send anything.
REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:; frame-ancestors 'none'"
)


def create_app(pilot: Pilot | None = None) -> Front:
    """Return the application. Raises GroundworkError if a document is invalid, or if a network needs no API key."""
    pilot = pilot or Pilot.here()
    keys = keys_for(pilot.settings.host, pilot.settings.api_keys)
    trusted_keys(pilot)  # raises if one is malformed
    logging.config.dictConfig(LOGGING)
    store = Store(pilot.settings.store)
    metrics = Metrics(pilot.owners, store, lambda: due(pilot.settings.home, pilot.charter))
    reader = RequestReader(pilot.contract, pilot.settings.max_records)
    loader = ModelLoader(pilot, metrics, store)
    answerer = Answerer(pilot, store, loader, metrics)
    batcher: Batcher[Records, bytes] = Batcher(
        answerer.answer_batch,
        max_rows=pilot.settings.max_batch_records,
        linger_seconds=pilot.settings.batch_linger_seconds,
        max_waiting=pilot.settings.max_waiting,
        deadline_seconds=pilot.settings.deadline_seconds,
    )
    metrics.follow(metrics.waiting, lambda: batcher.waiting)
    metrics.follow(metrics.ready, lambda: (loader.no_model or loader.champion is not None) and not parts.problem)
    clock = Clock(store.seconds_ahead, loader.seconds_ahead)
    metrics.follow(metrics.clock_ahead, lambda: nan if clock.ahead is None else clock.ahead)
    metrics.follow(metrics.chain_whole, lambda: not loader.broken)
    metrics.follow(metrics.log_writable, lambda: not answerer.problem)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        answerer.start()
        batcher.start()
        loader.start()
        # A restarted worker must not refuse requests while the other workers answer them.
        await run_in_threadpool(loader.looked_in_cache.wait, CACHE_SECONDS)
        works = (metrics.keep_following(), answerer.keep_trying(), clock.keep_comparing())
        tasks = [asyncio.create_task(work) for work in works]
        yield
        for task in tasks:
            task.cancel()
        loader.stop()
        batcher.stop(AFTER_DRAINING)
        answerer.stop(AFTER_DRAINING)
        store.close()

    parts = _Parts(
        pilot=pilot,
        store=store,
        loader=loader,
        answerer=answerer,
        clock=clock,
        batcher=batcher,
        metrics=metrics,
        reader=reader,
        needs_key=keys is not None,
    )
    app = _routes(parts, lifespan)
    app.state.loader = loader
    front: type[Front] = Front
    if pilot.settings.otlp_endpoint:
        from groundwork.service.tracing import TracedFront

        os.environ.setdefault("OTEL_SERVICE_NAME", pilot.name)
        front = TracedFront
    return front(app, pilot.settings, keys, reader=reader, batcher=batcher, metrics=metrics)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """The parts that the routes use."""

    pilot: Pilot
    store: Store
    loader: ModelLoader
    answerer: Answerer
    clock: Clock
    batcher: Batcher[Records, bytes]
    metrics: Metrics
    reader: RequestReader
    needs_key: bool

    @property
    def problem(self) -> str:
        """Why the service is not ready, though a model may be loaded; empty if it is."""
        written = self.answerer.problem
        return f"the prediction log cannot be written: {written}" if written else self.clock.problem


def _routes(parts: _Parts, lifespan: Any) -> FastAPI:
    """Return the routes except POST /predict, and the OpenAPI document of all.

    A page is imported when it is asked for: most services show none, and start sooner and smaller without.
    """
    pilot, store, loader, batcher = parts.pilot, parts.store, parts.loader, parts.batcher
    metrics, reader = parts.metrics, parts.reader
    charter = pilot.charter
    app = FastAPI(
        title=charter.metadata.title,
        description=charter.decision.statement,
        version=pilot.contract.version,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    outcomes_reader = OutcomesReader(pilot.contract.dataset.outcome)

    @app.get("/health/live", summary="Is the process up?", responses=described(503))
    async def live() -> dict[str, str]:
        if batcher.busy_seconds > pilot.settings.hung_seconds:
            raise Problem(503, f"one batch has been running for {batcher.busy_seconds:.0f} s: restart the service")
        return {"status": "live", "version": __version__}

    @app.get("/health/ready", summary="Can the service answer?", responses=described(503))
    async def ready() -> dict[str, str]:
        if parts.problem:
            raise Problem(503, parts.problem, {"Retry-After": "5"})
        if loader.no_model:
            return {"status": "ready", "mode": "no-model"}
        champion = loader.champion
        if champion is None:
            raise Problem(503, f"no model is loaded yet: {loader.problem}", {"Retry-After": "10"})
        return {
            "status": "ready",
            "model": charter.metadata.name,
            "model_version": champion.version,
            "model_source": loader.source,
        }

    @app.get("/metrics", include_in_schema=False)
    def prometheus() -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    def home() -> Response:
        from groundwork.service.home_page import home_page

        return _page(home_page(pilot, store, loader, date.today(), stopped=parts.problem), "service/pages/home.css")

    @app.get("/status", include_in_schema=False)
    def state() -> dict[str, Any]:
        from groundwork.service.home_page import status

        return status(pilot, store, loader, date.today())

    @app.get("/scorecard", include_in_schema=False)
    def scorecard() -> Response:
        from groundwork.readiness.assemble import assess
        from groundwork.readiness.render import html as scorecard_page

        return _page(scorecard_page(assess(pilot, store, date.today())), "readiness/pages/scorecard.css")

    @app.get("/report", include_in_schema=False)
    def report() -> Response:
        """Return the newest drift report; only files in the folder of reports."""
        drift = store.drift.latest()
        file = pilot.settings.reports / Path(drift.report).name if drift and drift.report else None
        if file is None or not file.is_file():
            raise HTTPException(404, "there is no drift report yet: run `groundwork monitor`")
        return FileResponse(file, media_type="text/html", headers={"Content-Security-Policy": REPORT_POLICY})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        from groundwork.service.api_page import api_page

        return _page(api_page(app.openapi()), "service/pages/api.css", "service/pages/api.js")

    @app.post("/outcomes", summary="Send outcomes of earlier predictions", response_model=None)
    async def outcomes(request: Request) -> dict[str, Any]:
        """Store outcomes by prediction id. If an outcome is sent twice, the first one stays."""
        told = outcomes_reader.read(await request.body())
        # Otherwise a prediction is in the log before anybody knows its id.
        early = pilot.settings.acknowledge == "answered"
        unknown, contradicting = await run_in_threadpool(store.outcomes.log, told, keep_unknown=early)
        return {"received": len(told), "unknown": unknown, "contradicting": contradicting}

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if headers.get("Allow") == "GET":
            headers["Allow"] = "GET, HEAD"
        return _respond(Problem(error.status_code, str(error.detail), headers))

    async def foreseen(request: Request, error: Exception) -> Response:
        if isinstance(error, StoreError):
            log.error("the store failed", extra={"problem": str(error)})
        return _respond(as_problem(error))

    for kind in FORESEEN:
        app.add_exception_handler(kind, foreseen)

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        if not app.openapi_schema:
            describe_requests(describe(), reader, outcomes_reader, pilot.contract.dataset.task)
            describe_keys(describe(), needed=parts.needs_key)
        return describe()

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _page(content: str, *inline: str) -> Response:
    """Return the page; a browser runs and loads nothing but these files of the package, which it includes."""
    return Response(content, media_type="text/html", headers={"Content-Security-Policy": policy(*inline)})


def _respond(problem: Problem) -> Response:
    return Response(problem.body, problem.status, problem.headers, MEDIA_TYPE)
