"""The service as a child process of `up`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot


def start_service(pilot: Pilot) -> tuple["subprocess.Popen[bytes]", str]:
    port = pilot.settings.port
    if not is_free(pilot.settings.host, port):
        with socket.socket() as probe:
            probe.bind((pilot.settings.host, 0))
            port = probe.getsockname()[1]
    with log_file(pilot).open("ab") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "groundwork.cli.main", "serve"],
            stdout=log,
            stderr=log,
            env=os.environ | {"GROUNDWORK_PORT": str(port), "GROUNDWORK_HOME": str(pilot.settings.home)},
            start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the service
        )
    return service, f"http://{pilot.settings.host}:{port}"


def wait_until_ready(service: "subprocess.Popen[bytes]", address: str, pilot: Pilot) -> None:
    problem = "it did not answer"
    deadline = time.monotonic() + 2 * pilot.settings.registry_timeout_seconds
    while time.monotonic() < deadline and service.poll() is None:
        try:
            _http(f"{address}/health/ready")
            return
        except urllib.error.HTTPError as error:
            problem = json.load(error)["detail"]
        except OSError as error:
            problem = str(error)
        time.sleep(0.1)
    raise GroundworkError(f"the service did not become ready: {problem}; see {log_file(pilot)}")


def stop_service(service: "subprocess.Popen[bytes]") -> None:
    if service.poll() is None:
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(timeout=15)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def _http(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def log_file(pilot: Pilot) -> Path:
    return pilot.settings.data_folder / "service.log"
