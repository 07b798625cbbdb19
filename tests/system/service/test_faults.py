"""The service as a process of its own, and what goes wrong around it."""

import http.client
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import promote, reconcile
from groundwork.models.registry.registry import CHALLENGER, Registry
from groundwork.service.auth import new_key
from groundwork.service.requests import RequestReader
from groundwork.store.database import Store
from pilots import enter
from serving import Service, black_hole, closed, load, promote_altered, serving

FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")


@pytest.fixture(scope="module")
def service(pilot: Pilot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that the tests which do it no harm share, with a client's time cut short."""
    home = tmp_path_factory.mktemp("shared") / "pilot"
    shutil.copytree(pilot.settings.home, home)
    with pytest.MonkeyPatch.context() as patch:
        pilot = enter(home, patch)
        with serving(pilot, GROUNDWORK_CLIENT_SECONDS="0.5") as service:
            service.wait("/health/ready", model_source="registry")
            yield service


@pytest.fixture
def second_version(pilot_copy: Pilot) -> str:
    """A second version in the registry, with the first one's bundle."""
    registry = Registry(pilot_copy)
    client = registry._client
    first = client.get_model_version(registry.name, "1")
    tags = dict(first.tags)
    return str(client.create_model_version(registry.name, first.source, first.run_id, tags).version)


def point(pilot: Pilot, alias: str, version: str) -> None:
    registry = Registry(pilot)
    if alias == CHALLENGER:
        registry._client.set_registered_model_alias(registry.name, alias, version)
        return
    found = registry.version(version)
    assert found is not None
    with Store(pilot.settings.store) as store:
        promote(store, registry, found, reconcile(store, registry), "ada", "for the test")


def test_a_registry_that_is_down_at_first_start_leaves_it_live_and_not_ready(pilot_copy: Pilot) -> None:
    shutil.rmtree(pilot_copy.settings.champion_cache, ignore_errors=True)
    with serving(pilot_copy, ready=False, MLFLOW_TRACKING_URI=closed()) as service:
        answer = service.wait("/health/ready", 503)
        assert "no model is loaded yet" in answer["detail"]
        assert service.predict()[0] == 503


@pytest.mark.parametrize("registry", ["closed", "black hole", "alias missing"])
def test_the_last_good_champion_serves_when_the_registry_does_not(
    service: Service, pilot_copy: Pilot, registry: str
) -> None:
    shutil.copytree(service.data / "champion", pilot_copy.settings.champion_cache, dirs_exist_ok=True)
    with black_hole() as hole:
        uri = {"closed": closed(), "black hole": hole, "alias missing": pilot_copy.settings.tracking_uri}[registry]
        if registry == "alias missing":
            known = Registry(pilot_copy)
            known._client.delete_registered_model_alias(known.name, "champion")
        began = time.monotonic()
        with serving(pilot_copy, MLFLOW_TRACKING_URI=uri) as cut_off:
            assert time.monotonic() - began < 10
            assert cut_off.wait("/health/ready")["model_source"] == "cache"
            assert cut_off.predict()[0] == 200


def test_a_swap_under_load_fails_no_request(pilot_copy: Pilot, second_version: str) -> None:
    with serving(pilot_copy) as service, load(service) as answers:
        for version in (second_version, "1", second_version):
            point(pilot_copy, "champion", version)
            service.wait("/health/ready", model_version=version)
    assert {status for status, _ in answers} == {200}
    versions = {answer["predictions"][0]["model_version"] for _, answer in answers}
    assert versions == {"1", second_version}


def test_the_rollback_drill(pilot_copy: Pilot, second_version: str) -> None:
    """One command, and within ten seconds the service serves the version before, though it asks the registry rarely."""
    point(pilot_copy, "champion", second_version)
    with serving(pilot_copy, GROUNDWORK_REGISTRY_POLL_SECONDS="600") as service:
        service.wait("/health/ready", model_version=second_version, model_source="registry")
        began = time.monotonic()
        command = [sys.executable, "-m", "groundwork.cli.main", "rollback", "--why", "it re-plans everything"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rollback, load(service) as answers:
            service.wait("/health/ready", model_version="1")
            took = time.monotonic() - began
            assert rollback.wait(120) == 0
        assert took < 10
        assert service.predict()[1]["predictions"][0]["model_version"] == "1"
    assert {status for status, _ in answers} == {200}
    champion = Registry(pilot_copy).champion()
    assert champion is not None
    assert champion.number == "1"
    with Store(pilot_copy.settings.store) as store:
        entry = store.promotions.latest(Registry(pilot_copy).name)
    assert entry is not None
    assert (entry.from_version, entry.to_version, entry.why) == (second_version, "1", "it re-plans everything")


def test_a_bad_version_is_refused_and_the_old_one_stays(pilot_copy: Pilot, second_version: str) -> None:
    with serving(pilot_copy) as service:
        service.wait("/health/ready", model_source="registry")
        promote_altered(pilot_copy, second_version)
        deadline = time.monotonic() + 120
        while "groundwork_model_refresh_failures_total 0.0" in service.ask("/metrics")[1]["text"]:
            assert time.monotonic() < deadline, service.complaints()
            time.sleep(0.1)
        assert service.wait("/health/ready")["model_version"] == "1"
        assert service.predict()[1]["predictions"][0]["model_version"] == "1"
    assert "its digest differs" in service.complaints()


def test_a_bad_challenger_is_left_out_and_the_champion_serves(pilot_copy: Pilot, second_version: str) -> None:
    folder = next((pilot_copy.settings.champion_cache / "1").iterdir())
    fetched = pilot_copy.settings.champion_cache / second_version / folder.name
    shutil.copytree(folder, fetched)
    (fetched / "model.onnx").write_bytes(b"not a model")
    point(pilot_copy, CHALLENGER, second_version)
    with serving(pilot_copy, GROUNDWORK_CANARY_SHARE="1") as service:
        service.wait("/health/ready", model_source="registry")
        metrics = service.ask("/metrics")[1]["text"]
        assert service.predict()[1]["predictions"][0]["role"] == "champion"
    assert 'alias="challenger"' not in metrics
    assert "its digest differs" in service.complaints()


def test_every_acknowledged_prediction_outlives_a_kill(pilot_copy: Pilot) -> None:
    acknowledged = set()
    for round_ in range(3):
        with serving(pilot_copy) as service, load(service, clients=8) as answers:
            time.sleep(0.2 + round_ / 20)
            service.process.send_signal(signal.SIGKILL)
        acknowledged |= {
            each["prediction_id"] for status, body in answers if status == 200 for each in body["predictions"]
        }
    with closing(sqlite3.connect(pilot_copy.settings.data_folder / "groundwork.db")) as log:
        logged = {row[0] for row in log.execute("select prediction_id from predictions")}
    assert len(acknowledged) > 50
    assert acknowledged <= logged


def test_told_to_end_it_answers_what_it_has_and_exits_with_0(pilot_copy: Pilot) -> None:
    with serving(pilot_copy) as service, load(service) as answers:
        time.sleep(0.5)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(15) == 0
    answered = [body for status, body in answers if status == 200]
    assert {status for status, _ in answers} <= {0, 200}  # 0: refused a connection once it had ended
    with closing(sqlite3.connect(pilot_copy.settings.data_folder / "groundwork.db")) as log:
        logged = {row[0] for row in log.execute("select prediction_id from predictions")}
    assert {body["predictions"][0]["prediction_id"] for body in answered} <= logged


def test_a_model_that_hangs_is_cut_off(pilot_copy: Pilot, tmp_path: Path) -> None:
    hang = tmp_path / "sitecustomize.py"
    hang.write_text(
        "import time\nfrom groundwork import predictor\n"
        "predictor.Predictor.scores = lambda self, columns, _scores=predictor.Predictor.scores:"
        " time.sleep(3600) if len(next(iter(columns.values()))) == 1 else _scores(self, columns)\n"
    )
    limits = {"GROUNDWORK_DEADLINE_SECONDS": "0.5", "GROUNDWORK_HUNG_SECONDS": "1", "GROUNDWORK_GRACE_SECONDS": "2"}
    with serving(pilot_copy, PYTHONPATH=str(tmp_path), **limits) as service:
        status, answer = service.predict()
        assert (status, "in time" in answer["detail"]) == (503, True)
        service.wait("/health/live", 503)
        began = time.monotonic()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
        assert time.monotonic() - began < 10


@pytest.mark.parametrize(
    "sent",
    [b"", b"POST /predict HTTP/1.1\r\nHost: x\r\n", b"POST /predict HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"],
    ids=["nothing", "half the headers", "half the body"],
)
def test_a_slow_client_is_cut_off(service: Service, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as client:
        client.sendall(sent)
        heard = b""
        while part := client.recv(4096):  # until the service closes; a timeout fails the test
            heard += part
    assert not heard or heard.startswith(b"HTTP/1.1 408")


def test_a_client_that_pauses_between_requests_is_not_cut_off(service: Service) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=10)
    for _ in range(3):  # one connection, with longer pauses than a request may take to arrive
        connection.request("POST", "/predict", service.body)
        assert connection.getresponse().read()
        time.sleep(0.7)


def test_a_log_that_cannot_be_written_refuses_and_recovers(service: Service) -> None:
    assert service.predict()[0] == 200
    with closing(sqlite3.connect(service.data / "groundwork.db", isolation_level=None)) as other:
        other.execute("begin exclusive")  # nobody else can write now
        status, answer = service.predict()
        assert (status, answer["title"]) == (503, "The service cannot answer now")
        other.execute("rollback")
    assert service.predict()[0] == 200


@contextmanager
def disk_full(service: Service) -> Iterator[None]:
    """A file system without a byte of room under the store, which lies in a small one of its own."""
    rest = service.data / "rest"
    with rest.open("wb", buffering=0) as filler, suppress(OSError):
        for size in (4096, 1):
            with suppress(OSError):
                while filler.write(b" " * size):
                    pass
    yield
    rest.unlink()


@contextmanager
def no_larger_files(service: Service) -> Iterator[None]:
    """The process may not let any file grow: a quota, as it were."""
    pid = service.process.pid
    _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, most))
    yield
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="only Linux sets the limits of another process")
@pytest.mark.parametrize("without_room", [disk_full, no_larger_files])
def test_with_no_room_for_the_log_nothing_is_answered_until_there_is(
    without_room: Callable[[Service], AbstractContextManager[None]], pilot_copy: Pilot
) -> None:
    small = pilot_copy.settings.data_folder / "small"
    small.mkdir()
    mounted = without_room is disk_full
    if mounted and subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small]).returncode != 0:
        pytest.skip("only root makes a file system")
    database = small / "groundwork.db"
    try:
        with serving(pilot_copy, GROUNDWORK_STORE_URL=f"sqlite:///{database}") as service:
            service.data = small
            answered = [service.predict()]
            with without_room(service):
                while answered[-1][0] == 200:
                    assert len(answered) < 5000, "it never ran out of room"
                    answered.append(service.predict())
                status, problem = answered.pop()
                assert (status, problem["title"]) == (503, "The service cannot answer now")
                assert problem["detail"] == "the prediction log cannot be written, so nothing was answered"
                assert service.ask("/health/live")[0] == 200
            answered.append(service.predict())
            assert answered[-1][0] == 200
        with closing(sqlite3.connect(database)) as log:
            logged = {row[0] for row in log.execute("select prediction_id from predictions")}
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", small], check=True)
    assert {each["prediction_id"] for _, body in answered for each in body["predictions"]} == logged


