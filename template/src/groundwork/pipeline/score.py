"""The flow `score`: the champion's predictions for a window."""

from datetime import datetime

from groundwork.documents.pilot import Pilot
from groundwork.models.scoring.score import Scored
from groundwork.pipeline import artifacts, work
from groundwork.pipeline.flow import pipeline_flow


@pipeline_flow(artifacts.of_score)
def score(start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score [start, end), by default the newest window."""
    return work.score(Pilot.here(), start, end)
