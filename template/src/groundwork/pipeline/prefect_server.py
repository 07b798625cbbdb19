"""The Prefect server: the one at PREFECT_API_URL, or the one that this pilot's worker starts.

The worker's server is a child process. It ends when the worker ends, also if the worker is killed: it reads from a pipe
whose other end only the worker holds.
"""

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groundwork.core.errors import Busy, GroundworkError
from groundwork.core.locks import try_lock
from groundwork.core.settings import Settings

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.runner import Runner

START_SECONDS = 300


def connect(settings: Settings) -> bool:
    """Whether there is a Prefect server, at PREFECT_API_URL or from this pilot's worker; sets PREFECT_API_URL to it.

    Call it before Prefect is imported: Prefect reads the variable at import.
    """
    url = settings.prefect_api_url or address_of_worker(settings)
    if url:
        os.environ["PREFECT_API_URL"] = url
    return bool(url)


def address_of_worker(settings: Settings) -> str | None:
    """Returns the API address of the worker's server; None if no worker runs, that is, none holds the lock."""
    with suppress(FileNotFoundError), _note(settings).open() as note:
        if not try_lock(note, shared=True):
            return note.read() or None
    return None


@contextmanager
def announced(settings: Settings) -> Iterator[str]:
    """Start the worker's Prefect server and provide its API address; all commands of this pilot use it meanwhile.

    If PREFECT_API_URL is set, no server is started and that address is used. Raises Busy if a worker runs already.
    """
    with ExitStack() as ends:
        note = ends.enter_context(_note(settings).open("a+"))
        if not try_lock(note):
            raise Busy(f"a worker already runs in {settings.data_folder}")
        note.truncate(0)
        url = settings.prefect_api_url  # if set, Prefect itself reports errors of that server
        if not url:
            server = Server(settings)
            ends.callback(server.stop)
            atexit.register(server.stop)
            server.wait()
            url = os.environ["PREFECT_API_URL"] = server.url
        ends.callback(note.truncate, 0)
        note.write(url)
        note.flush()
        yield url


class Server:
    """A child process that serves Prefect's API, web pages and scheduler on this machine."""

    def __init__(self, settings: Settings) -> None:
        """Start the process. Its socket listens at once, so early requests wait instead of failing."""
        folder = _note(settings).parent
        self.log = folder / "server.log"
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind(("127.0.0.1", settings.prefect_port))
            except OSError:  # the port is in use, most often by another pilot's worker
                listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            variables = {"PREFECT_UI_STATIC_DIRECTORY": str(folder / "pages"), "PREFECT_API_URL": self.url}
            with self.log.open("wb") as out:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "groundwork.pipeline.prefect_server", str(listening.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    env=os.environ | LEASES_OUTLIVE_A_KILL | variables,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,  # Ctrl-C reaches only the parent
                )

    def wait(self) -> None:
        """Wait until the server answers. Raises GroundworkError if it ends, or needs more than START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=START_SECONDS):
                return
            time.sleep(0.1)
        raise GroundworkError(f"the Prefect server did not start; see {self.log}")

    def stop(self) -> None:
        """Stop the server process if it still runs."""
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def _note(settings: Settings) -> Path:
    folder = settings.data_folder / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "worker"


# Concurrency leases are kept on disk. In memory, a killed server would lose the lease of a running deployment, and its
# one place would never be released.
LEASES_OUTLIVE_A_KILL = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"
}


def _serve(descriptor: int) -> None:
    """Run in the child process: serve on the socket until the pipe from the parent is closed."""

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


# Private names of Prefect, of which version 3.8 has no public ones: all that the house uses stand here.


def close_connection(client: "SyncPrefectClient") -> None:
    """Close the client's connection at once, so that it does not try again to reach a dead server."""
    client._client.close()


def drop_events() -> None:
    """Drop the events for a dead server: at exit, Prefect waits for all of them, and tries each for over a minute."""
    from prefect.events.worker import EventsWorker

    workers: Any = EventsWorker
    for service in list(workers._instances.values()):  # those of its log, too
        if service._loop and service._task:
            service._loop.call_soon_threadsafe(service._task.cancel)


def process_ids(runner: "Runner") -> list[int]:
    """Returns the ids of the processes of the runner's active runs."""
    return [process.pid for process in list(runner._process_manager._process_map.values()) if process.pid]


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
