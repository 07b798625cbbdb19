"""The Prefect flows, one per command: with retries, heartbeats and artifacts."""

import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import wraps
from typing import Any, NamedTuple, TypeVar, cast
from uuid import UUID

from prefect import Flow, flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, get_current_settings, temporary_settings
from prefect.states import Crashed
from prefect.tasks import exponential_backoff
from typing_extensions import ParamSpec

from groundwork.core.environment import prepare
from groundwork.core.errors import Busy, GroundworkError, SchemaMismatch, SourceUnavailable, StoreError, causes
from groundwork.core.settings import Settings
from groundwork.data.ingest import Ingested
from groundwork.documents.pilot import Pilot
from groundwork.models.scoring.score import Scored
from groundwork.models.training.train import Trained
from groundwork.monitoring.retraining import Retrained
from groundwork.pipeline import artifacts, by_hand
from groundwork.pipeline.liveness import TIMEOUT_SECONDS, alive, marked_runs, record_lost_runs
from groundwork.pipeline.prefect_server import close_connection, drop_events
from groundwork.store.drifts import Drift
from groundwork.store.proofs import Proof
from groundwork.store.runs import LOST

P = ParamSpec("P")
R = TypeVar("R")
RETRIES = 4
FIRST_DELAY_SECONDS = 30  # doubles with each retry; up to 50 % is added at random, so that retries do not coincide
ANSWER_SECONDS = 20  # for a server to answer, after the work is done; in this time it can be started again
_log = logging.getLogger(__name__)


def pipeline_flow(
    show: Callable[[R], None],
    retries: int = RETRIES,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """Returns a decorator that makes a Prefect flow from a plain function; `show` makes artifacts from the result."""

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
            prepare(settings)  # a work pool starts the flow without the command line
            mend_lost_runs(settings)
            try:
                with alive(settings, name, str(context.flow_run.id), timeout_seconds):
                    result = attempt(*args, **kwargs)
            except Exception as error:
                _outcomes[name] = _Outcome(error=error, told=not _let_go_of_a_dead_server(settings, context))
                raise
            _outcomes[name] = _Outcome(result=result, told=not _let_go_of_a_dead_server(settings, context))
            try:
                show(result)
            except Exception:  # the work itself succeeded
                _log.warning("the artifacts of %s could not be made", name, exc_info=True)
            return result

        return run

    return decorate


class _Outcome(NamedTuple):
    """What the work of a flow came to, whether or not Prefect could be told."""

    result: Any = None
    error: Exception | None = None
    told: bool = True  # false if Prefect's server is dead


_outcomes: dict[str, _Outcome] = {}  # of this process, by flow


def outcome_of(work: Flow[..., R], *arguments: Any) -> R:
    """Run the flow and return its result, also if Prefect's server dies after the flow has begun.

    Raises the work's own error, or GroundworkError if the server does not answer at the beginning.
    """
    _outcomes.pop(work.name, None)
    try:
        return work(*arguments)
    except Exception as error:
        outcome = _outcomes.pop(work.name, None)
        if outcome is None:
            if isinstance(error, GroundworkError) or _server_answers(0):
                raise
            url = get_current_settings().api.url
            raise GroundworkError(f"the Prefect server at {url} does not answer: {error}") from error
        if not outcome.told:
            drop_events()
        if outcome.error:
            raise outcome.error from None
        return cast(R, outcome.result)


def _part(work: Flow[[], R]) -> R:
    """Run the flow as a part of another; without Prefect if its server has died in between."""
    settings = Settings()
    if settings.on_schedule or _server_answers(0):
        return outcome_of(work)
    return cast(R, by_hand.WORK[work.name](Pilot(settings)))


def _let_go_of_a_dead_server(settings: Settings, context: FlowRunContext) -> bool:
    """If the server does not answer, say so and close the run's connection: otherwise Prefect would try for minutes.

    Returns whether the server is dead. A run on a schedule waits for the server as long as Prefect does, because nobody
    waits for the run.
    """
    if settings.on_schedule or _server_answers(ANSWER_SECONDS):
        return False
    print(
        f"! the Prefect server at {get_current_settings().api.url} does not answer any more: this run of "
        f"{context.flow.name if context.flow else 'the flow'} is recorded in the store, but not in Prefect",
        file=sys.stderr,
    )
    close_connection(cast(SyncPrefectClient, context.client))
    return True


def _server_answers(within: float) -> bool:
    """Whether Prefect's server answers within so many seconds."""
    deadline = time.monotonic() + within
    with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(sync_client=True) as client:
        while client.api_healthcheck() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(1)
    return True


def may_pass(error: BaseException) -> bool:
    """Whether a retry may succeed: a server could not be reached, or another run of the flow is active."""
    if isinstance(error, Busy | SourceUnavailable | StoreError):
        return not isinstance(error, SchemaMismatch)
    if isinstance(error, GroundworkError):
        return False
    return any(isinstance(each, ConnectionError | TimeoutError) or _is_of_requests(each) for each in causes(error))


def _is_of_requests(error: BaseException) -> bool:
    """Whether it is an error of the library requests, which MLflow's client uses; they are not Python's own."""
    from requests import exceptions

    return isinstance(error, exceptions.ConnectionError | exceptions.Timeout)


def _try_again(_task: Any, _run: Any, state: State) -> bool:
    """Whether Prefect retries: only on a schedule; a user who waits at the terminal gets the error at once."""
    if not Settings().on_schedule:
        return False
    try:
        state.result()
    except Exception as error:
        return may_pass(error)
    return False


_OPEN_STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_OPEN = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN_STATES)))


