"""Flows on schedules, met as their users meet them: a real Prefect server, a real worker, real kills."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

PATIENCE = 600  # seconds; a busy machine takes a minute to start what takes five seconds else

# Asks Prefect's server, in the pilot's environment, and prints JSON.
ASK = """
import json, sys
from prefect import get_client
from prefect.client.schemas.filters import DeploymentFilter
verb, *words = sys.argv[1:]
with get_client(sync_client=True) as client:
    if verb == "start":
        deployment = client.read_deployment_by_name(f"{words[0]}/scheduled")
        print(json.dumps(str(client.create_flow_run_from_deployment(deployment.id).id)))
    elif verb == "run":
        run = client.read_flow_run(words[0])
        print(json.dumps({"state": run.state.name, "message": run.state.message}))
    elif verb == "tasks":
        from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
        tasks = client.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[words[0]])))
        print(json.dumps({task.name.rsplit("-", 1)[0]: task.state.name for task in tasks}))
    elif verb == "scheduled":
        flows = {flow.id: flow.name for flow in client.read_flows()}
        runs = [run for run in client.read_flow_runs() if run.state.name == "Scheduled"]
        print(json.dumps(sorted({flows[run.flow_id] for run in runs})))
    elif verb == "artifacts":
        print(json.dumps([each.key for each in client.read_artifacts()]))
    elif verb == "deployments":
        print(json.dumps([
            {"flow": each.entrypoint.rpartition(".")[2], "paused": each.paused, "tags": each.tags,
             "pool": each.work_pool_name, "job": each.job_variables}
            for each in client.read_deployments()
        ]))
"""

# Read at the start of every Python process of the pilot: ingest stands still where the tests kill it.
SLOW = """
import os, time
if os.path.exists(os.environ.get("STAND_STILL", "")):
    from use_case import source  # not the flows: Prefect reads its settings when it is imported
    source.rows = lambda *_: time.sleep(3600)
