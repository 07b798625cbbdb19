"""Measures a server from outside: the CPU and the memory of its whole process tree, and its answers under load."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
TICK = os.sysconf("SC_CLK_TCK")
WRK_SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True)
class Load:
    """What `wrk` saw, and what it cost the server."""

    answered: int
    errors: int  # refused, cut off or not answered in time
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_us: float  # per request, of the server's whole process tree


class Server:
    """A server that was started here; ended by its process ids, and nobody else's."""

    def __init__(self, command: Sequence[str], folder: Path, environment: dict[str, str], log: Path) -> None:
        self._started = time.monotonic()
        self._log = log
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def first_answer(self, port: int, path: str, body: bytes, timeout: float = 120) -> tuple[float, bytes]:
        """Ask until it answers 200; returns the seconds since its start, and the answer."""
        while time.monotonic() - self._started < timeout:
            if self._process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException):
                status, answer = ask(port, path, body)
                if status == 200:
                    return time.monotonic() - self._started, answer
            time.sleep(0.02)
        raise RuntimeError(
            f"{path} never answered 200; its last words:\n{self._log.read_text(errors='replace')[-3000:]}"
        )

    @property
    def cpu_seconds(self) -> float:
        """User and system time of the tree, of children that have ended too."""
        return sum(sum(map(int, fields[11:15])) for _, fields in _tree(self._process.pid)) / TICK

    @property
    def memory_mb(self) -> tuple[float, float]:
        """Proportional and resident set size: what is shared with others counts in part, or in full."""
        found = {"Pss:": 0, "Rss:": 0}
        for pid, _ in _tree(self._process.pid):
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    name, *rest = line.split()
                    if name in found:
                        found[name] += int(rest[0])
        return found["Pss:"] / 1024, found["Rss:"] / 1024

    def settle(self, timeout: float = 30) -> None:
        """Wait until it has worked off what clients left behind."""
        until = time.monotonic() + timeout
        before = self.cpu_seconds
        while time.monotonic() < until:
            time.sleep(0.25)
            now = self.cpu_seconds
            if now - before <= 2 / TICK:
                return
            before = now

    def load(self, port: int, path: str, body: Path, clients: int, seconds: int) -> Load:
        """Let that many clients ask one after the other, for a while."""
        self.settle()
        before = self.cpu_seconds
        # One thread of wrk keeps any of these servers busy.
        command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--timeout", "60s", "-s", str(WRK_SCRIPT)]
        done = subprocess.run(
            [*command, f"http://{HOST}:{port}{path}"],
            env=os.environ | {"BODY": str(body)},
            capture_output=True,
            text=True,
            timeout=seconds + 90,
        )
        spent = self.cpu_seconds - before
        if done.returncode != 0 or "RESULT " not in done.stdout:
            raise RuntimeError(f"wrk failed: {done.stdout}{done.stderr}")
        said = json.loads(done.stdout.rpartition("RESULT ")[2])
        return Load(**said, cpu_us=spent * 1e6 / said["answered"] if said["answered"] else float("nan"))

    def end(self) -> None:
        """Ask it to end, then make it and what it started."""
        pids = [pid for pid, _ in _tree(self._process.pid)]
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(15)
        for pid in pids:  # a reader of /proc would see a process id that was given anew, so only right away
            if pid != self._process.pid or self._process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self._process.wait(15)


@contextlib.contextmanager
def ended(server: Server) -> Iterator[Server]:
    try:
        yield server
    finally:
        server.end()


def ask(port: int, path: str, body: bytes | None) -> tuple[int, bytes]:
    """One request: POST with a JSON body, GET without one."""
    connection = http.client.HTTPConnection(HOST, port, timeout=60)
    try:
        connection.request("GET" if body is None else "POST", path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def _tree(root: int) -> list[tuple[int, list[str]]]:
    """The process and all below it, each with what its `stat` says after the name."""
    stats = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it ended meanwhile
                stats[int(entry.name)] = (entry / "stat").read_text().rpartition(")")[2].split()
    found, look = [], [root]
    while look:
        pid = look.pop()
        if pid in stats:
            found.append((pid, stats[pid]))
        look += [child for child, fields in stats.items() if int(fields[1]) == pid]
    return found
