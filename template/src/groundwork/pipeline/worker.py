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
from groundwork.pipeline.deployments import announce, bring_up_to_date, deployments
from groundwork.pipeline.flows import mend_lost_runs
from groundwork.pipeline.prefect_server import process_ids

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
    for line in [*bring_up_to_date(pilot), *announce(pilot)]:
        say(line)
    broken: list[BaseException] = []
    loop = asyncio.new_event_loop()

    def run() -> None:
        try:
            loop.run_until_complete(runner.start())
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
        _end(runner, loop, running, pilot.settings.grace_seconds)
    elif broken:
        raise GroundworkError(f"the worker failed: {broken[0]!r}") from broken[0]
    with suppress(Exception):
        mend_lost_runs(pilot.settings, sole)


def _end(runner: Runner, loop: asyncio.AbstractEventLoop, running: threading.Thread, grace_seconds: float) -> None:
    if runner.started:
        stopping = asyncio.run_coroutine_threadsafe(runner.astop(), loop)
        with suppress(Exception):
            stopping.result(grace_seconds)
    running.join(1)
    for process in process_ids(runner):  # those that ignored SIGTERM
        with suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
