"""The pipeline's image in a work pool: Prefect starts a container of it for each run."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support import free_port

from .conftest import RUN_A_FLOW, Docker, Tracking, built, gateway, reachable

pytestmark = [pytest.mark.container, pytest.mark.soak]

PATIENCE = 600
COMMIT = "0123456789abcdef0123456789abcdef01234567"

SECRET = """
import sys
from prefect.blocks.system import Secret
Secret(value=sys.argv[1]).save("signer")
"""

# What the run left in the data folder, by the pilot's own code in the pipeline's image.
LEFT = """
import json
from groundwork.documents.pilot import Pilot
from groundwork.data.snapshots import Snapshots
pilot = Pilot.here()
print(json.dumps([Snapshots(pilot.snapshots, pilot.contract.dataset).read().num_rows, pilot.settings.git_commit]))
"""


@pytest.fixture(scope="module")
def image(docker: Docker, pilot: Path) -> Iterator[str]:
    with built(docker, pilot, "pipeline", "--target", "pipeline", "--build-arg", f"GIT_COMMIT={COMMIT}") as identifier:
        yield identifier


@pytest.fixture
def volume(docker: Docker, pilot: Path, image: str) -> Iterator[str]:
    """The pilot's data folder, with the example's operational system in it and nothing else."""
    name = docker("volume", "create")
    source = pilot / "data/operational.duckdb"
    mounts = ["--volume", f"{name}:/app/data", "--volume", f"{source}:/seed.duckdb:ro"]
    docker("run", "--rm", *mounts, image, "cp", "/seed.duckdb", "/app/data/operational.duckdb")
    yield name
    for container in docker("ps", "--all", "--quiet", "--filter", f"volume={name}").split():
        with suppress(AssertionError):  # it goes by itself, and may be gone
            docker("rm", "--force", container)
    docker("volume", "rm", "--force", name)


@contextmanager
def running(command: list[object], environment: dict[str, str], log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("a") as out:
        process = subprocess.Popen(
            list(map(str, command)), env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_a_work_pool_runs_flows_in_containers(
    docker: Docker, pilot: Path, image: str, volume: str, tracking: Tracking, tmp_path: Path
) -> None:
    """Ingest and score, each as a container that Prefect's Docker worker starts; told by the pool alone."""
    address = gateway(docker)
    port = free_port(address)
    registry = tracking.environment["MLFLOW_TRACKING_URI"]
    environment = docker.environment | {
        "GROUNDWORK_HOME": str(pilot),
        "GROUNDWORK_DATA": str(tmp_path / "data"),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_API_URL": f"http://{address}:{port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "true",
    }

    def pilots(*command: object) -> str:
        done = subprocess.run(
            [str(word) for word in command],
            env=environment,
            cwd=pilot,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, f"{done.stdout}{done.stderr}\n{log.read_text()[-8000:]}"
        return done.stdout

    log = tmp_path / "log"
    prefect, python = pilot / ".venv/bin/prefect", pilot / ".venv/bin/python"
    with running([prefect, "server", "start", "--host", address, "--port", port], environment, log) as server:
        deadline = time.monotonic() + PATIENCE
        while not reachable(f"http://{address}:{port}/api/health"):
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.5)
        template = tmp_path / "pool.json"
        pilots(prefect, "work-pool", "get-default-base-job-template", "--type", "docker", "--file", template)
        job = json.loads(template.read_text(encoding="utf-8"))
        told = job["variables"]["properties"]
        signer, _, key = tracking.trusted.partition("=")
        pilots(python, "-c", SECRET, key)
        told["env"]["default"] = {"MLFLOW_TRACKING_URI": registry, signer: "{{ prefect.blocks.secret.signer }}"}
        told["volumes"]["default"] = [f"{volume}:/app/data"]
        told["auto_remove"]["default"] = True
        told["image_pull_policy"]["default"] = "Never"  # it is in no registry
        template.write_text(json.dumps(job), encoding="utf-8")
        pilots(prefect, "work-pool", "create", "--type", "docker", "--base-job-template", template, "pilots")
        pilots(pilot / ".venv/bin/groundwork", "deploy", "--pool", "pilots", "--image", image)

        command = ["uv", "run", "--no-sync", "--project", pilot, "--with", "prefect-docker"]
        with running([*command, "prefect", "worker", "start", "--pool", "pilots"], environment, log):
            for flow in ("ingest", "score"):
                assert pilots(python, "-c", RUN_A_FLOW, flow).startswith("Completed"), log.read_text()[-8000:]
    rows, commit = json.loads(docker("run", "--rm", "--volume", f"{volume}:/app/data", image, "python", "-c", LEFT))
    assert rows == 336_776
    assert commit == COMMIT