@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed")
def test_a_wall_clock_that_jumps_delays_and_repeats_nothing(pilot_copy: Pilot, tmp_path: Path) -> None:
    """Months back, years ahead and to and fro, under load: libfaketime sets the clock, but not the monotonic one."""
    clock = tmp_path / "clock"
    clock.write_text("+0")
    faked = {
        "LD_PRELOAD": FAKETIME,
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    with serving(pilot_copy, GROUNDWORK_DEADLINE_SECONDS="20", **faked) as service, load(service) as answers:
        for jump in ("-90d", "+10y", "-1", "+0", "-3600", "+3600", "+0"):
            before = len(answers)
            clock.write_text(jump)
            while len(answers) < before + 20:
                assert service.process.poll() is None
                time.sleep(0.01)
        seconds = [
            float(line.rpartition(" ")[2])
            for line in service.ask("/metrics")[1]["text"].splitlines()
            if line.startswith("http_request_duration_seconds_sum")
        ]
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert {status for status, _ in answers} <= {200, 0}
    told = [body["predictions"][0]["prediction_id"] for status, body in answers if status == 200]
    with closing(sqlite3.connect(pilot_copy.settings.data_folder / "groundwork.db")) as log:
        logged = dict(log.execute("select prediction_id, substr(answered_at, 1, 4) from predictions").fetchall())
    assert len(told) == len(set(told)) >= 140
    assert set(told) <= set(logged)
    years = {int(year) for year in logged.values()}
    assert max(years) >= min(years) + 10, "the clock never jumped"
    assert all(0 <= each < 600 for each in seconds)


def test_a_thousand_strange_paths_make_no_series(service: Service) -> None:
    service.ask("/nowhere")
    before = service.ask("/metrics")[1]["text"].count("\n")
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=20)
    for number in range(1000):
        connection.request("GET", f"/{os.urandom(4).hex()}/{number}")
        response = connection.getresponse()
        response.read()
        assert response.status == 404
    assert service.ask("/metrics")[1]["text"].count("\n") < before + 50


