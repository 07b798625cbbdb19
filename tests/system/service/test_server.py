"""The process ends when it is told to, having answered what it has, and cuts off clients and models that hang."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from groundwork.documents.pilot import Pilot
from serving import FROM_CACHE, Service, load, serving
from stores import ids_logged


def test_told_to_end_it_answers_what_it_has_and_exits_with_0(pilot_copy: Pilot) -> None:
    with serving(pilot_copy, **FROM_CACHE) as service, load(service) as answers:
        service.wait_until(lambda: len(answers) >= 50)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(15) == 0
    answered = [body for status, body in answers if status == 200]
    assert len(answered) >= 50
    assert {status for status, _ in answers} <= {0, 200}  # 0: refused a connection once it had ended
    logged = ids_logged(pilot_copy.settings.data_folder / "groundwork.db")
    assert {body["predictions"][0]["prediction_id"] for body in answered} <= logged


def test_a_model_that_hangs_is_cut_off(pilot_copy: Pilot, tmp_path: Path) -> None:
    hang = tmp_path / "sitecustomize.py"
    hang.write_text(
        "import time\nfrom groundwork.models.serving import predictor\n"
        "predictor.Predictor.scores = lambda self, columns, _scores=predictor.Predictor.scores:"
        " time.sleep(3600) if len(next(iter(columns.values()))) == 1 else _scores(self, columns)\n"
    )
    limits = {"GROUNDWORK_DEADLINE_SECONDS": "0.5", "GROUNDWORK_HUNG_SECONDS": "1", "GROUNDWORK_GRACE_SECONDS": "2"}
    with serving(pilot_copy, **FROM_CACHE, PYTHONPATH=str(tmp_path), **limits) as service:
        status, answer = service.predict()
        assert (status, "in time" in answer["detail"]) == (503, True)
        service.wait("/health/live", 503)
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"", b""),
        (b"POST /predict HTTP/1.1\r\nHost: x\r\n", b""),
        (b"POST /predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 408 Request Timeout"),
        (b"POST /outcomes HTTP/1.1\r\nContent-Length: 100\r\n\r\n{", b"HTTP/1.1 408 Request Timeout"),
    ],
    ids=["nothing", "half the headers", "half the body", "half the outcomes"],
)
def test_a_slow_client_is_cut_off(shared_service: Service, sent: bytes, said: bytes) -> None:
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.sendall(sent)
        heard = b""
        while part := client.recv(4096):  # until the service closes; a timeout fails the test
            heard += part
    assert heard.partition(b"\r\n")[0] == said


def test_a_client_that_sends_outcomes_byte_by_byte_is_cut_off(shared_service: Service) -> None:
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.sendall(b"POST /outcomes HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        while time.monotonic() < began + 5:  # the service allows half a second
            client.sendall(b" ")
            client.settimeout(0.1)
            try:
                heard = client.recv(4096)
                break
            except TimeoutError:
                pass
    assert heard.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() < began + 4


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it reads /proc, which is Linux's")
@pytest.mark.parametrize(
    "begins",
    [b"GET / HTTP/1.1\r\nX: ", b"GET /", b"POST /predict HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;"],
    ids=["one header", "the path", "a chunk's extension"],
)
def test_endless_headers_are_cut_off_and_leave_no_memory_behind(shared_service: Service, begins: bytes) -> None:
    """Without a key, and on several connections at once."""

    def resident() -> float:
        status = Path(f"/proc/{shared_service.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    before, sent = resident(), 0
    for _ in range(5):
        with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
            try:
                client.sendall(begins)
                for _ in range(400):  # 25 MB
                    client.sendall(b"x" * 65_536)
                    sent += 65_536
                pytest.fail("the service read all of it")
            except OSError:  # it has closed the connection
                pass
    assert sent < 5 * 20_000_000
    assert resident() < before + 10


def test_headers_beyond_the_limit_are_answered_with_431(shared_service: Service) -> None:
    with socket.create_connection(("127.0.0.1", shared_service.port), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * 33_000)
        assert client.recv(4096).startswith(b"HTTP/1.1 431 ")


def test_a_client_that_pauses_between_requests_is_not_cut_off(shared_service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", shared_service.port, timeout=10)
    for _ in range(3):  # one connection, with longer pauses than a request may take to arrive
        connection.request("POST", "/predict", shared_service.body)
        response = connection.getresponse()
        assert (response.status, bool(response.read())) == (200, True)
        time.sleep(0.7)


def test_what_the_service_writes_is_for_its_user_alone(pilot_copy: Pilot, tmp_path: Path) -> None:
    store = tmp_path / "elsewhere/groundwork.db"
    with serving(pilot_copy, **FROM_CACHE, SERVE_MODE="no-model", GROUNDWORK_STORE_URL=f"sqlite:///{store}"):
        assert {each.name: each.stat().st_mode & 0o077 for each in (store, store.parent)} == {
            "groundwork.db": 0,
            "elsewhere": 0,
        }


def test_does_not_start_open_to_a_network(pilot: Pilot) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "groundwork.service"],
        env=os.environ | {"GROUNDWORK_HOST": "0.0.0.0"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith("or listen on 127.0.0.1")
