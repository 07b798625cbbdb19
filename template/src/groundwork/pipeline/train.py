"""The flow `train`: a candidate through the gate."""

from groundwork.documents.pilot import Pilot
from groundwork.models.training.train import Trained
from groundwork.pipeline import artifacts, work
from groundwork.pipeline.flow import pipeline_flow


@pipeline_flow(artifacts.of_train)
def train() -> Trained:
    """Train a candidate, judge it, and promote it if the gate lets it through."""
    return work.train(Pilot.here())
