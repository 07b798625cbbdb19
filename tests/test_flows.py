"""Flows on schedules, met as their users meet them: a real Prefect server, a real worker, real kills."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import ROOT, free_port

pytestmark = pytest.mark.soak

FLOWS = {"ingest", "monitor", "prove", "retrain", "score", "train"}
PATIENCE = 600  # seconds; a busy machine takes a minute to start what takes five seconds else

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
        port = free_port()
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
        return self.run(*self.command("groundwork", *words), code=code, api=api)

    def run(self, *command: str, code: int = 0, api: str = "") -> str:
        done = subprocess.run(
            command,
            cwd=self.home,
            env=self.environment | ({"PREFECT_API_URL": api} if api else {}),
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == code, done.stdout + self.said()
        return done.stdout

    def ask(self, path: str, **asked: Any) -> Any:
        """What Prefect's server answers: to a GET, or to a POST where something is asked.

        Asked again on 503, as Prefect's own client does: the server says so while its SQLite file is locked.
        """
        request = urllib.request.Request(
            f"{self.api}/{path}",
            json.dumps(asked).encode() if asked else None,
            {"Content-Type": "application/json"},
        )
        for attempt in range(5):
            try:
                with urllib.request.urlopen(request, timeout=60) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as refusal:
                if refusal.code != 503 or attempt == 4:
                    raise
                time.sleep(2)

    def start(self, flow: str) -> str:
        """A run of the flow's deployment."""
        deployment = self.ask(f"deployments/name/{flow}/scheduled")["id"]
        return str(self.ask(f"deployments/{deployment}/create_flow_run", state={"type": "SCHEDULED"})["id"])

    def artifacts(self) -> set[str]:
        return {each["key"] for each in self.ask("artifacts/filter", limit=200)}

    def deployments(self) -> list[dict[str, Any]]:
        return list(self.ask("deployments/filter", limit=200))

    def scheduled(self) -> set[str]:
        """The flows that have a run ahead of them."""
        flows = {flow["id"]: flow["name"] for flow in self.ask("flows/filter", limit=200)}
        ahead = {"state": {"name": {"any_": ["Scheduled"]}}}
        return {flows[run["flow_id"]] for run in self.ask("flow_runs/filter", flow_runs=ahead)}

    def is_tried_again(self, run: str) -> bool:
        tasks = self.ask("task_runs/filter", flow_runs={"id": {"any_": [run]}})
        return any(
            task["name"].startswith("ingest-attempt") and task["state_name"] == "AwaitingRetry" for task in tasks
        )

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
            state = self.ask(f"flow_runs/{run}")["state"]
            return state if state["name"] in wanted else None

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
        assert children(ingest.pid, "prefect") == []  # a command alone needs no server
        refused = own.groundwork("ingest", code=1)
        assert "another ingest is running" in refused
        ingest.send_signal(signal.SIGKILL)
        ingest.wait()
    own.still.unlink()
    own.groundwork("score")
    assert not mark.exists()
    status = own.groundwork("status")
    [line] = [line for line in status.splitlines() if "ingest" in line and "✗" in line]
    assert "its process was killed, or the machine went down" in line
    assert "✓ ingest" in status  # that of before


def test_the_server_of_a_worker_does_not_outlive_it(own: Pilot) -> None:
    with own.running("groundwork", "worker") as worker:
        own.wait(lambda: answers(own), worker)
        [server] = children(worker.pid, "groundwork.pipeline.prefect_server")
    own.wait(lambda: server not in processes())  # the worker was killed
    assert not answers(own)


def test_the_worker_keeps_the_schedules(own: Pilot) -> None:
    """One worker through a day: runs, a run too many, a kill, an outage, and the end."""
    with own.running("groundwork", "worker") as worker:
        own.wait(lambda: answers(own), worker)
        own.wait(lambda: own.scheduled() == FLOWS, worker)
        assert "a worker already runs" in own.groundwork("worker", code=1)

        own.still.touch()
        first = own.start("ingest")
        own.wait(own.under_way, worker)
        second = own.start("ingest")
        assert own.wait(own.state(second, "Cancelled"))["message"] == "Deployment concurrency limit reached."
        [engine] = children(worker.pid, "prefect.engine")
        os.kill(engine, signal.SIGKILL)
        own.wait(own.state(first, "Crashed"))
        own.wait(lambda: not own.under_way())  # the worker has told the store
        assert "its process was killed" in own.groundwork("status")
        own.still.unlink()

        source = own.data / "operational.duckdb"
        away = source.rename(source.with_suffix(".away"))
        third = own.start("ingest")
        own.wait(lambda: own.is_tried_again(third), worker)
        away.rename(source)
        own.wait(own.state(third, "Completed"), worker)
        assert "ingest" in own.artifacts()
        with closing(sqlite3.connect(own.data / "groundwork.db")) as store:
            kept = store.execute("select on_schedule from proofs where check_id = 'data-schema' order by proven_at")
            assert [by_worker for (by_worker,) in kept][-1:] == [1]  # before, it was run by hand

        own.groundwork("score")  # by hand, and yet on the worker's server
        assert "score" in own.artifacts()

        own.still.touch()
        last = own.start("ingest")
        own.wait(own.under_way, worker)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0, own.said()
        took = time.monotonic() - began
        assert took < 60, own.said()
        own.still.unlink()
    with own.running("prefect", "server", "start", "--port", own.api.rsplit(":", 1)[1].removesuffix("/api")) as server:
        own.wait(lambda: answers(own), server)
        assert own.ask(f"flow_runs/{last}")["state"]["name"] in ("Cancelled", "Crashed")
        assert {each["entrypoint"].rpartition(".")[2]: each["paused"] for each in own.deployments()} == dict.fromkeys(
            FLOWS, False
        )


