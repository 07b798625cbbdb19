"""The work of each flow as a plain function, with one run of each at a time per store.

Each function imports its libraries when it is called, so that a command imports only what it needs.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from groundwork.documents import use_case_files
from groundwork.pipeline.liveness import alive, record_lost_runs
from groundwork.pipeline.prefect_server import connect
from groundwork.store.database import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from groundwork.data.ingest import Ingested
    from groundwork.documents.pilot import Pilot
    from groundwork.models.scoring.score import Scored
    from groundwork.models.training.train import Trained
    from groundwork.monitoring.retraining import Retrained
    from groundwork.store.drifts import Drift
    from groundwork.store.proofs import Proof


def ingest(
    pilot: Pilot, start: datetime | None = None, end: datetime | None = None, everything: bool = False
) -> list[Ingested]:
    """Ingest the windows that changed in the source, or every window that overlaps [start, end)."""
    with _alone(pilot, "ingest"):
        from groundwork.data.ingest import ingest as work

        return work(pilot, start, end, everything=everything)


def train(pilot: Pilot) -> Trained:
    """Train a candidate, check it at the gate, and promote it if it passes."""
    with _alone(pilot, "train", trains=True):
        from groundwork.models.training.train import train as work

        return work(pilot)


def score(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score the rows in [start, end); by default the newest window."""
    with _alone(pilot, "score"):
        from groundwork.models.scoring.score import score as work

        return work(pilot, start, end)


def monitor(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Measure drift in [start, end); by default in the newest window."""
    with _alone(pilot, "monitor"):
        from groundwork.monitoring.monitor import monitor as work

        return work(pilot, start, end)


def retrain(
    pilot: Pilot, ingest_first: Callable[[], object] | None = None, train_then: Callable[[], Trained] | None = None
) -> Retrained:
    """Ingest new data, then train if drift or the champion's age requires it.

    `ingest_first` and `train_then` replace the plain functions, such as by flows.
    """
    with _alone(pilot, "retrain", trains=True):
        from groundwork.monitoring.retraining import retrain as work

        return work(pilot, ingest_first or (lambda: ingest(pilot)), train_then or (lambda: train(pilot)))


def prove(pilot: Pilot) -> list[Proof]:
    """Run the scorecard checks that no other flow runs; returns their results."""
    with _alone(pilot, "prove", trains=True):
        from groundwork.readiness.prove import prove as work

        return work(pilot)


WORK: dict[str, Callable[..., Any]] = {each.__name__: each for each in (ingest, train, score, monitor, retrain, prove)}


@contextmanager
def _alone(pilot: Pilot, verb: str, trains: bool = False) -> Iterator[None]:
    """Hold the flow's lock during the block.

    Raises UseCaseError before any work if the team's code cannot be called, or needs a package that is not installed;
    those of model.py are only needed by a flow that trains. Raises Busy if another run of the flow is active on the
    same store.
    """
    use_case_files.check(trains)
    with Store(pilot.settings.store) as store, store.alone(verb):
        yield


def run(pilot: Pilot, flow: str, *arguments: Any) -> Any:
    """Run the flow with this name and return its result.

    If there is a Prefect server, at PREFECT_API_URL or from this pilot's worker, the run is a Prefect flow run and
    appears in Prefect's pages. Otherwise it runs in this process without Prefect. The store records both.
    """
    if connect(pilot.settings):
        from groundwork.pipeline import flows

        return flows.outcome_of(getattr(flows, flow), *arguments)
    record_lost_runs(pilot.settings)
    with alive(pilot.settings, flow, str(uuid4())):
        return WORK[flow](pilot, *arguments)