def test_no_secret_and_no_record_is_ever_repeated(pilot_copy: Pilot) -> None:
    """Neither in an error, nor in the log, nor in the metrics: what was sent stands in the prediction log alone."""
    key, entry = new_key("tests", "predict+outcomes+admin")
    secret = "s3cr3t-d0-n0t-t3ll"
    with serving(pilot_copy, GROUNDWORK_API_KEYS=entry) as service:
        bad = service.body.replace(b"2013", secret.encode())
        said = [service.ask("/predict", service.body, {"Authorization": f"Bearer {secret}"})]
        for path, body in (("/predict", bad), ("/outcomes", bad), (f"/{secret}", bad), ("/predict", bad[:-1])):
            said.append(service.ask(path, body, {"Authorization": f"Bearer {key}", "X-Secret": secret}))
        said.append(service.ask("/metrics", headers={"Authorization": f"Bearer {key}"}))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert [status for status, _ in said] == [401, 422, 422, 404, 422, 200]
    everything = service.log.read_text() + json.dumps(said)
    assert secret not in everything
    assert key not in everything


def test_a_challenger_answers_the_canarys_share_and_else_decides_in_the_shadow(
    pilot_copy: Pilot, second_version: str
) -> None:
    point(pilot_copy, CHALLENGER, second_version)
    example = RequestReader(pilot_copy.contract, 1).example["records"][0]
    body = json.dumps({"records": [example | {"flight_id": f"20131224-B6-{n}-JFK"} for n in range(400)]}).encode()
    with serving(pilot_copy, GROUNDWORK_CANARY_SHARE="0.25") as service:
        service.wait("/health/ready", model_source="registry")
        first, again = (service.ask("/predict", body)[1]["predictions"] for _ in range(2))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert [each["role"] for each in first] == [each["role"] for each in again]  # sticky by entity
    counts = Counter((each["role"], each["model_version"]) for each in first)
    assert set(counts) == {("champion", "1"), ("canary", second_version)}  # a shadow's answer is never given
    assert 60 < counts["canary", second_version] < 140
    with closing(sqlite3.connect(pilot_copy.settings.data_folder / "groundwork.db")) as log:
        logged = dict(log.execute("select role, count(*) from predictions group by role").fetchall())
    assert logged == {
        "champion": 2 * counts["champion", "1"],
        "shadow": 2 * counts["champion", "1"],
        "canary": 2 * counts["canary", second_version],
    }


