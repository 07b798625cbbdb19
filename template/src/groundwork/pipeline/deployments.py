"""Schedules of the flows, as Prefect deployments for `groundwork worker` and for a work pool.

The hours are those of the contract's time zone. They lie outside of midnight to 4:00, the hours in which clocks change:
Prefect starts a run in a skipped hour an hour early, and leaves out the second of two equal hours.
"""

import json
from datetime import UTC, datetime
from typing import Any

from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterTags
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.schedules import Cron
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from groundwork.core.environment import QUIET
from groundwork.core.errors import GroundworkError
from groundwork.core.files import write_atomically
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.flows import ingest, monitor, prove, retrain, score, train
from groundwork.store.database import Store

NAME = "scheduled"
# Each run determines from the data what is due, so an extra or a missed run does no harm. ops/prometheus/alerts.yml
# alerts when a flow has not succeeded for more than two of its intervals, also if it never succeeded.
SCHEDULES: dict[Flow[..., Any], str] = {
    ingest: "0 4 * * *",
    score: "0 5 * * *",
    monitor: "0 6 * * *",
    retrain: "0 7 * * 1",
    train: "0 8 1 * *",  # at least once a month, even if retrain found no need
    prove: "0 9 * * 0",  # takes several minutes of CPU time
}


def deployments(pilot: Pilot, pool: str | None = None, job: dict[str, Any] | None = None) -> list[RunnerDeployment]:
    """Returns one deployment per flow, with its schedule. A run that starts while another is active is cancelled.

    `pool` is the name of a work pool, None for the worker's own; `job` holds the pool's job variables.
    """
    return [
        RunnerDeployment.from_flow(
            flow,
            name=NAME,
            schedule=Cron(cron, timezone=str(pilot.contract.dataset.zone)),
            tags=_tags(pilot),
            description=flow.description,
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=pool,
            job_variables=job,
        )
        for flow, cron in SCHEDULES.items()
    ]


def announce(pilot: Pilot) -> list[str]:
    """Record in the store that the flows have schedules, so that a flow that never succeeds raises an alert.

    Returns one line of text per flow, with its schedule and time zone.
    """
    with Store(pilot.settings.store) as store:
        store.schedules.keep([flow.name for flow in SCHEDULES])
    return [f"{flow.name:<8} {cron} {pilot.contract.dataset.zone}" for flow, cron in SCHEDULES.items()]


def register(pilot: Pilot, pool: str, image: str) -> list[str]:
    """Register every flow and its schedule with the work pool; returns one line of text per flow.

    The environment of the runs, above all their secrets, is configured in the pool and not in the deployments.
    Raises GroundworkError if PREFECT_API_URL is not set, the pool does not exist, or it needs an image.
    """
    if not get_current_settings().api.url:
        raise GroundworkError("set PREFECT_API_URL to the address of the Prefect server that has the work pool")
    with get_client(sync_client=True) as client:
        job = _job(pilot, _type_of(client, pool), image)
    for deployment in deployments(pilot, pool, job):
        deployment.apply()
    return [*announce(pilot), *bring_up_to_date(pilot)]


def out_of_date(pilot: Pilot) -> list[str]:
    """Returns one line of text per deployment on the server that does not fit this code; changes nothing."""
    with get_client(sync_client=True) as client:
        return [
            f"{'renew' if wanted else 'delete'} the deployment {name}" for name, _, wanted in _misfits(pilot, client)
        ]


def bring_up_to_date(pilot: Pilot) -> list[str]:
    """Delete the deployments of flows that this code no longer has; register those anew whose schedule has changed.

    Returns one line of text per change, and the path of a file with the deployments as they were.
    """
    with get_client(sync_client=True) as client:
        misfits = _misfits(pilot, client)
        if not misfits:
            return []
        copy = pilot.settings.data_folder / f"deployments.before-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.json"
        write_atomically({copy: json.dumps([found.model_dump(mode="json") for _, found, _ in misfits], indent=1)})
        for _, found, wanted in misfits:
            if wanted is None:
                client.delete_deployment(found.id)
    for _, _, wanted in misfits:
        if wanted is not None:
            wanted.apply()
    done = [f"{'renewed' if wanted else 'deleted'} the deployment {name}" for name, _, wanted in misfits]
    return [*done, f"the deployments before that: {copy}"]


def _misfits(pilot: Pilot, client: SyncPrefectClient) -> list[tuple[str, DeploymentResponse, RunnerDeployment | None]]:
    """Returns the name of each deployment on the server that does not fit, the deployment, and what it should be.

    That is None for a flow that this code does not have. A worker registers its own deployments whenever it starts, so
    only those of a work pool are compared; they keep their pool and its job variables.
    """
    tags = DeploymentFilterTags(all_=_tags(pilot))
    found = []
    for each in client.read_deployments(deployment_filter=DeploymentFilter(tags=tags)):
        flow = client.read_flow(each.flow_id).name
        pool, job = each.work_pool_name, each.job_variables
        wanted = next((made for made in deployments(pilot, pool, job) if made.flow_name == flow), None)
        if wanted is None or (pool and _essence(each) != _essence(wanted)):
            found.append((f"{flow}/{each.name}", each, wanted))
    return found


def _essence(deployment: DeploymentResponse | RunnerDeployment) -> object:
    """Returns what this code decides of a deployment: its entry point and its schedules."""
    schedules = [each.schedule for each in deployment.schedules or []]
    return deployment.entrypoint, [
        (each.cron, each.timezone) if isinstance(each, CronSchedule) else each for each in schedules
    ]


def _tags(pilot: Pilot) -> list[str]:
    return ["groundwork", pilot.name]


def _type_of(client: SyncPrefectClient, pool: str) -> str:
    try:
        response = client.request("GET", "/work_pools/{name}", path_params={"name": pool})
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 404:
            raise
        raise GroundworkError(
            f"there is no work pool {pool}: create it with `prefect work-pool create --type process {pool}`"
        ) from None
    return str(response.json()["type"])


def _job(pilot: Pilot, kind: str, image: str) -> dict[str, Any]:
    if kind == "process":
        environment = QUIET | {"GROUNDWORK_HOME": str(pilot.settings.home)}
        return {"env": environment, "working_dir": str(pilot.settings.home)}
    if not image:
        raise GroundworkError(
            f"work pools of type {kind} start containers: give the pipeline's container image with --image"
        )
    return {"env": QUIET, "image": image}
