"""Several processes that share one port count, serve and end as one."""

import http.client
import os
import re
import signal
import time
from pathlib import Path

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.service.auth import new_key
from prometheus_client.parser import text_string_to_metric_families
from registries import put_in_service, register_again
from serving import FROM_CACHE, Service, load, serving
from stores import asked, ids_logged

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="they read /proc, which is Linux's")
WORKERS = 3


def workers(service: Service) -> list[int]:
    """The processes that answer, by their own word."""
    said = re.findall(r'"Started server process \[(\d+)\]', service.log.read_text())
    return [int(pid) for pid in said if alive(int(pid))]


def alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def until_there_are(service: Service, count: int, but: int | None = None) -> list[int]:
    """The workers, once so many have a model and the supervisor has noticed who is gone."""
    deadline = time.monotonic() + 120
    while True:
        pids = workers(service)
        text = service.ask("/metrics")[1]["text"]
        if len(pids) == count and but not in pids and "groundwork_ready 1.0" in text:
            return pids
        assert time.monotonic() < deadline, service.complaints()
        time.sleep(0.2)


def told(service: Service) -> dict[str, float]:
    """Each series with its labels, and its value; the same one twice is an error."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(service.ask("/metrics")[1]["text"]):
        for sample in family.samples:
            name = sample.name + str(sorted(sample.labels.items()))
            assert name not in found, f"{name} stands there twice"
            found[name] = sample.value
    return found


def total(series: dict[str, float], name: str, *having: str) -> float:
    return sum(
        value for key, value in series.items() if key.startswith(f"{name}[") and all(each in key for each in having)
    )


def predict(service: Service, connections: int, requests: int) -> None:
    """So many requests on each of so many connections, which are open at the same time."""
    clients = [http.client.HTTPConnection("127.0.0.1", service.port, timeout=60) for _ in range(connections)]
    for client in clients:
        client.connect()
    for _ in range(requests):
        for client in clients:
            client.request("POST", "/predict", service.body)
        for client in clients:
            response = client.getresponse()
            assert response.status == 200, response.read()
            response.read()
    for client in clients:
        client.close()


def test_what_several_workers_count_adds_up_even_after_one_was_killed(pilot_copy: Pilot) -> None:
    with serving(pilot_copy, **FROM_CACHE, WEB_CONCURRENCY=str(WORKERS)) as service:
        pids = until_there_are(service, WORKERS)
        predict(service, connections=30, requests=10)
        time.sleep(0.5)  # a request is counted once its answer has gone
        os.kill(pids[0], signal.SIGKILL)
        until_there_are(service, WORKERS, but=pids[0])
        predict(service, connections=30, requests=10)
        time.sleep(1.5)  # a worker writes what it is doing once a second
        series = told(service)
        info = service.ask("/metrics")[1]["text"]
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert total(series, "http_requests_total", "/predict", "'200'") == 600
    assert total(series, "http_request_duration_seconds_count", "/predict") == 600
    assert total(series, "groundwork_request_records_sum") == 600
    assert total(series, "groundwork_predictions_total") == 600
    assert total(series, "groundwork_requests_waiting") == 0
    assert total(series, "http_requests_in_progress") == 1  # the scrape itself
    assert total(series, "groundwork_ready") == 1
    assert total(series, "groundwork_model_info", "champion") == 1
    assert info.count("groundwork_owner_info{") == 4
    assert "process_resident_memory_bytes" not in info  # whose would it be?
    query = "select count(*) from predictions where role = 'champion'"
    assert asked(pilot_copy.settings.data_folder / "groundwork.db", query) == [(600,)]
    assert not any(alive(pid) for pid in pids)


@pytest.mark.soak
def test_a_swap_under_load_reaches_every_worker_and_leaves_no_stale_series(pilot_copy: Pilot) -> None:
    second = register_again(pilot_copy)
    with serving(pilot_copy, WEB_CONCURRENCY=str(WORKERS)) as service, load(service) as answers:
        until_there_are(service, WORKERS)
        put_in_service(pilot_copy, second.number)
        deadline = time.monotonic() + 120
        while total(told(service), "groundwork_model_info", "'version', '1'"):
            assert time.monotonic() < deadline, service.complaints()
            time.sleep(0.2)
        swapped = len(answers)
        while len(answers) < swapped + 20:
            time.sleep(0.1)
        series = told(service)
    assert {status for status, _ in answers} == {200}
    assert {answer["predictions"][0]["model_version"] for _, answer in answers[swapped + 8 :]} == {second.number}
    assert total(series, "groundwork_model_info", f"'version', '{second.number}'") == 1


def test_told_to_end_every_worker_answers_what_it_has_and_the_log_has_it(pilot_copy: Pilot) -> None:
    with (
        serving(pilot_copy, **FROM_CACHE, WEB_CONCURRENCY=str(WORKERS)) as service,
        load(service, clients=12) as answers,
    ):
        service.wait_until(lambda: len(answers) >= 50)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0
    answered = [body["predictions"][0]["prediction_id"] for status, body in answers if status == 200]
    assert {status for status, _ in answers} <= {0, 200}  # 0: refused a connection once it had ended
    logged = ids_logged(pilot_copy.settings.data_folder / "groundwork.db")
    assert len(answered) == len(set(answered)) >= 50
    assert set(answered) <= logged


def test_workers_ask_for_keys_and_end_with_their_supervisor(pilot_copy: Pilot) -> None:
    _, entry = new_key("tests", "admin")
    with serving(pilot_copy, **FROM_CACHE, WEB_CONCURRENCY="2", GROUNDWORK_API_KEYS=entry) as service:
        assert {service.predict()[0] for _ in range(8)} == {401}
        while len(pids := workers(service)) < 2:
            time.sleep(0.1)
        service.process.kill()
        deadline = time.monotonic() + 30
        while any(alive(pid) for pid in pids):
            assert time.monotonic() < deadline, "a worker outlived its supervisor and keeps the port"
            time.sleep(0.1)


@pytest.mark.soak
def test_a_worker_that_hangs_is_started_again(pilot_copy: Pilot, tmp_path: Path) -> None:
    hang = tmp_path / "sitecustomize.py"
    hang.write_text(
        "import time\nfrom groundwork.models.serving import predictor\n"
        "predictor.Predictor.scores = lambda self, columns, _scores=predictor.Predictor.scores:"
        " time.sleep(3600) if len(next(iter(columns.values()))) == 1 else _scores(self, columns)\n"
    )
    limits = {"GROUNDWORK_DEADLINE_SECONDS": "0.5", "GROUNDWORK_HUNG_SECONDS": "1", "WEB_CONCURRENCY": "2"}
    with serving(pilot_copy, **FROM_CACHE, PYTHONPATH=str(tmp_path), **limits) as service:
        before = until_there_are(service, 2)
        assert service.predict()[0] == 503
        deadline = time.monotonic() + 60
        while set(before) <= set(workers(service)):
            assert time.monotonic() < deadline, service.complaints()
            time.sleep(0.1)
        until_there_are(service, 2)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"GROUNDWORK_HOST": "0.0.0.0"}, "or listen on 127.0.0.1"),
        ({"GROUNDWORK_STORE_URL": "oracle://somewhere"}, "the address must begin with sqlite:/// or postgresql://"),
    ],
)
def test_what_no_worker_could_start_with_is_said_once(environment: dict, said: str, pilot_copy: Pilot) -> None:
    service = Service(pilot_copy, WEB_CONCURRENCY="2", **environment)
    try:
        assert service.process.wait(60) == 1
    finally:
        service.process.kill()
    assert service.log.read_text().count(said) == 1
