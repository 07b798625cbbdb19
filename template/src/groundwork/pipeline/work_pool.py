"""The deployments in a work pool: its workers run the flows, as processes, in containers or on Kubernetes."""

from typing import Any

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import get_current_settings

from groundwork.core.errors import GroundworkError
from groundwork.pipeline.deployments import announce, deployments
from groundwork.core.settings import QUIET, Settings


def register(settings: Settings, pool: str, image: str) -> list[str]:
    """Register every flow and its schedule with the pool; returns a line for each.

    What the runs are told of the outside world, secrets above all, is the pool's to say, not the deployments'.
    """
    if not get_current_settings().api.url:
        raise GroundworkError("set PREFECT_API_URL to the address of the server that knows the work pool")
    with get_client(sync_client=True) as client:
        job = _job(settings, _type_of(client, pool), image)
    for deployment in deployments(settings, pool, job):
        deployment.apply()
    return announce(settings)


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


def _job(settings: Settings, kind: str, image: str) -> dict[str, Any]:
    if kind == "process":
        environment = QUIET | {"GROUNDWORK_HOME": str(settings.home)}
        return {"env": environment, "working_dir": str(settings.home)}
    if not image:
        raise GroundworkError(f"pools of the type {kind} start containers: name the pipeline's image with --image")
    return {"env": QUIET, "image": image}
