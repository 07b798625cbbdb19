"""The flow `ingest`: the source into the snapshots."""

from datetime import datetime

from groundwork.data.ingest import Ingested
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import artifacts, work
from groundwork.pipeline.flow import pipeline_flow


@pipeline_flow(artifacts.of_ingest)
def ingest(start: datetime | None = None, end: datetime | None = None) -> list[Ingested]:
    """Bring in what has changed in the source, or every window that [start, end) touches."""
    return work.ingest(Pilot.here(), start, end)
