"""The whole stack of compose.yaml, brought up, used, killed part by part, backed up, lost and restored.

Grafana alone is not run: without a registry its image cannot be had, and a stand-in only answers that it is well.
"""

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import copier
import pytest

from support import commit, execute, free_port, releases, update

from .conftest import RUN_A_FLOW, Docker, gateway, must, timed

pytestmark = [pytest.mark.container, pytest.mark.soak, pytest.mark.night, pytest.mark.timeout(3600)]

WAREHOUSE = "postgresql://loader:a-loader-for-the-tests-alone@postgres/warehouse"
MAKE_WAREHOUSE = (
    "create role loader login password 'a-loader-for-the-tests-alone'",
    "create database warehouse owner loader",
)

# Fills the warehouse with the flights of four months, in the pipeline's image.
SEED = """
import sys
from pathlib import Path
import ibis
from use_case.seed import release
release(Path("/tmp/flights.duckdb"), 4)
flights = ibis.duckdb.connect("/tmp/flights.duckdb").table("flights").to_pyarrow()
ibis.connect(sys.argv[1]).create_table("flights", flights)
"""

RECORD = {
    "carrier": "B6", "origin": "JFK", "destination": "BOS", "distance_miles": 187, "departure_minute": 1105,
    "arrival_minute": 1180, "weekday": 2, "origin_late_share_yesterday": 0.31,
    "scheduled_departure": "2013-05-07T18:25:00",
}  # fmt: skip
# Panels that may be empty: there is no challenger, and at the end no alert fires.
MAY_BE_EMPTY = ("groundwork_shadow_agreement_share", "groundwork_shadow_rows", "ALERTS{")


