"""Which runs are alive: a lock of the operating system, and heartbeats in the store. Nothing here needs Prefect.

However a process ends, its lock goes with it: a run that was killed is told from one that works on. Where the lock
cannot be seen, because the machine is another one or is gone, the heartbeats in the store decide.
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

_held: list[int] = []  # the locks of this process's runs; they are released when it ends, and not before


class LostRun(NamedTuple):
    """A run whose process is gone."""

    run_id: str
    flow: str


@contextmanager
def alive(settings: Settings, flow: str, run_id: str, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[None]:
    """Mark the run as alive for as long as the block runs."""
    with _marked(settings, flow, run_id), _heard(settings, flow, run_id, timeout_seconds):
        yield


def record_lost_runs(settings: Settings) -> list[LostRun]:
    """Record in the store that runs have failed whose process is gone, and return them.

    These are runs of this data folder whose lock is free, and runs anywhere whose heartbeats stopped.
    """
    lost: list[LostRun] = []
    for path in _folder(settings).glob("*.run"):
        try:
            mark = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            continue  # another process recorded it
        try:
            if not try_lock(mark) or not os.fstat(mark).st_nlink:
                continue  # its process lives, or another process recorded it meanwhile
            noted = os.read(mark, 10_000)
            path.unlink(missing_ok=True)
            if noted:
                begun = json.loads(noted)
                with Store(settings.store) as store:
                    store.runs.end(path.stem)
                    started = datetime.fromisoformat(begun["started_at"])
                    store.runs.record(FlowRun(flow=begun["flow"], started_at=started, message=LOST))
                lost.append(LostRun(path.stem, begun["flow"]))
            else:  # its work was done, and Prefect may not know
                lost.append(LostRun(path.stem, ""))
        finally:
            os.close(mark)
    marked = marked_runs(settings)
    with suppress(StoreError), Store(settings.store) as store:  # the next look sees the same
        now = datetime.now(UTC)
        for run in store.runs.under_way():
            # A laptop that slept wakes up with its runs: the lock is still held then.
            asleep = run.run_id in marked and now < run.started_at + timedelta(seconds=TIMEOUT_SECONDS) + SILENCE
            if run.lost_at < now and not asleep and store.runs.end(run.run_id, run.as_lost):
                lost.append(LostRun(run.run_id, run.flow))
    return lost


def marked_runs(settings: Settings) -> set[str]:
    """The ids of the runs of this data folder that hold a lock, or held one and are not recorded yet."""
    return {path.stem for path in _folder(settings).glob("*.run")}


@contextmanager
def _marked(settings: Settings, flow: str, run_id: str) -> Iterator[None]:
    """Hold the run's lock until this process ends; its file is empty once the work is done."""
    path = _folder(settings) / f"{run_id}.run"
    mark = os.open(path.with_suffix(".new"), os.O_RDWR | os.O_CREAT, 0o644)
    try_lock(mark)
    _held.append(mark)
    os.write(mark, json.dumps({"flow": flow, "started_at": datetime.now(UTC).isoformat()}).encode())
    path.with_suffix(".new").rename(path)  # it is locked before another process can see it
    try:
        yield
    finally:
        os.ftruncate(mark, 0)  # the store has the result; Prefect is told after this


@contextmanager
def _heard(settings: Settings, flow: str, run_id: str, timeout_seconds: float) -> Iterator[None]:
    """Write heartbeats until the block ends, or should have ended. One that the store misses is followed by another."""
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
