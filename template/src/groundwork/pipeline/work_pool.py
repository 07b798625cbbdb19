"""The deployments in a work pool: its workers run the flows, as processes, in containers or on Kubernetes."""

from typing import Any

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from groundwork.core.environment import QUIET
from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.deployments import announce, deployments


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
