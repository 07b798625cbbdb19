"""The flow `prove`: what proves checks of the scorecard."""

from groundwork.documents.pilot import Pilot
from groundwork.pipeline import artifacts, work
from groundwork.pipeline.flow import pipeline_flow
from groundwork.store import Proof


@pipeline_flow(artifacts.of_prove, retries=0)
def prove() -> list[Proof]:
    """Evaluate and reproduce the champion, look at the history, and run the proofs of `tests/system`."""
    return work.prove(Pilot.here())
