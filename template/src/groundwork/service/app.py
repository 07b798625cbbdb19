"""The application: `uvicorn groundwork.service.app:create_app --factory`."""

import logging.config
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from groundwork.features import arrays
from groundwork.service.champion import Champion, ChampionLoader
from groundwork.service.metrics import Metrics
from groundwork.service.middleware import Observed, TooLarge
from groundwork.service.requests import BadRequest, RequestReader
from groundwork.settings import Settings
from groundwork.store import Prediction, Store
from use_case import decision

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "json": {
            "()": "pythonjsonlogger.json.JsonFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s %(message)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {"stdout": {"class": "logging.StreamHandler", "formatter": "json", "stream": "ext://sys.stdout"}},
    "root": {"level": "INFO", "handlers": ["stdout"]},
    # Uvicorn's own lines in the same form; its access log would only repeat ours.
    "loggers": {
        "uvicorn": {"handlers": ["stdout"], "propagate": False},
        "uvicorn.access": {"handlers": [], "propagate": False},
    },
}


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the application. Raises DocumentError if one of the three documents is invalid."""
    settings = settings or Settings()
    charter, contract, owners = settings.charter, settings.contract, settings.owners
    logging.config.dictConfig(LOGGING)
    store = Store(settings.store)
    metrics = Metrics(owners, store)
    reader = RequestReader(contract, settings.max_records)
    loader = ChampionLoader(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        loader.start()
        yield
        loader.stop()
        store.close()

    app = FastAPI(
        title=charter.metadata.title,
        description=charter.decision.statement,
        version=contract.version,
        lifespan=lifespan,
    )
    app.state.loader = loader
    app.add_middleware(Observed, metrics=metrics, max_body_bytes=settings.max_body_bytes)

    def predict_columns(champion: Champion, columns: dict[str, list[Any]]) -> list[Prediction]:
        dataset = contract.dataset
        scores = champion.predictor.scores(arrays(columns, dataset.features))
        decisions = decision.decide(scores, charter.value.parameters).tolist()
        predictions = [
            Prediction(
                prediction_id=str(uuid.uuid4()),
                source="service",
                entity_key=columns[dataset.key.name][row],
                event_time=columns[dataset.event_time.name][row],
                model_version=champion.version,
                score=score,
                decision=decided,
                features={feature.name: columns[feature.name][row] for feature in dataset.features},
            )
            for row, (score, decided) in enumerate(zip(scores.tolist(), decisions, strict=True))
        ]
        store.log_predictions(predictions)
        return predictions

    schema, components = reader.json_schema()

    @app.post(
        "/predict",
        summary="Decide for one or more records",
        response_model=None,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": schema, "example": reader.example}},
            }
        },
        responses=_RESPONSES,
    )
    async def predict(request: Request) -> Response:
        """Answer each record with a score, a decision and an id. What is answered is in the prediction log."""
        try:
            columns = reader.read(await request.body())
        except BadRequest as error:
            return _problem(422, str(error))
        champion = loader.champion
        if champion is None:
            return _problem(503, f"no model is loaded yet: {loader.problem}", {"Retry-After": "10"})
        predictions = await run_in_threadpool(predict_columns, champion, columns)
        metrics.records.observe(len(predictions))
        for prediction in predictions:
            metrics.predictions.labels(champion.version, prediction.decision).inc()
        return JSONResponse(
            {
                "model": charter.metadata.name,
                "model_version": champion.version,
                "predictions": [
                    {"prediction_id": p.prediction_id, "score": p.score, "decision": p.decision} for p in predictions
                ],
            }
        )

    @app.get("/health/live", summary="Is the process up?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    @app.get("/health/ready", summary="Can it answer?", responses={503: _RESPONSES[503]}, response_model=None)
    async def ready() -> dict[str, str] | Response:
        champion = loader.champion
        if champion is None:
            return _problem(503, f"no model is loaded yet: {loader.problem}", {"Retry-After": "10"})
        return {"status": "ready", "model": charter.metadata.name, "model_version": champion.version}

    @app.get("/metrics", summary="Prometheus metrics", include_in_schema=False)
    def prometheus() -> Response:
        if loader.champion is not None:
            champion = loader.champion
            metrics.model.labels(charter.metadata.name, champion.version, champion.predictor.bundle.format).set(1)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.exception_handler(TooLarge)
    async def too_large(request: Request, error: TooLarge) -> Response:
        return _problem(413, f"the body is larger than {settings.max_body_bytes:,} bytes; send fewer records at once")

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return _problem(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        logging.getLogger(__name__).error("unhandled error", exc_info=error)
        return _problem(500, "the service failed to answer; the cause is in its log")

    openapi = app.openapi

    def with_components() -> dict[str, Any]:
        described = openapi()
        described.setdefault("components", {}).setdefault("schemas", {}).update(components)
        return described

    app.openapi = with_components  # type: ignore[method-assign]
    return app


_PROBLEM = {
    "content": {
        "application/problem+json": {
            "schema": {
                "type": "object",
                "properties": {
                    "type": {"type": "string"},
                    "title": {"type": "string"},
                    "status": {"type": "integer"},
                    "detail": {"type": "string"},
                },
                "required": ["type", "title", "status", "detail"],
            }
        }
    }
}

_TITLES = {
    413: "The request is too large",
    422: "The request breaks the contract",
    500: "The service failed",
    503: "No model is loaded",
}

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One prediction per record, in the order of the request",
        "content": {
            "application/json": {
                "example": {
                    "model": "late-flights",
                    "model_version": "3",
                    "predictions": [
                        {
                            "prediction_id": "0f3c1f0e-4f52-4f5e-9d0b-3d2f6a1b8c77",
                            "score": 0.41,
                            "decision": "replan",
                        }
                    ],
                }
            }
        },
    },
    **{status: {"description": _TITLES[status]} | _PROBLEM for status in (413, 422, 503)},
}


def _problem(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """An error as RFC 9457 problem details."""
    return JSONResponse(
        {
            "type": "about:blank",
            "title": _TITLES.get(status, HTTPStatus(status).phrase),
            "status": status,
            "detail": detail,
        },
        status,
        headers,
        media_type="application/problem+json",
    )
