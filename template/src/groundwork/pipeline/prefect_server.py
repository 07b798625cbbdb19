"""Prefect's server: the one that PREFECT_API_URL names, or that of a worker in this pilot.

The worker's is a child process that ends with its parent, however that ends: it listens to a pipe that only the parent
holds.
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

from groundwork.core.errors import Busy, GroundworkError
from groundwork.core.locks import try_lock
from groundwork.core.settings import Settings

START_SECONDS = 300


def connect(settings: Settings) -> bool:
    """Whether there is a server: PREFECT_API_URL names it, or a worker of this pilot has one, which Prefect is told of.

    Call it before Prefect is imported.
    """
    url = settings.prefect_api_url or address_of_worker(settings)
    if url:
        os.environ["PREFECT_API_URL"] = url
    return bool(url)


def address_of_worker(settings: Settings) -> str | None:
    """The address of the server of this pilot's worker, if one runs: it holds a lock on its note."""
    with suppress(FileNotFoundError), _note(settings).open() as note:
        if not try_lock(note, shared=True):
            return note.read() or None
    return None


@contextmanager
def announced(settings: Settings) -> Iterator[str]:
    """A server with its pages and its scheduler, which every command in this pilot uses meanwhile. Raises Busy."""
    with ExitStack() as ends:
        note = ends.enter_context(_note(settings).open("a+"))
        if not try_lock(note):
            raise Busy(f"a worker runs already in {settings.data_folder}")
        note.truncate(0)
        url = settings.prefect_api_url  # where it is set, Prefect itself says what is wrong with that server
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
    """A child process that serves Prefect's API, pages and scheduler on this machine."""

    def __init__(self, settings: Settings) -> None:
        """Start it; its socket listens from now on, so whoever asks early only waits."""
        folder = _note(settings).parent
        self.log = folder / "server.log"
        with socket.socket() as listening:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listening.bind(("127.0.0.1", settings.prefect_port))
            except OSError:  # another pilot's worker has the usual port
                listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
            told = {"PREFECT_UI_STATIC_DIRECTORY": str(folder / "pages"), "PREFECT_API_URL": self.url}
            with self.log.open("wb") as out:
                self._child = subprocess.Popen(
                    [sys.executable, "-m", "groundwork.pipeline.prefect_server", str(listening.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=out,
                    stderr=out,
                    env=os.environ | LEASES_OUTLIVE_A_KILL | told,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,  # Ctrl-C is for the parent
                )

    def wait(self) -> None:
        """Wait until it answers. Raises GroundworkError where it ends, or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._child.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{self.url}/health", timeout=START_SECONDS):
                return
            time.sleep(0.1)
        raise GroundworkError(f"Prefect's server did not start; see {self.log}")

    def stop(self) -> None:
        """End it, if it has not ended yet."""
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


# Who holds a deployment's one place is noted on disk, or a server that was killed would never give the place back.
LEASES_OUTLIVE_A_KILL = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"
}


def _serve(descriptor: int) -> None:
    """The child: serve on the socket until the pipe from the parent is closed."""

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=end_with_parent, daemon=True).start()
    import uvicorn

    config = uvicorn.Config(
        "prefect.server.api.server:create_app", factory=True, log_level="error", timeout_graceful_shutdown=2
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
