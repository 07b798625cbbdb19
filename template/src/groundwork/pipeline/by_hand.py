"""What each flow does, as a plain function: one run at a time on a store.

The libraries of a verb are imported when it is called, so that a command waits for its own alone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

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


def ingest(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> list[Ingested]:
    """Bring in what has changed in the source, or every window that [start, end) touches."""
    from groundwork.data.ingest import ingest as work

    with _alone(pilot, "ingest"):
        return work(pilot, start, end)


def train(pilot: Pilot) -> Trained:
    """Train a candidate, judge it, and promote it if the gate lets it through."""
    from groundwork.models.training.train import train as work

    with _alone(pilot, "train"):
        return work(pilot)


def score(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score [start, end), by default the newest window."""
    from groundwork.models.scoring.score import score as work

    with _alone(pilot, "score"):
        return work(pilot, start, end)


def monitor(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Check drift in [start, end), by default in the newest window."""
    from groundwork.monitoring.monitor import monitor as work

    with _alone(pilot, "monitor"):
        return work(pilot, start, end)


def retrain(
    pilot: Pilot, ingest_first: Callable[[], object] | None = None, train_then: Callable[[], Trained] | None = None
) -> Retrained:
    """Ingest what is due, then train if drift or age asks for it."""
    from groundwork.monitoring.retraining import retrain as work

    with _alone(pilot, "retrain"):
        return work(pilot, ingest_first or (lambda: ingest(pilot)), train_then or (lambda: train(pilot)))


def prove(pilot: Pilot) -> list[Proof]:
    """Run what proves checks of the scorecard and is part of no other flow's work."""
    from groundwork.readiness.prove import prove as work

    with _alone(pilot, "prove"):
        return work(pilot)


WORK: dict[str, Callable[..., Any]] = {each.__name__: each for each in (ingest, train, score, monitor, retrain, prove)}


@contextmanager
def _alone(pilot: Pilot, verb: str) -> Iterator[None]:
    """Raises Busy where another run of the verb is under way on the same store."""
    with Store(pilot.settings.store) as store, store.alone(verb):
        yield


def run(pilot: Pilot, flow: str, *arguments: Any) -> Any:
    """Run the flow of this name and return its result.

    Where PREFECT_API_URL names a server, or a worker of this pilot has one, it is a run there, and Prefect's pages show
    it. Elsewhere it runs in this process alone; the store records it either way.
    """
    if connect(pilot.settings):
        from groundwork.pipeline import flows

        return getattr(flows, flow)(*arguments)
    record_lost_runs(pilot.settings)
    with alive(pilot.settings, flow, str(uuid4())):
        return WORK[flow](pilot, *arguments)
