"""Work that is spread over the workers of a Dask scheduler."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

from groundwork.core.errors import ClusterError

PATIENCE_SECONDS = 60.0  # with a scheduler that does not answer, or has no workers

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def spread(scheduler: str, work: Callable[[Piece], Result], pieces: Iterable[Piece]) -> Iterator[Result]:
    """What `work` comes to for each piece, in whatever order they are done.

    A piece whose worker dies is given to another one, so `work` must do no harm when it is done twice. Raises
    ClusterError where there is nobody to do it, or what `work` raises.
    """
    try:
        from distributed import CancelledError, Client, wait
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise ClusterError(
            f"GROUNDWORK_DASK_SCHEDULER is {scheduler}, and Dask is not installed: run `uv sync --group dask`"
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
                for future in done:  # a result is lost with its worker, and then worked out anew
                    yield future.result() if future.status == "error" else _patiently(client, future.result)
        except TimeoutError as error:
            raise ClusterError(nobody) from error
        except KilledWorker as error:
            raise ClusterError(f"the workers of {scheduler} die of the work: {error}") from error
        except CancelledError as error:
            raise ClusterError(f"the Dask scheduler {scheduler} was lost; run it again: {error}") from error


def _patiently(client: Any, ask: Callable[..., Any]) -> Any:
    """What is asked for, however long it takes. Raises TimeoutError once there are no workers."""
    while True:
        try:
            return ask(timeout=PATIENCE_SECONDS)
        except TimeoutError:
            if not client.scheduler_info()["workers"]:
                raise
