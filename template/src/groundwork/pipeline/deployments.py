"""When the flows run: their Prefect deployments, for `groundwork worker` and for a work pool. All times are UTC."""

from typing import Any

from prefect import Flow, get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings
from prefect.types.entrypoint import EntrypointType

from groundwork.core.environment import QUIET
from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.flows import ingest, monitor, prove, retrain, score, train
from groundwork.store.database import Store

NAME = "scheduled"
# What is due is asked of the data each time, so a run more, or one missed, does no harm. ops/prometheus/alerts.yml
# tells of a flow that stays out for longer than two of its runs, also if it never succeeded.
SCHEDULES: dict[Flow[..., Any], str] = {
    ingest: "0 2 * * *",
    score: "0 3 * * *",
    monitor: "0 4 * * *",
    retrain: "0 5 * * 1",
    train: "0 6 1 * *",  # at least once a month, whatever retrain thinks
    prove: "0 7 * * 0",  # takes minutes of a processor
}


def deployments(pilot: Pilot, pool: str | None = None, job: dict[str, Any] | None = None) -> list[RunnerDeployment]:
    """Every flow with its schedule, one run at a time; a run that comes while one is under way is cancelled."""
    return [
        RunnerDeployment.from_flow(
            flow,
            name=NAME,
            cron=cron,
            tags=["groundwork", pilot.name],
            description=flow.description,
            concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
            entrypoint_type=EntrypointType.MODULE_PATH,
            work_pool_name=pool,
            job_variables=job,
        )
        for flow, cron in SCHEDULES.items()
    ]


def announce(pilot: Pilot) -> list[str]:
    """Note in the store that the flows have schedules, so that one that never succeeds is missed.

    Returns what runs when, a line for each flow.
    """
    with Store(pilot.settings.store) as store:
        store.schedules.keep([flow.name for flow in SCHEDULES])
    return [f"{flow.name:<8} {cron} UTC" for flow, cron in SCHEDULES.items()]


def register(pilot: Pilot, pool: str, image: str) -> list[str]:
    """Register every flow and its schedule with the pool; returns a line for each.

    What the runs are told of the outside world, secrets above all, is the pool's to say, not the deployments'.
    """
    if not get_current_settings().api.url:
        raise GroundworkError("set PREFECT_API_URL to the address of the server that knows the work pool")
    with get_client(sync_client=True) as client:
        job = _job(pilot, _type_of(client, pool), image)
    for deployment in deployments(pilot, pool, job):
        deployment.apply()
    return announce(pilot)


def _type_of(client: SyncPrefectClient, pool: str) -> str:
    try:
        response = client.request("GET", "/work_pools/{name}", path_params={"name": pool})
    except PrefectHTTPStatusError as error:
        if error.response.status_code != 404:
            raise
        raise GroundworkError(
            f"there is no work pool {pool}: `prefect work-pool create --type process {pool}`"
        ) from None
    return str(response.json()["type"])


def _job(pilot: Pilot, kind: str, image: str) -> dict[str, Any]:
    if kind == "process":
        environment = QUIET | {"GROUNDWORK_HOME": str(pilot.settings.home)}
        return {"env": environment, "working_dir": str(pilot.settings.home)}
    if not image:
        raise GroundworkError(f"pools of the type {kind} start containers: name the pipeline's image with --image")
    return {"env": QUIET, "image": image}
