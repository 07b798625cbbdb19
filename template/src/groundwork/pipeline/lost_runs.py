"""Runs whose process is gone are recorded as failed, in the store and in Prefect."""

from contextlib import suppress
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from groundwork.core.settings import Settings
from groundwork.pipeline.liveness import marked_runs, record_lost_runs
from groundwork.store import LOST

_OPEN_STATES = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
_OPEN = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=_OPEN_STATES)))


def mend_lost_runs(settings: Settings, sole: bool = False) -> list[str]:
    """Record lost runs as failed in the store, and as crashed in Prefect; returns the names of their flows.

    `sole`: only this process uses Prefect's server, so that a run without a mark in the data folder is lost as well.
    """
    lost = record_lost_runs(settings)
    if lost or sole:
        with get_client(sync_client=True) as client:
            for run in lost:
                _crash(client, run.run_id)
            if sole:
                marked = marked_runs(settings)
                for each in client.read_flow_runs(flow_run_filter=_OPEN):
                    if str(each.id) not in marked:
                        client.set_flow_run_state(each.id, Crashed(message=LOST), force=True)
    return [run.flow for run in lost if run.flow]


def _crash(client: SyncPrefectClient, run_id: str) -> None:
    with suppress(ObjectNotFound, ValueError):  # a run by hand is none of Prefect's
        run = client.read_flow_run(UUID(run_id))
        if _is_open(run):
            client.set_flow_run_state(run.id, Crashed(message=LOST), force=True)


def _is_open(run: FlowRun) -> bool:
    return run.state is not None and run.state.type in _OPEN_STATES
