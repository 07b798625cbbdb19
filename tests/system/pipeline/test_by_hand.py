"""A verb's work runs once at a time; it is a run in Prefect where there is a server, and needs no Prefect elsewhere."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from groundwork.core.errors import Busy
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from groundwork.store.runs import LOST
from pilots import write_pilot

PATIENCE = 600  # seconds; a busy machine takes a minute to start what else takes five seconds


def test_a_flow_runs_once_at_a_time_on_one_store(new_pilot: Pilot) -> None:
    """Whoever started it, and on whichever machine; other flows are free to run."""
    with Store(new_pilot.settings.store) as store:
        with store.alone("ingest"), pytest.raises(Busy, match="another ingest is running"):
            by_hand.ingest(new_pilot)
        with store.alone("train"):
            by_hand.ingest(new_pilot)


# What the command imported shows in the last line.
COMMAND = """
import sys
from groundwork.cli.main import app
try:
    app(sys.argv[1:])
except SystemExit as end:
    print("EXIT", end.code, "prefect" in sys.modules)
"""


@pytest.mark.parametrize("command", ["ingest", "status", "--help"])
def test_without_a_server_no_command_waits_for_prefect(command: str, new_pilot: Pilot) -> None:
    done = subprocess.run([sys.executable, "-c", COMMAND, command], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "EXIT 0 False", done.stderr
    with Store(new_pilot.settings.store) as store:
        assert [run.flow for run in store.runs.latest(succeeded=True)] == (["ingest"] if command == "ingest" else [])
        assert store.runs.under_way() == []


STANDS_STILL = """
import sys, time
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from use_case import source

def rows(*_):
    print("reading", flush=True)
    time.sleep(600)

source.rows = rows
by_hand.run(Pilot.here(), "ingest")
"""


def test_a_run_that_is_killed_is_told_by_the_next_command(new_pilot: Pilot) -> None:
    with subprocess.Popen([sys.executable, "-c", STANDS_STILL], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"reading\n"
        with Store(new_pilot.settings.store) as store:
            assert [run.flow for run in store.runs.under_way()] == ["ingest"]
        with pytest.raises(Busy):
            by_hand.run(new_pilot, "ingest")
        process.send_signal(signal.SIGKILL)
    assert by_hand.run(new_pilot, "ingest")
    with Store(new_pilot.settings.store) as store:
        assert store.runs.under_way() == []
        assert [run.flow for run in store.runs.latest(succeeded=True)] == ["ingest"]
        assert LOST in [run.message for run in store.runs.latest(succeeded=False)]


class Worker:
    """`groundwork worker` in a pilot of its own, with Prefect's server on a free port."""

    def __init__(self, home: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.api = f"http://127.0.0.1:{port}/api"
        self.environment = {
            "GROUNDWORK_HOME": str(home),
            "MLFLOW_TRACKING_URI": f"sqlite:///{home / 'data' / 'mlflow.db'}",
            "PREFECT_HOME": str(home / "data" / "prefect"),
        }
        self.log = home / "worker.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "groundwork.cli.main", "worker"],
                env=os.environ | self.environment | {"PREFECT_SERVER_API_PORT": str(port)},
                stdout=log,
                stderr=log,
            )

    def runs(self) -> Counter[tuple[str, str]]:
        """How many runs Prefect knows, by the name of their flow and by their state; none that is only planned."""
        names = {flow["id"]: flow["name"] for flow in self.ask("flows/filter")}
        return Counter(
            (names[run["flow_id"]], run["state"]["type"])
            for run in self.ask("flow_runs/filter")
            if run["state"]["type"] != "SCHEDULED"
        )

    def ask(self, path: str) -> Any:
        request = urllib.request.Request(f"{self.api}/{path}", b"{}", {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def wait(self) -> None:
        """Until the deployments are registered."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            try:
                if len(self.ask("deployments/filter")) == len(by_hand.WORK):
                    return
            except OSError:
                pass
            time.sleep(0.2)

    @contextmanager
    def one_more_run(self, flow: str) -> Iterator[None]:
        before = self.runs()
        yield
        assert self.runs() - before == Counter({(flow, "COMPLETED"): 1})


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory, flights: Path) -> Iterator[Worker]:
    home = tmp_path_factory.mktemp("worker") / "pilot"
    write_pilot(home, flights)
    running = Worker(home)
    try:
        running.wait()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def ingest(**environment: str) -> None:
    command = [sys.executable, "-m", "groundwork.cli.main", "ingest"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✓ ingest" in done.stdout


@pytest.mark.soak
def test_beside_a_worker_a_command_is_a_run_on_its_server(worker: Worker) -> None:
    with worker.one_more_run("ingest"):
        ingest(**worker.environment)
    assert {each["key"] for each in worker.ask("artifacts/filter")} >= {"ingest"}


@pytest.mark.slow
def test_a_command_is_a_run_on_the_server_that_is_named(worker: Worker, new_pilot: Pilot) -> None:
    with worker.one_more_run("ingest"):
        ingest(PREFECT_API_URL=worker.api)
    with Store(new_pilot.settings.store) as store:
        assert [run.flow for run in store.runs.latest(succeeded=True)] == ["ingest"]
        assert store.runs.under_way() == []


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_leaves_no_server(worker: Worker) -> None:
    """The last test of this module: it ends the worker that they share."""
    worker.process.send_signal(signal.SIGTERM)
    assert worker.process.wait(PATIENCE) == 0, worker.log.read_text()
    with pytest.raises(OSError, match="refused"):
        worker.ask("flows/filter")
    note = Path(worker.environment["GROUNDWORK_HOME"]) / "data" / "prefect" / "worker"
    assert note.read_text() == ""
