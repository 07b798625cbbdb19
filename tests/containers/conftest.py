"""What the container tests share: an engine, the pilot's image, an MLflow server with a champion, the service."""

import fcntl
import hashlib
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from support import free_port

HERE = Path(__file__).parent
WORK = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "groundwork" / "docker"
CANNOT = 77  # how engine.sh and base_images.sh say that it is the machine's fault
IN_CONTAINER = "host.docker.internal"  # the name by which containers reach this machine

# Asks Prefect's server, in the pilot's environment: starts a run of a flow and waits until it has ended.
RUN_A_FLOW = """
import sys, time
from prefect import get_client
with get_client(sync_client=True) as client:
    deployment = client.read_deployment_by_name(f"{sys.argv[1]}/scheduled")
    run = client.create_flow_run_from_deployment(deployment.id)
    while not (run := client.read_flow_run(run.id)).state.is_final():
        time.sleep(1)
print(run.state.name, run.state.message)
"""

figures: dict[str, str] = {}  # measured on the way, told at the end


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures:
        terminalreporter.section("container")
        for name, figure in figures.items():
            terminalreporter.write_line(f"{name:24}{figure}")


@contextmanager
def timed(name: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    figures[name] = f"{time.monotonic() - began:.1f} s"


class Docker:
    """The docker command, pointed at the engine."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = os.environ | environment

    def __call__(self, *arguments: object) -> str:
        """What the command printed; its complaint, if it failed, is the test's."""
        command = ["docker", *map(str, arguments)]
        done = subprocess.run(command, env=self.environment, text=True, capture_output=True)
        assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        return done.stdout.strip()


KEY = "known to these tests alone"
KEYS = f"tests:predict+outcomes+admin:{hashlib.sha256(KEY.encode()).hexdigest()}"


class Answer(NamedTuple):
    status: int
    body: Any


class Container:
    """A running container of the service."""

    def __init__(self, docker: Docker, identifier: str) -> None:
        self.docker, self.id = docker, identifier
        self.address = docker("port", identifier, "8000/tcp").splitlines()[0]

    def state(self, path: str) -> Any:
        return json.loads(self.docker("inspect", "--format", f"{{{{json .{path}}}}}", self.id))

    def python(self, code: str) -> str:
        """What Python prints inside the container, as the service's own user."""
        return self.docker("exec", self.id, "python", "-c", code)

    def ask(self, path: str, body: object = None, key: str = KEY) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"http://{self.address}{path}", data, headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                status, content = response.status, response.read()
        except urllib.error.HTTPError as refusal:
            status, content = refusal.code, refusal.read()
        return Answer(status, json.loads(content) if content else None)

    def wait_until(self, reached: Callable[[], bool], what: str, seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            state = self.state("State")
            if not state["Running"] or time.monotonic() > deadline:
                logs = subprocess.run(
                    ["docker", "logs", self.id], env=self.docker.environment, text=True, capture_output=True
                )
                pytest.fail(f"the container did not become {what}: {state}\n{logs.stdout}{logs.stderr}")
            time.sleep(0.2)

    def wait_until_live(self) -> None:
        def live() -> bool:
            try:
                return self.ask("/health/live").status == 200
            except OSError:
                return False

        self.wait_until(live, "live")

    def wait_until_healthy(self) -> None:
        self.wait_until(lambda: self.state("State.Health.Status") == "healthy", "healthy")


def must(script: str, *arguments: str, environment: dict[str, str]) -> str:
    """Run one of the scripts beside this file; where it says that the machine cannot, skip, but in CI fail."""
    done = subprocess.run([HERE / script, *arguments], env=os.environ | environment, text=True, capture_output=True)
    if done.returncode == CANNOT and os.environ.get("CI") != "true":
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, f"{script} {shlex.join(arguments)}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    """An engine: the one that answers, else one of our own, which ends with the last test run that uses it."""
    WORK.mkdir(parents=True, exist_ok=True)
    with (WORK / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)  # goes with this process, however that ends
        with timed("engine started"):
            words = shlex.split(must("engine.sh", "start", environment={}))
        ours = dict(word.split("=", 1) for word in words if word != "export")
        try:
            with timed("base images made"):
                must("base_images.sh", environment=ours)
            yield Docker(ours)
        finally:
            fcntl.flock(users, fcntl.LOCK_UN)
            if ours:
                must("engine.sh", "stop", environment=ours)


@contextmanager
def built(docker: Docker, pilot: Path, what: str, *options: str) -> Iterator[str]:
    """An image of the pilot, by its id: no tag for test runs side by side to take from each other."""
    bundle = Path(os.environ.get("SSL_CERT_FILE", ""))  # set where a proxy has a certificate of its own
    secret = ["--secret", f"id=ca_bundle,src={bundle}"] if bundle.is_file() else []
    with timed(f"{what} built"):
        identifier = docker("build", "--quiet", *secret, *options, pilot)
    figures[f"{what} size"] = f"{int(docker('inspect', '--format', '{{.Size}}', identifier)) / 1e6:.0f} MB"
    yield identifier
    with suppress(AssertionError):  # a test run beside this one may still use the very same
        docker("image", "rm", "--force", identifier)


@pytest.fixture(scope="session")
def image(docker: Docker, pilot: Path) -> Iterator[str]:
    """The service's image."""
    with built(docker, pilot, "image") as identifier:
        yield identifier


class Tracking(NamedTuple):
    """An MLflow server that knows a champion."""

    uri: str  # as containers reach it
    environment: dict[str, str]  # of the pilot's commands on this machine that are to use it
    trusted: str  # the variable that names who signed the champion


@pytest.fixture(scope="session")
def tracking(docker: Docker, pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """The pilot moved from its laptop files to a server: its data as it was, a champion trained and promoted there."""
    folder = tmp_path_factory.mktemp("tracking")
    shutil.copytree(
        pilot / "data", folder / "data", ignore=shutil.ignore_patterns("ml*", "prefect", "champion", "groundwork.db*")
    )
    address = gateway(docker)
    port = free_port(address)
    environment = os.environ | {
        "GROUNDWORK_HOME": str(pilot),
        "GROUNDWORK_DATA": str(folder / "data"),
        "MLFLOW_TRACKING_URI": f"http://{address}:{port}",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # or it starts processes that nobody here needs
    }
    orphaned = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []  # it ends if we are killed
    command = [
        *orphaned, pilot / ".venv/bin/mlflow", "server", "--host", address, "--port", port, "--workers", 1,
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db",
        "--serve-artifacts", "--artifacts-destination", folder / "artifacts",
        "--allowed-hosts", f"{address}:{port},{IN_CONTAINER}:{port}",
    ]  # fmt: skip
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            list(map(str, command)), env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 120
        while not reachable(f"http://{address}:{port}/health"):
            if server.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the MLflow server does not answer:\n{(folder / 'server.log').read_text()}")
            time.sleep(0.2)
        trained = subprocess.run(
            [pilot / ".venv/bin/groundwork", "train"], env=environment, cwd=pilot, text=True, capture_output=True
        )
        assert trained.returncode == 0, trained.stdout + trained.stderr
        trusted = subprocess.check_output(
            [pilot / ".venv/bin/groundwork", "signer"], env=environment, cwd=pilot, text=True
        )
        yield Tracking(f"http://{IN_CONTAINER}:{port}", environment, trusted.strip())
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def gateway(docker: Docker) -> str:
    """Where containers reach this machine: at the bridge, or on loopback if Docker runs in a machine of its own."""
    address = docker("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
    with socket.socket() as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return "127.0.0.1"
    return address


def reachable(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


Run = Callable[..., AbstractContextManager[Container]]


@pytest.fixture(scope="session")
def run(docker: Docker, image: str, tracking: Tracking) -> Run:
    """Runs the image, hardened as the runbook says, with an empty data volume that goes with the container."""

    @contextmanager
    def running(*options: str) -> Iterator[Container]:
        identifier = docker(
            "run", "--detach", "--publish", "127.0.0.1::8000",
            "--read-only", "--tmpfs", "/tmp", "--volume", "/app/data",
            "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
            "--add-host", f"{IN_CONTAINER}:host-gateway", "--env", f"MLFLOW_TRACKING_URI={tracking.uri}",
            "--env", f"GROUNDWORK_API_KEYS={KEYS}", "--env", tracking.trusted,
            *options, image,
        )  # fmt: skip
        try:
            yield Container(docker, identifier)
        finally:
            docker("rm", "--force", "--volumes", identifier)

    return running


@pytest.fixture(scope="session")
def service(run: Run) -> Iterator[Container]:
    """The service in its container, healthy."""
    with run() as container:
        with timed("healthy after"):
            container.wait_until_healthy()
        yield container