def mend_lost_runs(settings: Settings, sole: bool = False) -> list[str]:
    """Record lost runs as failed in the store and as crashed in Prefect; returns the names of their flows.

    `sole`: only this pilot uses the Prefect server, so an open run without a lock file in the data folder is lost too.
    """
    lost = record_lost_runs(settings)
    if lost or sole:
        with get_client(sync_client=True) as client:
            for run in lost:
                _crash(client, run.run_id)
            if sole:
                marked = marked_runs(settings)
                for each in client.read_flow_runs(flow_run_filter=_OPEN):
                    if str(each.id) not in marked:
                        client.set_flow_run_state(each.id, Crashed(message=LOST), force=True)
    return [run.flow for run in lost if run.flow]


def _crash(client: SyncPrefectClient, run_id: str) -> None:
    with suppress(ObjectNotFound, ValueError):  # Prefect does not know runs started by hand without a server
        run = client.read_flow_run(UUID(run_id))
        if _is_open(run):
            client.set_flow_run_state(run.id, Crashed(message=LOST), force=True)


def _is_open(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in _OPEN_STATES


@pipeline_flow(artifacts.of_ingest)
def ingest(start: datetime | None = None, end: datetime | None = None, everything: bool = False) -> list[Ingested]:
    """Ingest the windows that changed in the source, or every window that overlaps [start, end)."""
    return by_hand.ingest(Pilot.here(), start, end, everything)


@pipeline_flow(artifacts.of_train)
def train() -> Trained:
    """Train a candidate, check it at the gate, and promote it if it passes."""
    return by_hand.train(Pilot.here())


@pipeline_flow(artifacts.of_score)
def score(start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score the rows in [start, end); by default the newest window."""
    return by_hand.score(Pilot.here(), start, end)


@pipeline_flow(artifacts.of_monitor)
def monitor(start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Measure drift in [start, end); by default in the newest window."""
    return by_hand.monitor(Pilot.here(), start, end)


@pipeline_flow(artifacts.of_retrain, retries=0)  # the flows ingest and train inside it have their own retries
def retrain() -> Retrained:
    """Ingest new data, then train if drift or the champion's age requires it; the gate checks the candidate."""
    return by_hand.retrain(Pilot.here(), lambda: _part(ingest), lambda: _part(train))


@pipeline_flow(artifacts.of_prove, retries=0)
def prove() -> list[Proof]:
    """Evaluate and reproduce the champion, check the git history, and run the proofs in `tests/system`."""
    return by_hand.prove(Pilot.here())
