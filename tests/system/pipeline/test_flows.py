"""What may pass is tried again, and what will fail again is not; a run ends when Prefect's server has died."""

import os
import subprocess
import sys

import pytest
from groundwork.core.errors import (
    Busy,
    ContractBreach,
    NotEnoughData,
    SchemaMismatch,
    SourceError,
    SourceUnavailable,
    StoreError,
)
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.monitoring.drift import DriftUnknown
from groundwork.pipeline import flows
from mlflow.exceptions import MlflowException
from requests import exceptions
from serving import closed


def chained(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        SourceUnavailable("it does not answer"),
        StoreError("it is down"),
        Busy("another one"),
        ConnectionRefusedError(),
        chained(MlflowException("API request failed"), exceptions.ConnectionError()),
        chained(MlflowException("API request failed"), exceptions.ReadTimeout()),
    ],
)
def test_what_cannot_be_reached_is_tried_again(error: Exception) -> None:
    assert flows.may_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        ContractBreach("too many rows"),
        chained(ContractBreach("too many rows"), ConnectionRefusedError()),
        SourceError("the source does not fit contract.yaml"),
        NotEnoughData("nothing to learn from"),
        DriftUnknown("nobody can tell"),
        SchemaMismatch("run `groundwork migrate`"),
        MlflowException("no such model"),
        FileNotFoundError("model.py"),
        ValueError("a slip of the pen"),
    ],
)
def test_what_will_fail_again_is_not(error: Exception) -> None:
    assert not flows.may_pass(error)


def test_a_source_that_is_away_may_come_back(new_pilot: Pilot) -> None:
    (new_pilot.settings.data_folder / "operational.duckdb").unlink()
    with pytest.raises(SourceUnavailable) as away, connected(new_pilot):
        pytest.fail("there is no such source")
    assert flows.may_pass(away.value)


DYING = """
import os, signal, sys, time
from groundwork.core.environment import prepare
from groundwork.core.errors import NotEnoughData
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.prefect_server import Server

pilot = Pilot.here()
prepare(pilot.settings)
server = Server(pilot.settings)
server.wait()
os.environ["PREFECT_API_URL"] = server.url
from groundwork.pipeline import by_hand, flows

flows.ANSWER_SECONDS = 2
flow, result = sys.argv[1:]

def kill_the_server(*_):
    os.kill(server._child.pid, signal.SIGKILL)
    server._child.wait()
    if result == "failed":
        raise NotEnoughData("too few rows")
    return "worked"

by_hand.score = by_hand.ingest = kill_the_server
by_hand.WORK["train"] = lambda _: "trained"
print(by_hand.run(Pilot.here(), flow), flush=True)
"""


@pytest.mark.soak
@pytest.mark.parametrize(
    ("flow", "result", "told"),
    [
        ("score", "worked", "worked\n"),
        ("score", "failed", "NotEnoughData: too few rows\n"),
        ("retrain", "worked", "Retrained(reasons=['no version has been promoted yet'], trained='trained')\n"),
    ],
)
def test_a_run_ends_with_its_own_result_when_prefects_server_has_died(
    flow: str, result: str, told: str, new_pilot: Pilot
) -> None:
    # At a port of its own: another test's server could begin to answer at the usual one.
    port = {"PREFECT_SERVER_API_PORT": closed().rpartition(":")[2]}
    done = subprocess.run(
        [sys.executable, "-c", DYING, flow, result],
        env=os.environ | {"PREFECT_HOME": str(new_pilot.settings.data_folder / "prefect")} | port,
        text=True,
        capture_output=True,
        timeout=240,
    )
    assert told in done.stdout + done.stderr, done.stderr[-3000:]
    assert done.returncode == (result == "failed")
    assert "does not answer any more: this run of" in done.stderr
