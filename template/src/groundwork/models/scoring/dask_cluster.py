"""Spreads work over the workers of a Dask scheduler."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from groundwork.core.errors import ClusterError

PATIENCE_SECONDS = 60.0  # how long to wait for a scheduler that does not answer or has no workers

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def spread(scheduler: str, work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """Yield the result of `work` for each piece, in the order of completion.

    If a worker dies, its piece goes to another one, so `work` must be idempotent. Raises ClusterError if the scheduler
    does not answer, has no workers, or loses them; also raises the exceptions of `work`.
    """
    try:
        from distributed import CancelledError, Client, wait
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise ClusterError(
            f"GROUNDWORK_DASK_SCHEDULER is {scheduler}, but Dask is not installed: run `uv sync --group dask`"
        ) from error
    nobody = f"the Dask scheduler {scheduler} has no workers: start them with `dask worker {scheduler}`"
    try:
        client = Client(scheduler, timeout=PATIENCE_SECONDS)
    except (OSError, ValueError) as error:
        raise ClusterError(f"no Dask scheduler answers at {scheduler}: {error}") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE_SECONDS)
            pending = set(client.map(work, list(pieces), pure=False))
            while pending:
                done, pending = _patiently(client, partial(wait, pending, return_when="FIRST_COMPLETED"))
                for future in done:  # a result is lost if its worker dies; Dask then computes it again
                    yield future.result() if future.status == "error" else _patiently(client, future.result)
        except TimeoutError as error:
            raise ClusterError(nobody) from error
        except KilledWorker as error:
            raise ClusterError(f"the workers of {scheduler} died during the work: {error}") from error
        except CancelledError as error:
            raise ClusterError(f"the Dask scheduler {scheduler} was lost; run the command again: {error}") from error


def _patiently(client: Any, ask: Callable[..., Any]) -> Any:
    """Return the result of `ask`, however long it takes. Raises TimeoutError if no workers are left."""
    while True:
        try:
            return ask(timeout=PATIENCE_SECONDS)
        except TimeoutError:
            if not client.scheduler_info()["workers"]:
                raise