# Turns back, in the store, when the run was last heard of: an hour goes by.
AN_HOUR_LATER = """
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as store:
    query = "update runs_under_way set heard_at = strftime('%Y-%m-%dT%H:%M:%f+00:00', heard_at, '-1 hour')"
    assert store.execute(query).rowcount >= 1
"""


def test_a_run_of_a_machine_that_is_gone_is_told_by_the_next_run_elsewhere(own: Pilot) -> None:
    """Its folder is gone with it; what is left of it is in the store and on Prefect's server."""
    there = {"PREFECT_API_URL": own.api}
    with own.running("prefect", "server", "start", "--port", own.api.rsplit(":", 1)[1].removesuffix("/api")) as server:
        own.wait(lambda: answers(own), server)
        own.still.touch()
        with own.running("groundwork", "ingest", **there) as ingest:
            [mark] = own.wait(own.under_way, ingest)
            own.wait(lambda: "… ingest" in own.groundwork("status"), ingest)
            ingest.send_signal(signal.SIGKILL)
            ingest.wait()
        own.still.unlink()
        shutil.rmtree(own.data / "runs")
        own.groundwork("score", api=own.api)
        assert own.state(mark.stem, "Running")()  # it may only be slow
        subprocess.run([*own.command("python", "-c", AN_HOUR_LATER), str(own.data / "groundwork.db")], check=True)
        assert "its process was killed, or the machine went down" in own.groundwork("status")
        assert "… ingest" not in own.groundwork("status")
        own.groundwork("score", api=own.api)
        assert own.state(mark.stem, "Crashed")()
        assert "its process was killed, or the machine went down" in own.groundwork("status")


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
    refused = own.groundwork("deploy", "--pool", "docker", code=1, api=own.api)
    assert "give the pipeline's container image with --image" in refused
    for kind in ("docker", "kubernetes"):
        own.groundwork("deploy", "--pool", kind, "--image", "late-flights:1", api=own.api)
        for each in own.deployments():
            assert (each["work_pool_name"], each["job_variables"]["image"]) == (kind, "late-flights:1")
    own.groundwork("deploy", "--pool", "process", api=own.api)
    with own.running("prefect", "worker", "start", "--pool", "process", **there) as worker:
        run = own.start("score")
        own.wait(own.state(run, "Completed"), worker)


# In the pilot's environment and that of Prefect's Kubernetes worker: the job that this worker would send for a run.
JOB = """
import asyncio, json, sys
import kubernetes_validate
from prefect import get_client
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

async def job(run):
    async with get_client() as client:
        run = await client.read_flow_run(run)
        pool = await client.read_work_pool("kubernetes")
        return await KubernetesWorkerJobConfiguration.resolve_for_flow_run(
            run, client=client, work_pool=pool, worker_name="tests"
        )

manifest = asyncio.run(job(sys.argv[1])).job_manifest
for misplaced in ("completions", "parallelism"):  # by Prefect, which puts a job's fields into its pods
    del manifest["spec"]["template"]["spec"][misplaced]
kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
manifest["spec"]["template"]["spec"]["volumez"] = []
try:
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
except kubernetes_validate.ValidationError:
    del manifest["spec"]["template"]["spec"]["volumez"]
else:
    sys.exit("a slip of the pen is not noticed")
print(json.dumps(manifest))
"""


def test_a_pool_on_kubernetes_starts_jobs_that_kubernetes_accepts(own: Pilot) -> None:
    """There is no cluster here: the job that the worker would send is held against the schema of Kubernetes' API."""
    page = (ROOT / "docs/how-to/run-on-a-schedule.md").read_text(encoding="utf-8")
    [told] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    packages = ["--with", "prefect-kubernetes", "--with", "kubernetes-validate"]
    uv = ["uv", "run", "--quiet", "--no-sync", *packages]
    with own.running("prefect", "server", "start", "--port", own.api.rsplit(":", 1)[1].removesuffix("/api")) as server:
        own.wait(lambda: answers(own), server)
        template = own.data.parent / "pool.json"
        asked = (
            "prefect",
            "work-pool",
            "get-default-base-job-template",
            "--type",
            "kubernetes",
            "--file",
            str(template),
        )
        own.run(*uv, *asked, api=own.api)
        job = json.loads(template.read_text(encoding="utf-8"))
        pod = job["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
        pod["containers"][0] |= told.pop("containers")[0]
        pod |= told
        job["variables"]["properties"]["env"]["default"] = {"MLFLOW_TRACKING_URI": "https://mlflow.example.com"}
        template.write_text(json.dumps(job), encoding="utf-8")
        create = ("prefect", "work-pool", "create", "--type", "kubernetes", "--base-job-template", str(template))
        own.run(*uv, *create, "--overwrite", "kubernetes", api=own.api)
        own.groundwork("deploy", "--pool", "kubernetes", "--image", "late-flights:1", api=own.api)
        manifest = json.loads(own.run(*uv, "python", "-c", JOB, own.start("score"), api=own.api).splitlines()[-1])
    spec = manifest["spec"]["template"]["spec"]
    [container] = spec["containers"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert container["image"] == "late-flights:1"
    assert environment["MLFLOW_TRACKING_URI"] == "https://mlflow.example.com"
    assert environment["DO_NOT_TRACK"] == "true"
    assert container["envFrom"] == [{"secretRef": {"name": "late-flights"}}]
    assert container["args"][:1] == ["prefect"]
    assert spec["volumes"][0]["name"] == container["volumeMounts"][0]["name"]


def answers(own: Pilot) -> bool:
    try:
        own.scheduled()
    except OSError:
        return False
    return True
