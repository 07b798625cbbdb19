"""The worker: runs the schedules of the deployments in the pilot's folder until it is told to end."""

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

LOOK_SECONDS = 30  # between two looks for runs whose process is gone


def work(pilot: Pilot, sole: bool, say: Callable[[str], None]) -> None:
    """Register the deployments and run what is due until SIGTERM or Ctrl-C. `sole`: the server is this pilot's alone.

    Runs under way are cancelled then, and killed after the grace period. The deployments stay as they are.
    """
    told = threading.Event()

    def tell(_number: int, _frame: FrameType | None) -> None:
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):  # set, so that not even a shell that ignored them for us matters
        signal.signal(number, tell)
    for name in mend_lost_runs(pilot.settings, sole):
        say(f"the last run of {name} was lost: it is marked as crashed")
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
            told.set()

    running = threading.Thread(target=run, daemon=True)
    running.start()
    while not told.wait(LOOK_SECONDS):
        with suppress(Exception):  # the server may be away for a moment; the next look sees the same
            mend_lost_runs(pilot.settings)
    if running.is_alive():
        _end(runner, running, pilot.settings.grace_seconds)
    elif broken:
        raise GroundworkError(f"the worker broke: {broken[0]!r}") from broken[0]
    with suppress(Exception):
        mend_lost_runs(pilot.settings, sole)


def _end(runner: Runner, running: threading.Thread, grace_seconds: float) -> None:
    loop = runner._loop
    if loop is not None and runner.started:
        stopping = asyncio.run_coroutine_threadsafe(runner.astop(), loop)
        with suppress(Exception):
            stopping.result(grace_seconds)
    running.join(1)
    for process in list(runner._process_manager._process_map.values()):  # what did not heed SIGTERM
        if process.pid:
            with suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)