"""


class Pilot:
    """The pilot with a data folder of its own, and its commands."""

    def __init__(self, home: Path, folder: Path) -> None:
        self.home = home
        self.data = folder / "data"
        shutil.copytree(home / "data", self.data, ignore=shutil.ignore_patterns("prefect", "runs"))
        self.still = folder / "still"
        (folder / "sitecustomize.py").write_text(SLOW)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.environment = os.environ | {
            "GROUNDWORK_DATA": str(self.data),
            "PREFECT_HOME": str(self.data / "prefect"),
            "PREFECT_SERVER_API_PORT": str(port),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "DO_NOT_TRACK": "true",
            "PYTHONPATH": str(folder),
            "STAND_STILL": str(self.still),
        }
        self.api = f"http://127.0.0.1:{port}/api"
        self.log = folder / "log"

    def command(self, *words: str) -> list[str]:
        return [str(self.home / ".venv/bin" / words[0]), *words[1:]]

    def groundwork(self, *words: str, code: int = 0, api: str = "") -> str:
        done = subprocess.run(
            self.command("groundwork", *words),
            cwd=self.home,
            env=self.environment | ({"PREFECT_API_URL": api} if api else {}),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == code, done.stdout + self.said()
        return done.stdout

    def ask(self, *words: str) -> Any:
        command = self.command("python", "-c", ASK, *words)
        asked = subprocess.run(
            command,
            env=self.environment | {"PREFECT_API_URL": self.api},
            text=True,
            capture_output=True,
            check=True,
        )
        return json.loads(asked.stdout)

    def said(self) -> str:
        return self.log.read_text()[-6000:] if self.log.exists() else ""

    @contextmanager
    def running(self, *words: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A command in the background, killed at the end if it is still there."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                self.command(*words), cwd=self.home, env=self.environment | environment, stdout=log, stderr=log
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def wait(self, what: Callable[[], Any], process: "subprocess.Popen[bytes] | None" = None) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := what()):
            assert process is None or process.poll() is None, self.said()
            assert time.monotonic() < deadline, self.said()
            time.sleep(0.2)
        return found

    def state(self, run: str, *wanted: str) -> Callable[[], Any]:
        def reached() -> Any:
            state = self.ask("run", run)
            return state if state["state"] in wanted else None

        return reached

    def under_way(self) -> list[Path]:
        return [path for path in (self.data / "runs").glob("*.run") if path.stat().st_size]


def processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent and its command line."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found[int(folder.name)] = (int(stat.rpartition(") ")[2].split()[1]), command)
    return found


def children(parent: int, word: str) -> list[int]:
    return [pid for pid, (of, command) in processes().items() if of == parent and word in command]


@pytest.fixture(scope="module")
def own(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    return Pilot(pilot, tmp_path_factory.mktemp("flows"))


def test_a_flow_that_is_killed_by_hand_is_told_by_whatever_starts_next(own: Pilot) -> None:
    own.still.touch()
    with own.running("groundwork", "ingest") as ingest:
        [mark] = own.wait(own.under_way, ingest)
        [server] = children(ingest.pid, "groundwork.pipeline.server")
        refused = own.groundwork("ingest", code=1)
        assert "another run of ingest is under way" in refused
        ingest.send_signal(signal.SIGKILL)
        ingest.wait()
    own.still.unlink()
    own.wait(lambda: server not in processes())  # the server does not outlive it
    own.groundwork("score")
    assert not mark.exists()
    status = own.groundwork("status")
    [line] = [line for line in status.splitlines() if "ingest" in line and "✗" in line]
    assert "its process was killed, or the machine went down" in line
    assert "✓ ingest" in status  # that of before
    with own.running("groundwork", "worker") as worker:
        own.wait(lambda: answers(own), worker)
        own.wait(own.state(mark.stem, "Crashed"), worker)


def test_the_worker_keeps_the_schedules(own: Pilot) -> None:
    """One worker through a day: runs, a run too many, a kill, an outage, and the end."""
    with own.running("groundwork", "worker") as worker:
        own.wait(lambda: answers(own), worker)
        own.wait(lambda: own.ask("scheduled") == ["ingest", "monitor", "retrain", "score", "train"], worker)
        assert "a worker runs already" in own.groundwork("worker", code=1)

        own.still.touch()
        first = own.ask("start", "ingest")
        own.wait(own.under_way, worker)
        second = own.ask("start", "ingest")
        assert own.wait(own.state(second, "Cancelled"))["message"] == "Deployment concurrency limit reached."
        [engine] = children(worker.pid, "prefect.engine")
        os.kill(engine, signal.SIGKILL)
        own.wait(own.state(first, "Crashed"))
        own.wait(lambda: not own.under_way())  # the worker has told the store
        assert "its process was killed" in own.groundwork("status")
        own.still.unlink()

        source = own.data / "operational.duckdb"
        away = source.rename(source.with_suffix(".away"))
        third = own.ask("start", "ingest")
        own.wait(lambda: own.ask("tasks", third).get("ingest-attempt") == "AwaitingRetry", worker)
        away.rename(source)
        own.wait(own.state(third, "Completed"), worker)
        assert "ingest" in own.ask("artifacts")

        own.groundwork("score")  # by hand, and yet on the worker's server
        assert "score" in own.ask("artifacts")

        own.still.touch()
        last = own.ask("start", "ingest")
        own.wait(own.under_way, worker)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0, own.said()
        took = time.monotonic() - began
        assert took < 60, own.said()
        own.still.unlink()
    with own.running("prefect", "server", "start", "--port", own.api.rsplit(":", 1)[1].removesuffix("/api")) as server:
        own.wait(lambda: answers(own), server)
        assert own.ask("run", last)["state"] in ("Cancelled", "Crashed")
        assert {each["flow"]: each["paused"] for each in own.ask("deployments")} == dict.fromkeys(
            ["ingest", "monitor", "retrain", "score", "train"], False
        )


def test_a_work_pool_runs_the_flows(own: Pilot) -> None:
    """A pool whose workers are processes runs one; of pools that start containers, what they are told is looked at."""
    with own.running("prefect", "server", "start", "--port", own.api.rsplit(":", 1)[1].removesuffix("/api")) as server:
        own.wait(lambda: answers(own), server)
        in_pools(own)


def in_pools(own: Pilot) -> None:
    there = {"PREFECT_API_URL": own.api}
    for kind in ("process", "docker", "kubernetes"):
        with own.running("prefect", "work-pool", "create", "--type", kind, kind, **there) as creating:
            assert creating.wait(PATIENCE) == 0, own.said()
    assert "there is no work pool nowhere" in own.groundwork("deploy", "--pool", "nowhere", code=1, api=own.api)
    assert "name the pipeline's image with --image" in own.groundwork("deploy", "--pool", "docker", code=1, api=own.api)
    for kind in ("docker", "kubernetes"):
        own.groundwork("deploy", "--pool", kind, "--image", "late-flights:1", api=own.api)
        for each in own.ask("deployments"):
            assert (each["pool"], each["job"]["image"]) == (kind, "late-flights:1")
    own.groundwork("deploy", "--pool", "process", api=own.api)
    with own.running("prefect", "worker", "start", "--pool", "process", **there) as worker:
        run = own.ask("start", "score")
        own.wait(own.state(run, "Completed"), worker)


def answers(own: Pilot) -> bool:
    try:
        own.ask("scheduled")
    except subprocess.CalledProcessError:
        return False
    return True
