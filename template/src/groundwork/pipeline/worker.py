"""The worker: runs the deployments on their schedules until it is stopped."""

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

from prefect.runner import Runner

from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.deployments import announce, deployments
from groundwork.pipeline.flows import mend_lost_runs

LOOK_SECONDS = 30  # between two searches for lost runs


def work(pilot: Pilot, sole: bool, say: Callable[[str], None]) -> None:
    """Register the deployments and run them on their schedules until SIGTERM or Ctrl-C.

    On the signal, active runs are cancelled, and killed after the grace period; the deployments stay registered.
    `sole`: only this pilot uses the Prefect server. `say` prints one line.
    """
    stop = threading.Event()

    def request_stop(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):  # set both: a shell may start its child with SIGINT ignored
        signal.signal(number, request_stop)
    for name in mend_lost_runs(pilot.settings, sole):
        say(f"the last run of {name} was lost; it is now marked as crashed")
    runner = Runner(name=pilot.name, pause_on_shutdown=False)
    for deployment in deployments(pilot):
        runner.add_deployment(deployment)
    for line in announce(pilot):
        say(line)
    broken: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(runner.start())
        except BaseException as error:
            broken.append(error)
        finally:
            stop.set()

    running = threading.Thread(target=run, daemon=True)
    running.start()
    while not stop.wait(LOOK_SECONDS):
        with suppress(Exception):  # the server may be unreachable for a moment; the next search finds the same runs
            mend_lost_runs(pilot.settings)
    if running.is_alive():
        _end(runner, running, pilot.settings.grace_seconds)
    elif broken:
        raise GroundworkError(f"the worker failed: {broken[0]!r}") from broken[0]
    with suppress(Exception):
        mend_lost_runs(pilot.settings, sole)


def _end(runner: Runner, running: threading.Thread, grace_seconds: float) -> None:
    loop = runner._loop
    if loop is not None and runner.started:
        stopping = asyncio.run_coroutine_threadsafe(runner.astop(), loop)
        with suppress(Exception):
            stopping.result(grace_seconds)
    running.join(1)
    for process in list(runner._process_manager._process_map.values()):  # those that ignored SIGTERM
        if process.pid:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
