"""What the flows share: one at a time, tried again where that may help, and never running for ever once killed.

A lock of the operating system marks each run for as long as its process lives. However the process ends, the lock goes
with it, and that is how a run that was killed is told from one that works on. Who cannot see the lock, because the
machine is another or is gone, goes by the signs of life that each run leaves in the store.
"""

import fcntl
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from prefect import Flow, flow, get_client, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed
from prefect.tasks import exponential_backoff
from typing_extensions import ParamSpec

from groundwork.core.environment import prepare
from groundwork.core.errors import Busy, GroundworkError, SourceUnavailable, StoreError
from groundwork.documents.pilot import Pilot
from groundwork.readiness.proofs import on_schedule
from groundwork.store import LOST, SILENCE, Store, UnderWay
from groundwork.store import FlowRun as Recorded

P = ParamSpec("P")
R = TypeVar("R")

RETRIES = 4
FIRST_DELAY_SECONDS = 30  # doubled each time, and stretched by up to a half so that not all come back at once
TIMEOUT_SECONDS = 4 * 3600
SIGN_SECONDS = 30  # between two signs of life

_held: list[int] = []  # the locks of this process's runs; only its end lets go of them
_log = logging.getLogger(__name__)


def pipeline_flow(
    show: Callable[[R], None],
    retries: int = RETRIES,
    timeout_seconds: float = TIMEOUT_SECONDS,
    log_prints: bool = False,
) -> Callable[[Callable[P, R]], Flow[P, R]]:
    """A Prefect flow around a plain function of the same name; `show` makes its artifacts from the result.

    With `log_prints`, what the function prints goes to Prefect's log. Prefect puts another `print` in the place of
    Python's for that, and a model that refers to `print`, as skorch's do, can then not be pickled.

    Outside of Prefect, `flow.fn()` runs the plain function. Either way it raises Busy where another run of the flow is
    under way on the same store.
    """

    def decorate(function: Callable[P, R]) -> Flow[P, R]:
        name = function.__name__

        @wraps(function)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R:
            with Store(Settings().store) as store, store.alone(name):
                return function(*args, **kwargs)

        attempt = task(
            name=f"{name}-attempt",
            cache_policy=NO_CACHE,
            retries=retries,
            retry_delay_seconds=exponential_backoff(FIRST_DELAY_SECONDS),
            retry_jitter_factor=0.5,
            retry_condition_fn=_try_again,
        )(alone)

        @flow(name=name, timeout_seconds=timeout_seconds, log_prints=log_prints)
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            context = FlowRunContext.get()
            if context is None or context.flow_run is None:
                return alone(*args, **kwargs)
            pilot = Pilot.here()
            prepare(pilot.settings)  # a work pool starts it without the command line
            mend_lost_runs(pilot)
            identifier = context.flow_run.id
            with _marked(pilot, name, identifier), _heard(pilot, name, identifier, timeout_seconds):
                result = attempt(*args, **kwargs)
            try:
                show(result)
            except Exception:  # the work is done
                _log.warning("the artifacts of %s could not be made", name, exc_info=True)
            return result

        return run

    return decorate


def may_pass(error: BaseException) -> bool:
    """Whether what failed may work in a moment: something could not be reached, or another run is at it."""
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
    """MLflow's client is built on requests, whose errors are none of Python's own."""
    from requests import exceptions

    return isinstance(error, exceptions.ConnectionError | exceptions.Timeout)


def _try_again(_task: Any, _run: Any, state: State) -> bool:
    """On a schedule. By hand, whoever waits at the terminal is told at once."""
    if not on_schedule():
        return False
    try:
        state.result()
    except Exception as error:
        return may_pass(error)
    return False


