"""Detects lost runs by file locks and by heartbeats in the store. Nothing here needs Prefect.

The operating system releases a lock when its process ends for any reason, so a free lock means that the run was killed.
Locks cannot be seen from another machine; there, the heartbeats in the store decide.
"""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from groundwork.core.errors import StoreError
from groundwork.core.locks import try_lock
from groundwork.core.settings import Settings
from groundwork.store.database import Store
from groundwork.store.runs import LOST, SILENCE, FlowRun, UnderWay

TIMEOUT_SECONDS = 4 * 3600
HEARTBEAT_SECONDS = 30


class LostRun(NamedTuple):
    """A run whose process has ended without recording a result."""

    run_id: str
    flow: str  # empty if the work was done and only Prefect may not know it


@contextmanager
def alive(settings: Settings, flow: str, run_id: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Hold the run's lock and write its heartbeats while the block runs.

    Heartbeats stop after `timeout_seconds`, also if the block still runs.
    """
    with _marked(settings, flow, run_id), _heard(settings, flow, run_id, timeout_seconds):
        yield


def record_lost_runs(settings: Settings) -> list[LostRun]:
    """Record lost runs as failed in the store, and return them.

    A run is lost if its lock in this data folder is free, or if its heartbeats stopped, on any machine.
    """
    lost: list[LostRun] = []
    for path in _folder(settings).glob("*.run"):
        try:
            mark = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # another process recorded the run
        try:
            if not try_lock(mark) or not os.fstat(mark).st_nlink:
                continue  # the run's process lives, or another process has just recorded the run
            noted = os.read(mark, 10_000)
            path.unlink(missing_ok=True)
            if noted:
                begun = json.loads(noted)
                with Store(settings.store) as store:
                    store.runs.end(path.stem)
                    started = datetime.fromisoformat(begun["started_at"])
                    store.runs.record(FlowRun(flow=begun["flow"], started_at=started, message=LOST))
                lost.append(LostRun(path.stem, begun["flow"]))
            else:  # the work was done, but Prefect may not know
                lost.append(LostRun(path.stem, ""))
        finally:
            os.close(mark)
    marked = marked_runs(settings)
    with suppress(StoreError), Store(settings.store) as store:  # the next call finds the same runs
        now = datetime.now(UTC)
        for run in store.runs.under_way():
            # After a laptop wakes from sleep, its runs continue: their locks are still held.
            asleep = run.run_id in marked and now < run.started_at + timedelta(seconds=TIMEOUT_SECONDS) + SILENCE
            if run.lost_at < now and not asleep and store.runs.end(run.run_id, run.as_lost):
                lost.append(LostRun(run.run_id, run.flow))
    return lost


def marked_runs(settings: Settings) -> set[str]:
    """Returns the ids of the runs with a lock file in this data folder: running, or lost and not recorded yet."""
    return {path.stem for path in _folder(settings).glob("*.run")}


@contextmanager
def _marked(settings: Settings, flow: str, run_id: str) -> Iterator[None]:
    """Hold the run's lock until this process ends; the lock file is empty once the work is done."""
    path = _folder(settings) / f"{run_id}.run"
    # Never closed, so that the lock is held until this process ends.
    mark = os.open(path.with_suffix(".new"), os.O_RDWR | os.O_CREAT, 0o644)
    try_lock(mark)
    os.write(mark, json.dumps({"flow": flow, "started_at": datetime.now(UTC).isoformat()}).encode())
    path.with_suffix(".new").rename(path)  # other processes see the file only after it is locked
    try:
        yield
    finally:
        os.ftruncate(mark, 0)  # the store has the result; Prefect gets it after this


@contextmanager
def _heard(settings: Settings, flow: str, run_id: str, timeout_seconds: float) -> Iterator[None]:
    """Write heartbeats until the block ends or the timeout has passed. A heartbeat that fails is skipped."""
    began, started = time.monotonic(), datetime.now(UTC)
    ended = threading.Event()

    def beat() -> None:
        with suppress(StoreError), Store(settings.store) as store:
            store.runs.keep_alive(UnderWay(run_id, flow, started, datetime.now(UTC)))

    def keep_beating() -> None:
        while not ended.wait(HEARTBEAT_SECONDS) and time.monotonic() - began < timeout_seconds:
            beat()

    beat()
    beating = threading.Thread(target=keep_beating, daemon=True)
    beating.start()
    try:
        yield
    finally:
        ended.set()
        beating.join()
        with suppress(StoreError), Store(settings.store) as store:
            store.runs.end(run_id)


def _folder(settings: Settings) -> Path:
    folder = settings.data_folder / "runs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