class Stack:
    """A pilot whose stack runs in the engine, under a name and on ports of its own."""

    def __init__(self, docker: Docker, project: Path) -> None:
        self.docker, self.project = docker, project
        self.ports = {
            name: free_port() for name in ("SERVICE", "PREFECT", "MLFLOW", "PROMETHEUS", "ALERTMANAGER", "GRAFANA")
        }
        settings = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        self.name = settings["COMPOSE_PROJECT_NAME"] = f"stack-{os.getpid()}"
        settings["CA_BUNDLE"] = os.environ.get("SSL_CERT_FILE") or "/dev/null"
        text = (project / ".env.example").read_text(encoding="utf-8")
        for name, value in settings.items():
            text, replaced = re.subn(rf"(?m)^{name}=.*", f"{name}={value}", text)
            assert replaced == 1, name
        (project / ".env").write_text(text, encoding="utf-8")

    def compose(self, *arguments: str, check: bool = True) -> str:
        return self.run("docker", "compose", "--progress", "quiet", *arguments, check=check)

    def run(self, *command: str, check: bool = True) -> str:
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.docker.environment,
            text=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        told = done.stdout + done.stderr
        if check and done.returncode:
            logs = subprocess.run(
                ["docker", "compose", "logs", "--tail", "30"], cwd=self.project, env=self.docker.environment, text=True,
                capture_output=True,
            )  # fmt: skip
            pytest.fail(
                f"`{shlex.join(command)}` ended with {done.returncode}:\n{told[-4000:]}\n{logs.stdout[-12000:]}"
            )
        return told

    def build(self) -> None:
        """As `docker compose build`, which asks for a newer buildx than Debian's: from the same lines of the file."""
        tags = {"service": f"{self.name}-service:local", "migrate": f"{self.name}-pipeline:local"}
        named = [word for target, tag in tags.items() for word in ("--set", f"{target}.tags={tag}")]
        bundle = f"CA_BUNDLE={os.environ.get('SSL_CERT_FILE') or '/dev/null'}"
        bake = ("docker", "buildx", "bake", "--file", "compose.yaml", "--load", "--progress", "quiet", *named, *tags)
        self.run("env", bundle, *bake)

    def worker(self, *command: str) -> str:
        return self.compose("run", "--rm", "--no-TTY", "--no-deps", "worker", *command)

    def secret(self, name: str) -> str:
        return (self.project / "secrets" / name).read_text(encoding="utf-8")

    def get(self, port: str, path: str) -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[port]}{path}")
        if port == "SERVICE":
            request.add_header("Authorization", f"Bearer {self.secret('admin_key')}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def ask(self, query: str) -> list[Any]:
        """What Prometheus answers."""
        found = self.get("PROMETHEUS", "/api/v1/query?" + urllib.parse.urlencode({"query": query}))
        assert found["status"] == "success", query
        result: list[Any] = found["data"]["result"]
        return result

    def logged(self) -> set[str]:
        """The ids of the predictions in PostgreSQL."""
        query = "select batch_id || lpad(to_hex(n), 8, '0') from prediction_batches, generate_series(0, rows - 1) n"
        psql = ("psql", "--username=postgres", "--no-align", "--tuples-only", f"--command={query}", "groundwork")
        return set(self.compose("exec", "--no-TTY", "postgres", *psql).split())

    def serves(self) -> bool:
        try:
            return bool(self.get("SERVICE", "/health/ready")["model_version"] == "1")
        except (OSError, KeyError):
            return False

    def healthy(self) -> bool:
        states = self.compose("ps", "--format", "{{.Service}} {{.Health}}").splitlines()
        return len(states) == 9 and all(state.endswith(" healthy") for state in states)


def wait_until(reached: Callable[[], object], what: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(1)


class Client(threading.Thread):
    """Asks for one prediction after the other, and keeps what was answered."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.stack = stack
        self.acknowledged: list[str] = []
        self.refused: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        number = 0
        address = f"http://127.0.0.1:{self.stack.ports['SERVICE']}/predict"
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.stack.secret('client_key')}"}
        while not self.ended.wait(0.05):
            number += 1
            body = json.dumps({"records": [RECORD | {"flight_id": f"20130507-B6-{number}-JFK"}]}).encode()
            try:
                with urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30) as answer:
                    self.acknowledged += [each["prediction_id"] for each in json.load(answer)["predictions"]]
            except (OSError, ValueError) as error:
                self.refused.append(repr(error))

    @contextmanager
    def asking(self) -> Iterator["Client"]:
        self.start()
        try:
            yield self
        finally:
            self.ended.set()
            self.join(60)


@contextmanager
def mailbox(address: str) -> Iterator[tuple[int, list[str]]]:
    """A mail server that keeps what it is sent: its port, and the mails."""
    mails: list[str] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mailbox\r\n")
        while line := (await reader.readline()).decode().strip().upper():
            if line.startswith("DATA"):
                writer.write(b"354 go on\r\n")
                mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if line.startswith("QUIT") else b"250 mailbox\r\n")
            await writer.drain()
            if line.startswith("QUIT"):
                break
        writer.close()

    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(receive, address, 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1], mails
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@pytest.fixture
def mails(docker: Docker) -> Iterator[tuple[str, list[str]]]:
    address = gateway(docker)
    with mailbox(address) as (port, received):
        yield f"{address}:{port}", received


@contextmanager
def up(docker: Docker, pilot: Path, project: Path, mail_server: str) -> Iterator[Stack]:
    """The project's stack, up and healthy; nothing is trained yet."""
    must("stack/images.sh", environment=docker.environment)
    stack = Stack(docker, project)
    owners = (project / "OWNERS").read_text(encoding="utf-8")
    reached = owners.replace('    handle: "alan"', '    handle: "alan"\n    email: alan@example.com')
    assert reached != owners
    (project / "OWNERS").write_text(reached)
    groundwork = {"GROUNDWORK_HOME": str(project), "PYTHONPATH": str(project / "src")}
    for command in (["-m", "groundwork.cli.main", "owners"], ["ops/compose/make_secrets.py"]):
        done = subprocess.run([pilot / ".venv/bin/python", *command], cwd=project, env=os.environ | groundwork)
        assert done.returncode == 0
    routes = project / "ops/prometheus/alertmanager.yml"
    routes.write_text(routes.read_text().replace("localhost:25", mail_server))
    (project / "secrets/source_url").write_text(WAREHOUSE)
    try:
        with timed("stack built"):
            stack.build()
        with timed("stack up"):
            stack.compose("up", "--detach", "--wait")
        yield stack
    finally:
        stack.compose("down", "--volumes", "--timeout", "5", check=False)
        for image in ("service", "pipeline"):
            stack.run("docker", "image", "rm", f"{stack.name}-{image}:local", check=False)


@pytest.fixture
def stack(docker: Docker, pilot: Path, mails: tuple[str, list[str]], tmp_path: Path) -> Iterator[Stack]:
    """The stack of this code, with an operational system in PostgreSQL."""
    project = tmp_path / "late-flights"
    own = {".venv", "data", ".git", ".env", "secrets"}  # at the top alone: there is a groundwork/data
    shutil.copytree(pilot, project, ignore=lambda folder, names: own & set(names) if Path(folder) == pilot else set())
    with up(docker, pilot, project, mails[0]) as stack:
        yield stack


@pytest.fixture
def released(
    docker: Docker,
    pilot: Path,
    template: Path,
    late_flights: dict[str, Any],
    mails: tuple[str, list[str]],
    tmp_path: Path,
) -> Iterator[Stack]:
    """The stack of a pilot of the last recorded release."""
    project = tmp_path / "late-flights"
    copier.run_copy(
        str(template), project, late_flights, vcs_ref=f"v{releases()[0]['version']}", defaults=True, quiet=True
    )
    execute(project, "uv", "lock", "--quiet")
    with up(docker, pilot, project, mails[0]) as stack:
        yield stack


def test_an_upgrade_keeps_the_volumes_of_the_release_before(released: Stack) -> None:
    """The champion, the log and the snapshots; and what is logged meanwhile is in the log, too."""
    trains_a_champion(released)
    with Client(released).asking() as client:
        wait_until(lambda: len(client.acknowledged) > 20, "predictions are answered")
        commit(released.project)
        update(released.project)
        execute(released.project, "uv", "lock", "--quiet")
        assert "<<<<<<<" not in released.run("git", "diff")
        released.build()
        with timed("stack: upgrade"):
            released.compose("up", "--detach", "--wait")
        wait_until(released.serves, "the service has the champion")
        answered = len(client.acknowledged)
        wait_until(lambda: len(client.acknowledged) > answered + 20, "predictions are answered")
    assert set(client.acknowledged) <= released.logged()
    assert "champion  version 1" in released.worker("groundwork", "status")
    assert "109,119 rows in" in released.worker(
        "groundwork", "ingest", "--since", "2013-01-01", "--until", "2013-05-01"
    )
    assert "version 2" in released.worker("groundwork", "train")


def test_the_stack_carries_a_pilot_through_failures_and_a_restore(
    stack: Stack, mails: tuple[str, list[str]], tmp_path: Path
) -> None:
    refuses_default_passwords(stack)
    trains_a_champion(stack)
    with Client(stack).asking() as client:
        alerts_the_owner(stack, mails[1])
        answers_the_dashboards(stack)
        survives_kills(stack, client)
    assert len(client.acknowledged) > 100
    assert set(client.acknowledged) <= stack.logged()
    comes_back_from_a_backup(stack, tmp_path / "backup.tar.gz", client.acknowledged)


def refuses_default_passwords(stack: Stack) -> None:
    kept = stack.secret("groundwork_password")
    (stack.project / "secrets/groundwork_password").write_text("groundwork")
    said = stack.compose("run", "--rm", "--no-TTY", "--no-deps", "service", check=False)
    assert "the secret PGPASSWORD has 10 characters, and needs 20" in said
    (stack.project / "secrets/groundwork_password").write_text(kept)


def trains_a_champion(stack: Stack) -> None:
    for statement in MAKE_WAREHOUSE:
        stack.compose(
            "exec", "--no-TTY", "postgres", "psql", "--quiet", "--username=postgres", f"--command={statement}"
        )
    stack.worker("python", "-c", SEED, WAREHOUSE)
    with timed("stack: ingest"):
        assert "109,119 rows in" in stack.worker("groundwork", "ingest")
    with timed("stack: train"):
        assert "version 1 is now the champion" in stack.worker("groundwork", "train")
    wait_until(stack.serves, "the service has the champion")


def alerts_the_owner(stack: Stack, received: list[str]) -> None:
    """While the service is stopped, its owner gets a mail; and the flows run as Prefect's deployments."""
    wait_until(lambda: stack.ask('groundwork_owner_info{role="service"}'), "Prometheus knows the owner")
    stack.compose("stop", "service")
    for flow in ("score", "monitor"):
        with timed(f"stack: {flow}"):
            assert stack.worker("python", "-c", RUN_A_FLOW, flow).strip().splitlines()[-1].startswith("Completed")
    wait_until(lambda: any("GroundworkServiceDown" in mail for mail in received), "a mail about the service", 600)
    [mail, *_] = [mail for mail in received if "GroundworkServiceDown" in mail]
    assert "alan@example.com" in mail
    assert "Alan Turing" in mail
    stack.compose("start", "service")
    wait_until(stack.serves, "the service is back")


def answers_the_dashboards(stack: Stack) -> None:
    """Prometheus has an answer to the query of each panel."""
    queries = [
        target["expr"].replace("$__rate_interval", "1m")
        for file in sorted((stack.project / "ops/grafana/dashboards").glob("*.json"))
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
    ]
    assert len(queries) > 30
    expected = [query for query in queries if not query.startswith(MAY_BE_EMPTY)]
    assert all(query in expected or stack.ask(query) is not None for query in queries)
    missing = expected

    def answered() -> bool:
        nonlocal missing
        missing = [query for query in missing if not stack.ask(query)]
        return not missing

    try:
        wait_until(answered, "an answer to each query", 120)
    except AssertionError:
        pytest.fail("Prometheus has no answer to " + "\n".join(missing))


def survives_kills(stack: Stack, client: Client) -> None:
    """Each container is killed as a crash would, and starts again; no answer is lost, and few are refused."""
    for service in "worker", "prefect", "mlflow", "objects", "prometheus", "alertmanager", "grafana":
        assert refused_while_killed(stack, client, service) == [], service
    for service in "postgres", "service":  # an answer needs both; what is answered is logged
        refused_while_killed(stack, client, service)


def refused_while_killed(stack: Stack, client: Client, service: str) -> list[str]:
    """Kill the container's first process, wait until all is well, and return which requests were refused meanwhile."""
    client.refused.clear()
    identifier = stack.compose("ps", "--quiet", service).strip()

    def process() -> str:
        return stack.docker("inspect", "--format", "{{.State.Pid}}", identifier)

    first, image = process(), stack.docker("inspect", "--format", "{{.Image}}", identifier)
    kill = ("--rm", "--pid=host", "--privileged", "--user=0", "--entrypoint=sh")
    stack.docker("run", *kill, image, "-c", f"kill -KILL {first}")
    wait_until(lambda: process() not in (first, "0"), f"{service} runs again")
    wait_until(stack.healthy, f"all are well after {service} was killed", 600)
    wait_until(stack.serves, "the service is ready")
    answered = len(client.acknowledged)
    wait_until(lambda: len(client.acknowledged) > answered + 5, "predictions are answered")
    return list(client.refused)


def comes_back_from_a_backup(stack: Stack, file: Path, acknowledged: list[str]) -> None:
    """As it was: log, champion, snapshots, schedules, metrics; after a stack of which nothing is left."""
    with timed("stack: backup"):
        stack.run("ops/compose/archive.sh", "backup", str(file))
    assert file.stat().st_mode & 0o077 == 0
    wait_until(stack.healthy, "all are well after the backup")
    stack.compose("down", "--volumes")
    shutil.rmtree(stack.project / "secrets")
    with timed("stack: restore"):
        stack.run("ops/compose/archive.sh", "restore", str(file))
    assert set(acknowledged) <= stack.logged()
    wait_until(stack.serves, "the service has its champion")
    assert "champion  version 1" in stack.worker("groundwork", "status")
    assert "109,119 rows in" in stack.worker("groundwork", "ingest", "--since", "2013-01-01", "--until", "2013-05-01")
    assert stack.worker("python", "-c", RUN_A_FLOW, "score").strip().splitlines()[-1].startswith("Completed")
    wait_until(lambda: stack.ask("max_over_time(groundwork_drift_measured_timestamp_seconds[1d])"), "metrics of before")