@contextmanager
def _marked(pilot: Pilot, name: str, identifier: UUID) -> Iterator[None]:
    """Hold the run's lock until this process ends, and say in its file whether the run came to its end."""
    path = _folder(pilot) / f"{identifier}.run"
    mark = _open(path.with_suffix(".new"))
    _taken(mark)
    _held.append(mark)
    os.write(mark, json.dumps({"flow": name, "started_at": datetime.now(UTC).isoformat()}).encode())
    path.with_suffix(".new").rename(path)  # it is locked before anybody else can see it
    try:
        yield
    finally:
        os.ftruncate(mark, 0)  # the store knows how it ended; Prefect is told after this


@contextmanager
def _heard(pilot: Pilot, name: str, identifier: UUID, timeout_seconds: float) -> Iterator[None]:
    """Give signs of life in the store until the block ends, or should have. What the store misses comes again."""
    began, started = time.monotonic(), datetime.now(UTC)
    ended = threading.Event()

    def sign() -> None:
        with suppress(StoreError), Store(pilot.settings.store) as store:
            store.keep_alive(UnderWay(str(identifier), name, started, datetime.now(UTC)))

    def give_signs() -> None:
        while not ended.wait(SIGN_SECONDS) and time.monotonic() - began < timeout_seconds:
            sign()

    sign()
    signing = threading.Thread(target=give_signs, daemon=True)
    signing.start()
    try:
        yield
    finally:
        ended.set()
        signing.join()
        with suppress(StoreError), Store(pilot.settings.store) as store:
            store.end_run(str(identifier))


def mend_lost_runs(pilot: Pilot, sole: bool = False) -> list[str]:
    """Tell Prefect, and the store, of runs that were under way in this data folder and whose process is gone.

    So too of runs elsewhere, with the same store, that fell silent. `sole`: nobody but this process uses Prefect's
    server, so that a run without a mark is lost as well. Returns the names of the flows.
    """
    folder = _folder(pilot)
    found = []
    with get_client(sync_client=True) as client:
        for path in folder.glob("*.run"):
            try:
                mark = os.open(path, os.O_RDWR)
            except FileNotFoundError:
                continue  # it came to its end, or somebody else told of it
            try:
                if not _taken(mark) or not os.fstat(mark).st_nlink:
                    continue  # its process lives, or somebody else told of it meanwhile
                said = os.read(mark, 10_000)
                path.unlink(missing_ok=True)
                _crashed(client, path.stem)
                if said:
                    lost = json.loads(said)
                    found.append(lost["flow"])
                    with Store(pilot.settings.store) as store:
                        store.end_run(path.stem)
                        started = datetime.fromisoformat(lost["started_at"])
                        store.record_run(Recorded(lost["flow"], started, message=LOST))
            finally:
                os.close(mark)
        alive = {path.stem for path in folder.glob("*.run")}
        with suppress(StoreError), Store(pilot.settings.store) as store:  # the next look sees the same
            now = datetime.now(UTC)
            for run in store.under_way():
                asleep = run.run_id in alive and now < run.started_at + timedelta(seconds=TIMEOUT_SECONDS) + SILENCE
                if run.lost_at < now and not asleep:  # as a laptop is, and what runs on it wakes up with it
                    _crashed(client, run.run_id)
                    if store.end_run(run.run_id, run.as_lost):
                        found.append(run.flow)
        if sole:
            for each in client.read_flow_runs(flow_run_filter=_OPEN):
                if str(each.id) not in alive:
                    client.set_flow_run_state(each.id, Crashed(message=LOST), force=True)
    return found


def _crashed(client: SyncPrefectClient, identifier: str) -> None:
    with suppress(ObjectNotFound):
        run = client.read_flow_run(UUID(identifier))
        if _is_open(run):
            client.set_flow_run_state(run.id, Crashed(message=LOST), force=True)


_OPEN_STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_OPEN = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN_STATES)))


def _is_open(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in _OPEN_STATES


def _folder(pilot: Pilot) -> Path:
    folder = pilot.settings.data_folder / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _taken(lock: int) -> bool:
    """Whether the lock could be had."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
