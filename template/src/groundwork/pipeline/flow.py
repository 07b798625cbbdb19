"""A Prefect flow around a verb: tried again where that may help, alive as long as its process, shown in artifacts."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from prefect import Flow, flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.context import FlowRunContext
from prefect.tasks import exponential_backoff
from typing_extensions import ParamSpec

from groundwork.core.environment import prepare
from groundwork.core.errors import Busy, GroundworkError, SourceUnavailable, StoreError
from groundwork.core.settings import Settings
from groundwork.pipeline.liveness import TIMEOUT_SECONDS, alive
from groundwork.pipeline.lost_runs import mend_lost_runs

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 4
FIRST_DELAY_SECONDS = 30  # doubled each time, and stretched by up to a half so that not all come back at once

_log = logging.getLogger(__name__)


def pipeline_flow(
    show: Callable[[R], None],
    retries: int = RETRIES,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """A Prefect flow around a plain function of the same name; `show` makes its artifacts from the result."""

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        name = function.__name__
        attempt = task(
            name=f"{name}-attempt",
            cache_policy=NO_CACHE,
            retries=retries,
            retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=_try_again,
        )(function)

        @flow(name=name, timeout_seconds=timeout_seconds)
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            context = FlowRunContext.get()
            assert context is not None
            assert context.flow_run is not None
            settings = Settings()
            prepare(settings)  # a work pool starts it without the command line
            mend_lost_runs(settings)
            with alive(settings, name, str(context.flow_run.id), timeout_seconds):
                result = attempt(*args, **kwargs)
            try:
                show(result)
            except Exception:  # the work is done
                _log.warning("the artifacts of %s could not be made", name, exc_info=True)
            return result

        return run

    return decorate


def may_pass(error: BaseException) -> bool:
    """Whether the same work may succeed in a moment: something could not be reached, or another run is under way."""
    if isinstance(error, Busy | SourceUnavailable | StoreError):
        return True
    if isinstance(error, GroundworkError):
        return False
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return any(isinstance(each, ConnectionError | TimeoutError) or _is_of_requests(each) for each in causes)


def _is_of_requests(error: BaseException) -> bool:
    """MLflow's client is built on requests, whose errors are not Python's own."""
    from requests import exceptions

    return isinstance(error, exceptions.ConnectionError | exceptions.Timeout)


def _try_again(_task: Any, _run: Any, state: State) -> bool:
    """Only on a schedule: a person who waits at the terminal is told at once."""
    if not Settings().on_schedule:
        return False
    try:
        state.result()
    except Exception as error:
        return may_pass(error)
    return False
