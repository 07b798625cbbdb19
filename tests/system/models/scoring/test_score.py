"""Scoring a window comes to the same in one process and on workers, of which one is killed in the middle.

What needs Dask runs where the dependency group `dask` is installed: scheduler and workers in processes of their own.
"""

import importlib.util
import itertools
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from groundwork.core.errors import ClusterError, NotEnoughData
from groundwork.core.windows import Window, window_of
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.scoring import dask_cluster
from groundwork.models.scoring import score as module
from groundwork.models.scoring.score import Scored, ScoringJob, made_of, score_on_worker
from groundwork.pipeline import by_hand
from groundwork.service.request_schema import RequestReader
from groundwork.store.batches import Prediction
from groundwork.store.database import Store

needs_dask = pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="needs `uv sync --group dask`")


def newest(pilot: Pilot) -> Window:
    return Snapshots(pilot.snapshots, pilot.contract.dataset).newest_window("month")


def logged(pilot: Pilot) -> list[Prediction]:
    """All that was logged for the newest window, but for when it was, and for the ids, which depend on the pieces."""
    with Store(pilot.settings.store) as store:
        found = store.predictions.between(*newest(pilot))
    assert len({each.prediction_id for each in found}) == len(found)
    return sorted(each._replace(answered_at="", prediction_id="") for each in found)


@pytest.fixture
def in_process(pilot_copy: Pilot) -> tuple[Scored, list[Prediction]]:
    """What scoring in this process comes to; the log is empty again."""
    scored = by_hand.score(Pilot.here())
    predictions = logged(pilot_copy)
    assert len(predictions) == scored.rows > 1000
    with closing(sqlite3.connect(pilot_copy.settings.store.removeprefix("sqlite:///"))) as database, database:
        database.execute("delete from prediction_batches")
    return scored, predictions


def test_scoring_again_logs_nothing_twice(pilot_copy: Pilot, in_process: tuple[Scored, list[Prediction]]) -> None:
    assert by_hand.score(Pilot.here()) == by_hand.score(Pilot.here()) == in_process[0]
    assert logged(pilot_copy) == in_process[1]


def test_a_time_is_logged_as_the_service_logs_it(pilot: Pilot, in_process: tuple[Scored, list[Prediction]]) -> None:
    """As local time with its offset, so that its first ten characters are the local day."""
    reader = RequestReader(pilot.contract, 1)
    for each in in_process[1][::500]:
        record = json.loads(each.record)
        sent = record | {"scheduled_departure": record["scheduled_departure"].removesuffix("-05:00")}
        assert sent != record
        [asked] = reader.read(json.dumps({"records": [sent]}).encode())
        assert asked.scheduled_departure.isoformat() == record["scheduled_departure"] == each.event_time
        assert each.event_time[:10].replace("-", "") == each.entity_key[:8]


def test_a_window_without_rows_is_said_to_have_none(pilot_copy: Pilot) -> None:
    window = window_of(newest(pilot_copy).end, "month")
    with pytest.raises(NotEnoughData, match="hold no rows from 2013-03-01"):
        by_hand.score(Pilot.here(), *window)


def test_pieces_are_the_window_without_gaps(pilot: Pilot) -> None:
    snapshots, window = Snapshots(pilot.snapshots, pilot.contract.dataset), newest(pilot)
    version = snapshots.version
    assert version is not None
    pieces = snapshots.pieces(window, 500, version)
    assert len(pieces) > 5
    assert pieces[0][0].start == window.start
    assert pieces[-1][0].end == window.end
    assert all(one.end == next.start for (one, _), (next, _) in itertools.pairwise(pieces))
    for piece, rows in pieces:
        assert snapshots.read(*piece, version, ["flight_id"]).num_rows == rows
        assert rows < 600