def test_without_a_model_the_rule_answers_and_says_so(pilot_copy: Pilot) -> None:
    with serving(pilot_copy, SERVE_MODE="no-model", MLFLOW_TRACKING_URI=closed()) as service:
        [prediction] = service.predict()[1]["predictions"]
    assert prediction | {"prediction_id": ""} == {
        "prediction_id": "",
        "score": None,
        "decision": "replan",  # at 18:25
        "model_version": "",
        "role": "no-model",
    }
    with Store(pilot_copy.settings.store) as store:
        [logged] = [p for p in store.predictions.between(*_forever()) if p.prediction_id == prediction["prediction_id"]]
    assert (logged.role, logged.score) == ("no-model", None)


def test_outcomes_are_kept_once_and_strangers_are_named(service: Service) -> None:
    known = service.predict()[1]["predictions"][0]["prediction_id"]
    told = {"outcomes": [{"prediction_id": known, "outcome": True}, {"prediction_id": "none", "outcome": False}]}
    body = json.dumps(told).encode()
    assert service.ask("/outcomes", body) == service.ask("/outcomes", body)
    assert service.ask("/outcomes", body)[1] == {"received": 2, "unknown": ["none"], "contradicting": []}
    told["outcomes"][0]["outcome"] = False
    assert service.ask("/outcomes", json.dumps(told).encode())[1]["contradicting"] == [known]
    assert service.ask("/outcomes", b'{"outcomes": [{"prediction_id": "x", "outcome": 1}]}')[0] == 422


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


def _forever() -> tuple[Any, Any]:
    from datetime import datetime

    return datetime(1900, 1, 1), datetime(2200, 1, 1)
