"""The service, here or as a process of its own, with clients that keep it busy, and registries that are no help."""

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fastapi.testclient import TestClient
from groundwork.documents.pilot import Pilot
from groundwork.service.app import create_app
from groundwork.service.request_schema import RequestReader
from groundwork.store.database import Store

HERE = "http://127.0.0.1"  # a service without keys answers to no other name


class Service:
    """`python -m groundwork.service` for one pilot."""

    def __init__(self, pilot: Pilot, **environment: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data = pilot.settings.data_folder
        self.log = self.data / "service.log"
        self.body = json.dumps(RequestReader(pilot.contract, 1).example).encode()
        if "PYTHONPATH" in environment:  # before the system's own modules
            environment["PYTHONPATH"] += os.pathsep + os.environ["PYTHONPATH"]
        quick = {"GROUNDWORK_REGISTRY_RETRY_SECONDS": "0.2", "GROUNDWORK_REGISTRY_POLL_SECONDS": "0.2"}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "groundwork.service"],
                env=os.environ | quick | {"GROUNDWORK_PORT": str(self.port)} | environment,
                stdout=log,
                stderr=log,
            )

    def ask(
        self, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST" if body is not None else "GET", path, body, headers or {})
            response = connection.getresponse()
            content = response.read()
            return response.status, json.loads(content) if content.startswith(b"{") else {"text": content.decode()}
        finally:
            connection.close()

    def predict(self) -> tuple[int, dict[str, Any]]:
        return self.ask("/predict", self.body)

    def wait(self, path: str, status: int = 200, seconds: float = 120, **having: Any) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, self.complaints()
            try:
                seen, answer = self.ask(path)
                if seen == status and having.items() <= answer.items():
                    return answer
            except OSError:
                pass
            assert time.monotonic() < deadline, self.complaints()
            time.sleep(0.1)

    def wait_until(self, seen: Callable[[], bool], seconds: float = 120) -> None:
        deadline = time.monotonic() + seconds
        while not seen():
            assert self.process.poll() is None, self.complaints()
            assert time.monotonic() < deadline, self.complaints()
            time.sleep(0.05)

    def complaints(self) -> str:
        return "\n".join(line for line in self.log.read_text().splitlines() if '"request"' not in line)[-3000:]


def promote_altered(pilot: Pilot, version: str) -> None:
    """Let a version that was altered after it was fetched stand in the promotion log, as no command would write it."""
    cache = pilot.settings.champion_cache
    [sound] = (cache / "1").iterdir()
    altered = cache / version / sound.name
    if not altered.exists():
        shutil.copytree(sound, altered)
        model = altered / "model.onnx"
        content = bytearray(model.read_bytes())
        content[len(content) // 2] ^= 1
        model.write_bytes(content)
    from registries import write_entry

    with Store(pilot.settings.store) as store:
        newest = store.promotions.latest(pilot.name)
    assert newest is not None
    write_entry(pilot, from_version=newest.to_version, to_version=version)


@contextmanager
def served_here(pilot: Pilot, from_cache: bool = False) -> Iterator[TestClient]:
    """A client of the application in this process, once it has looked at the registry; or into the cache alone."""
    patient = {"registry_timeout_seconds": 300.0}  # MLflow is slow to import on a busy machine
    change = {"mlflow_tracking_uri": closed()} if from_cache else patient
    app: Any = create_app(Pilot(pilot.settings.model_copy(update=change)))
    with TestClient(app, base_url=HERE) as client:
        assert from_cache or app.app.state.loader.looked_in_registry.wait(300)
        yield client


@contextmanager
def serving(pilot: Pilot | Service, ready: bool = True, **environment: str) -> Iterator[Service]:
    """A service that is ended with the block; one that was started already, or one of this pilot."""
    service = pilot if isinstance(pilot, Service) else Service(pilot, **environment)
    try:
        service.wait("/health/ready" if ready else "/health/live")
        yield service
    finally:
        service.process.kill()
        service.process.wait()


@contextmanager
def load(service: Service, clients: int = 4) -> Iterator[list[tuple[int, Any]]]:
    """Ask all the time; the answers are in the list."""
    answers: list[tuple[int, Any]] = []
    stop = threading.Event()

    def ask() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
        while not stop.is_set():
            try:
                connection.request("POST", "/predict", service.body)
                response = connection.getresponse()
                answers.append((response.status, json.loads(response.read())))
            except (OSError, http.client.HTTPException) as error:
                answers.append((0, repr(error)))
                return

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield answers
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def black_hole() -> Iterator[str]:
    """An address that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def closed() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# For a service whose model is in the cache: reading a registry would cost a process that imports MLflow.
FROM_CACHE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "GROUNDWORK_REGISTRY_POLL_SECONDS": "600"}
