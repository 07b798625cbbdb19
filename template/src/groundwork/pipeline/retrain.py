"""The flow `retrain`: train where drift or age asks for it."""

from groundwork.documents.pilot import Pilot
from groundwork.monitoring.retraining import Retrained
from groundwork.pipeline import artifacts, work
from groundwork.pipeline.flow import pipeline_flow
from groundwork.pipeline.ingest import ingest
from groundwork.pipeline.train import train


@pipeline_flow(artifacts.of_retrain, retries=0)  # the flows in it are tried again by themselves
def retrain() -> Retrained:
    """Ingest what is due, then train if drift or age asks for it; the gate decides as ever."""
    return work.retrain(Pilot.here(), ingest, train)
