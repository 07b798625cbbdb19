"""A run that lives is told from one whose process is gone, by its lock and by its heartbeats."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import liveness
from groundwork.pipeline.liveness import LostRun, alive, marked_runs, record_lost_runs
from groundwork.store.database import Store
from groundwork.store.runs import LOST

QUICK_SECONDS = 0.01


def wait_until(seen: Callable[[], object], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def mark_of(pilot: Pilot, run_id: str) -> Path:
    return pilot.settings.data_folder / "runs" / f"{run_id}.run"


def test_a_run_is_marked_while_its_process_lives(new_pilot: Pilot) -> None:
    run_id = str(uuid4())
    path = mark_of(new_pilot, run_id)
    with alive(new_pilot.settings, "ingest", run_id), path.open() as mark:
        assert marked_runs(new_pilot.settings) == {run_id}
        assert json.loads(mark.read())["flow"] == "ingest"
        with pytest.raises(BlockingIOError):
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert record_lost_runs(new_pilot.settings) == []
    with path.open() as mark, pytest.raises(BlockingIOError):  # Prefect has not been told yet
        fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert path.read_text() == ""  # but the store knows


def test_a_run_is_heard_of_until_it_ends(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", QUICK_SECONDS)
    with Store(new_pilot.settings.store) as store:
        with alive(new_pilot.settings, "ingest", str(uuid4())):
            [first] = store.runs.under_way()
            wait_until(lambda: store.runs.under_way() != [first])
            assert [each._replace(heard_at=first.heard_at) for each in store.runs.under_way()] == [first]
        assert store.runs.under_way() == []


def test_a_run_beyond_its_timeout_falls_silent(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", QUICK_SECONDS)
    with alive(new_pilot.settings, "ingest", str(uuid4()), timeout_seconds=0), Store(new_pilot.settings.store) as store:
        first = store.runs.under_way()
        time.sleep(30 * QUICK_SECONDS)
        assert store.runs.under_way() == first
        assert len(first) == 1


def test_a_run_goes_on_where_the_store_is_away(
    new_pilot: Pilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What needs the store fails, and is tried again; the heartbeats come again by themselves."""
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", QUICK_SECONDS)
    away = tmp_path / "store.db"
    away.mkdir()  # no database can be opened here
    monkeypatch.setenv("GROUNDWORK_STORE_URL", f"sqlite:///{away}")
    run_id = str(uuid4())
    with alive(Pilot.here().settings, "ingest", run_id):
        time.sleep(10 * QUICK_SECONDS)
        away.rmdir()
        wait_until(away.exists)
        with Store(f"sqlite:///{away}") as store:
            wait_until(store.runs.under_way)
            assert [(run.run_id, run.flow) for run in store.runs.under_way()] == [(run_id, "ingest")]


STANDS_STILL = """
import sys, time
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.liveness import alive
with alive(Pilot.here().settings, "ingest", sys.argv[1]):
    print("alive", flush=True)
    time.sleep(600)
"""


def test_a_run_that_is_killed_is_recorded_once(new_pilot: Pilot) -> None:
    run_id = str(uuid4())
    with subprocess.Popen([sys.executable, "-c", STANDS_STILL, run_id], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"alive\n"
        assert record_lost_runs(new_pilot.settings) == []
        process.send_signal(signal.SIGKILL)
    assert record_lost_runs(new_pilot.settings) == [LostRun(run_id, "ingest")]
    assert record_lost_runs(new_pilot.settings) == []
    assert not mark_of(new_pilot, run_id).exists()
    with Store(new_pilot.settings.store) as store:
        assert store.runs.under_way() == []
        [lost] = store.runs.latest(succeeded=False)
    assert (lost.flow, lost.message) == ("ingest", LOST)


def test_two_that_tell_of_lost_runs_do_not_stand_in_each_others_way(new_pilot: Pilot) -> None:
    """All look at once; each lost run is told by one of them."""
    left = {str(uuid4()) for _ in range(40)}
    for run_id in left:
        path = mark_of(new_pilot, run_id)
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps({"flow": "ingest", "started_at": "2026-11-25T08:00:00+00:00"}))
    together, told, errors = threading.Barrier(4), [], []

    def tell() -> None:
        together.wait(60)
        try:
            told.extend(record_lost_runs(new_pilot.settings))
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=tell) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(run.run_id for run in told) == sorted(left)
    assert os.listdir(mark_of(new_pilot, "").parent) == []  # noqa: PTH208
