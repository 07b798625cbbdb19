"""The flow `monitor`: drift and live performance."""

from datetime import datetime

from groundwork.documents.pilot import Pilot
from groundwork.pipeline import artifacts, work
from groundwork.pipeline.flow import pipeline_flow
from groundwork.store import Drift


@pipeline_flow(artifacts.of_monitor)
def monitor(start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Check drift in [start, end), by default in the newest window."""
    return work.monitor(Pilot.here(), start, end)
