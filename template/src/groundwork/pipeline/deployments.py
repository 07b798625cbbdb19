"""When the flows run: their Prefect deployments, for `groundwork worker` and for a work pool. All times are UTC."""

from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy
from prefect.deployments.runner import RunnerDeployment
from prefect.types.entrypoint import EntrypointType

from groundwork.documents.pilot import Pilot
from groundwork.pipeline.ingest import ingest
from groundwork.pipeline.monitor import monitor
from groundwork.pipeline.prove import prove
from groundwork.pipeline.retrain import retrain
from groundwork.pipeline.score import score
from groundwork.pipeline.train import train
from groundwork.store import Store

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
        store.keep_schedules([flow.name for flow in SCHEDULES])
    return [f"{flow.name:<8} {cron} UTC" for flow, cron in SCHEDULES.items()]
