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
from contextlib import contextmanager, suppress
from pathlib import Path

from groundwork.core.errors import Busy, GroundworkError
from groundwork.core.locks import try_lock
from groundwork.core.settings import Settings

START_SECONDS = 300


def connect(settings: Settings) -> bool:
    """Whether there is a server: PREFECT_API_URL names it, or a worker of this pilot has one, which Prefect is told of.

    Call it before Prefect is imported.
    """
    url = settings.prefect_api_url or _of_worker(settings)
    if url:
        _use(url)
    return bool(url)


def _wait() -> str:
    """Wait until the server answers, and return the address of its API."""
    url = os.environ["PREFECT_API_URL"]
    if _child is None:
        return url  # somebody else's: Prefect itself says what is wrong with it
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and _child.poll() is None:
        with suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=START_SECONDS):
            return url
        time.sleep(0.1)
    raise GroundworkError(f"Prefect's server did not start; see {os.environ['PREFECT_HOME']}/server.log")


@contextmanager
def announced(settings: Settings) -> Iterator[str]:
    """A server with its pages and its scheduler, which every command in this pilot uses meanwhile. Raises Busy."""
    with _note(settings).open("a+") as note:
        if not try_lock(note):
            raise Busy(f"a worker runs already in {settings.data_folder}")
        note.truncate(0)
        if not settings.prefect_api_url:
            pages = str(settings.data_folder / "prefect" / "pages")
            _use(_start(settings, {"PREFECT_UI_STATIC_DIRECTORY": pages}, settings.prefect_port))
        url = _wait()
        note.write(url)
        note.flush()
        try:
            yield url
        finally:
            note.truncate(0)
            _stop()


_child: "subprocess.Popen[bytes] | None" = None


def _use(url: str) -> None:
    os.environ["PREFECT_API_URL"] = url


def _note(settings: Settings) -> Path:
    folder = settings.data_folder / "prefect"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "worker"


def _of_worker(settings: Settings) -> str | None:
    """The address that a living worker has noted: it holds a lock on its note."""
    with suppress(FileNotFoundError), _note(settings).open() as note:
        if not try_lock(note, shared=True):
            return note.read() or None
    return None


def _start(settings: Settings, environment: dict[str, str], port: int = 0) -> str:
    """Start the child; its socket listens from now on, so whoever asks early only waits."""
    global _child
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError:  # another pilot's worker has the usual port
            listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/api"
        log = _note(settings).with_name("server.log")
        with log.open("wb") as out:
            _child = subprocess.Popen(
                [sys.executable, "-m", "groundwork.pipeline.prefect_server", str(listening.fileno())],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env=os.environ | LEASES_OUTLIVE_A_KILL | environment | {"PREFECT_API_URL": url},
                pass_fds=[listening.fileno()],
                start_new_session=True,  # Ctrl-C is for the parent
            )
    atexit.register(_stop)
    return url


# Who holds a deployment's one place is noted on disk, or a server that was killed would never give the place back.
LEASES_OUTLIVE_A_KILL = {
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"
}


def _stop() -> None:
    global _child
    child, _child = _child, None
    if child is None:
        return
    assert child.stdin is not None
    child.stdin.close()
    try:
        child.wait(timeout=5)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


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