class Cluster:
    """A Dask scheduler and workers, each a process of its own, in the environment that the test has by now."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        self.start("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")

    def worker(self) -> "subprocess.Popen[bytes]":
        """One that is gone when it is killed: no nanny starts it again."""
        return self.start(
            "worker", self.address, "--no-nanny", "--nthreads", "1", "--no-dashboard",
            "--host", "127.0.0.1", "--local-directory", str(self.folder),
        )  # fmt: skip

    def start(self, *command: str) -> "subprocess.Popen[bytes]":
        with (self.folder / "dask.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, "-m", "dask", *command], stdout=log, stderr=log)
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process


@pytest.fixture
def dask(pilot_copy: Pilot, in_process: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    with ExitStack() as stack:
        started = Cluster(tmp_path, stack)
        monkeypatch.setenv("GROUNDWORK_DASK_SCHEDULER", started.address)
        monkeypatch.setattr(module, "PIECE_ROWS", 300)
        yield started


@needs_dask
def test_workers_log_the_same_to_the_last_row(
    pilot_copy: Pilot, in_process: tuple[Scored, list[Prediction]], dask: Cluster
) -> None:
    dask.worker(), dask.worker()
    assert by_hand.score(Pilot.here()) == in_process[0]
    assert logged(pilot_copy) == in_process[1]


@needs_dask
def test_a_worker_that_is_killed_loses_nothing(
    pilot_copy: Pilot,
    in_process: tuple[Scored, list[Prediction]],
    dask: Cluster,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    workers = [dask.worker(), dask.worker()]

    def spread(scheduler: str, work: Callable, pieces: list[Window]) -> Iterator[Any]:
        from distributed import Client

        with Client(scheduler, set_as_default=False) as client:
            client.wait_for_workers(2, timeout=120)
        for number, result in enumerate(dask_cluster.spread(scheduler, work, pieces)):
            if number == 1:
                workers[0].kill()
                assert len(logged(pilot_copy)) < len(in_process[1]) - 600, "nothing was left to be lost"
            yield result

    monkeypatch.setattr(module, "spread", spread)
    assert by_hand.score(Pilot.here()) == in_process[0]
    assert workers[0].wait(10) != 0
    assert logged(pilot_copy) == in_process[1]


@needs_dask
def test_without_workers_it_says_how_to_start_one(dask: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "PATIENCE_SECONDS", 10)
    with pytest.raises(ClusterError, match=f"has no workers: start them with `dask worker {dask.address}`"):
        by_hand.score(Pilot.here())


@pytest.mark.soak
@needs_dask
def test_workers_that_are_all_lost_are_missed(
    dask: Cluster, monkeypatch: pytest.MonkeyPatch, in_process: tuple[Scored, list[Prediction]]
) -> None:
    """And the run that is made once there are workers again ends as if nothing had happened."""
    worker = dask.worker()
    monkeypatch.setattr(dask_cluster, "PATIENCE_SECONDS", 20)
    monkeypatch.setattr(
        module,
        "spread",
        lambda *given: ((worker.kill(), result)[1] for result in dask_cluster.spread(*given)),  # at the first result
    )
    with pytest.raises(ClusterError, match="has no workers"):
        by_hand.score(Pilot.here())
    monkeypatch.setattr(module, "spread", dask_cluster.spread)
    dask.worker()
    assert by_hand.score(Pilot.here()) == in_process[0]


@needs_dask
def test_a_scheduler_that_is_not_there_is_named(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_cluster, "PATIENCE_SECONDS", 1)
    monkeypatch.setenv("GROUNDWORK_DASK_SCHEDULER", "tcp://127.0.0.1:9")
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        by_hand.score(Pilot.here())


def test_a_missing_dask_is_named(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_DASK_SCHEDULER", "tcp://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match="uv sync --group dask"):
        by_hand.score(Pilot.here())


def test_workers_elsewhere_need_a_log_that_they_can_reach(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_DASK_SCHEDULER", "tcp://scheduler.example:8786")
    with pytest.raises(ClusterError, match="GROUNDWORK_STORE_URL=postgresql"):
        by_hand.score(Pilot.here())


def test_a_worker_refuses_what_it_would_decide_otherwise(
    pilot_copy: Pilot, set_in: Callable[[Path, str, Any], None]
) -> None:
    job = ScoringJob("1", "another bundle", 0, "", made_of(pilot_copy))
    with pytest.raises(ClusterError, match="cannot find version 1"):
        score_on_worker(job, newest(pilot_copy))
    with pytest.raises(ClusterError, match="cannot find version 7"):
        score_on_worker(replace(job, model_version="7"), newest(pilot_copy))
    set_in(pilot_copy.settings.home / "charter.yaml", "value.parameters.costPerAction", 1)
    with pytest.raises(ClusterError, match="start the workers from the same commit"):
        score_on_worker(job, newest(pilot_copy))


def test_rows_that_workers_did_not_see_are_missed(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_DASK_SCHEDULER", "tcp://127.0.0.1:9")
    monkeypatch.setattr(module, "spread", lambda *given: iter([]))
    with pytest.raises(ClusterError, match="0 rows were scored"):
        by_hand.score(Pilot.here())
