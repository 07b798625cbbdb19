"""A flow that a person starts: without a wait for a server of Prefect's that only this command would use."""

from importlib import import_module
from typing import Any
from uuid import uuid4

from groundwork.documents.pilot import Pilot
from groundwork.pipeline import work
from groundwork.pipeline.liveness import alive, record_lost_runs
from groundwork.pipeline.prefect_server import connect


def run(pilot: Pilot, flow: str, *arguments: Any) -> Any:
    """Run the flow of this name and return its result.

    Where PREFECT_API_URL names a server, or a worker of this pilot has one, it is a run there, and Prefect's pages show
    it. Elsewhere it runs in this process alone; the store records it either way.
    """
    if connect(pilot.settings):
        return getattr(import_module(f"groundwork.pipeline.{flow}"), flow)(*arguments)
    record_lost_runs(pilot.settings)
    with alive(pilot.settings, flow, str(uuid4())):
        return getattr(work, flow)(pilot, *arguments)
