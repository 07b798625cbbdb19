"""What is answered is in the log: through kills, full disks, locks and clocks that jump."""

import json
import resource
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.bundles import CHALLENGER
from groundwork.service.request_schema import RequestReader
from groundwork.store.batches import Prediction
from groundwork.store.database import Store
from other_tasks import CLASSES, Ran
from pilots import Postgres
from registries import set_alias
from serving import FROM_CACHE, Service, closed, load, serving
from stores import asked, ids_logged

FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")


def test_every_acknowledged_prediction_outlives_a_kill(pilot_copy: Pilot) -> None:
    acknowledged = set()
    for round_ in range(3):
        with serving(pilot_copy, **FROM_CACHE) as service, load(service, clients=8) as answers:
            service.wait_until(lambda: len(answers) >= 20 * (round_ + 1))  # noqa: B023  (it is called at once)
            service.process.send_signal(signal.SIGKILL)
        acknowledged |= {
            each["prediction_id"] for status, body in answers if status == 200 for each in body["predictions"]
        }
    logged = ids_logged(pilot_copy.settings.data_folder / "groundwork.db")
    assert len(acknowledged) >= 120
    assert acknowledged <= logged


def test_a_log_that_cannot_be_written_refuses_and_recovers(shared_service: Service) -> None:
    assert shared_service.predict()[0] == 200
    with closing(sqlite3.connect(shared_service.data / "groundwork.db", isolation_level=None)) as other:
        other.execute("begin exclusive")  # nobody else can write now
        status, answer = shared_service.predict()
        assert (status, answer["title"]) == (503, "The service cannot answer now")
        other.execute("rollback")
    assert shared_service.predict()[0] == 200


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
        with serving(pilot_copy, **FROM_CACHE, GROUNDWORK_STORE_URL=f"sqlite:///{database}") as service:
            service.data = small
            answered = [service.predict()]
            with without_room(service):
                while answered[-1][0] == 200:
                    assert len(answered) < 5000, "it never ran out of room"
                    answered.append(service.predict())
                status, problem = answered.pop()
                assert (status, problem["title"]) == (503, "The service cannot answer now")
                assert problem["detail"] == "the prediction log cannot be written, so the request was not answered"
                assert service.ask("/health/live")[0] == 200
                status, problem = service.ask("/health/ready")
                assert status == 503
                assert problem["detail"].startswith("the prediction log cannot be written: the store sqlite:///")
                metrics = service.ask("/metrics")[1]["text"].splitlines()
                assert {"groundwork_ready 0.0", "groundwork_prediction_log_writable 0.0"} <= set(metrics)
                time.sleep(1.5)  # longer than between two attempts to write
                assert service.ask("/health/ready")[0] == 503
            service.wait("/health/ready", seconds=30)  # no request has to come first
            told = [line for line in service.log.read_text().splitlines() if "log not written" in line]
            assert len(told) == mounted, "the quota holds for this log, too"
            assert all("disk is full" in line for line in told)
            answered.append(service.predict())
            assert answered[-1][0] == 200
        logged = ids_logged(database)
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", small], check=True)
    assert {each["prediction_id"] for _, body in answered for each in body["predictions"]} == logged


@pytest.mark.slow
def test_a_database_that_becomes_read_only_is_found_without_a_request(
    pilot_copy: Pilot, postgres: Postgres, request: pytest.FixtureRequest
) -> None:
    """By a service that nobody asks, with the cause in log, metric and page; and it is ready again by itself."""
    import psycopg

    def set_read_only(state: str) -> None:
        with psycopg.connect(postgres.url, autocommit=True) as database:
            database.execute("set default_transaction_read_only = off")
            name = database.info.dbname
            database.execute(f"alter database {name} set default_transaction_read_only = {state}")
            database.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()",
                (name,),
            )

    with serving(pilot_copy, SERVE_MODE="no-model", **FROM_CACHE, GROUNDWORK_STORE_URL=postgres.url) as service:
        [known] = service.predict()[1]["predictions"]
        set_read_only("on")
        request.addfinalizer(lambda: set_read_only("off"))
        problem = service.wait("/health/ready", 503, seconds=30)
        service.wait_until(lambda: "read-only" in service.ask("/health/ready")[1]["detail"], seconds=30)
        assert problem["detail"].startswith("the prediction log cannot be written: ")
        assert "groundwork_prediction_log_writable 0.0" in service.ask("/metrics")[1]["text"].splitlines()
        assert "read-only" in service.ask("/")[1]["text"]
        assert '"prediction log not written"' in service.log.read_text()
        told = {"outcomes": [{"prediction_id": known["prediction_id"], "outcome": True}]}
        assert service.ask("/outcomes", json.dumps(told).encode())[0] == 503
        assert '"the store failed"' in service.log.read_text()
        set_read_only("off")
        service.wait("/health/ready", seconds=30)


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
    with (
        serving(pilot_copy, **FROM_CACHE, GROUNDWORK_DEADLINE_SECONDS="20", **faked) as service,
        load(service) as answers,
    ):
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
    query = "select prediction_id, substr(answered_at, 1, 4) from predictions"
    logged = dict(asked(pilot_copy.settings.data_folder / "groundwork.db", query))
    assert len(told) == len(set(told)) >= 140
    assert set(told) <= set(logged)
    years = {int(year) for year in logged.values()}
    assert max(years) >= min(years) + 10, "the clock never jumped"
    assert all(0 <= each < 600 for each in seconds)


def test_a_challenger_answers_the_canarys_share_and_else_decides_in_the_shadow(
    pilot_copy: Pilot, second_version: str
) -> None:
    set_alias(pilot_copy, CHALLENGER, second_version)
    example = RequestReader(pilot_copy.contract, 1).example["records"][0]
    body = json.dumps({"records": [example | {"flight_id": f"20131224-B6-{n}-JFK"} for n in range(400)]}).encode()
    with serving(pilot_copy, GROUNDWORK_CANARY_SHARE="0.25") as service:
        service.wait("/health/ready", model_source="registry")
        service.wait_until(lambda: 'alias="challenger"' in service.ask("/metrics")[1]["text"])  # it comes after
        first, again = (service.ask("/predict", body)[1]["predictions"] for _ in range(2))
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(20) == 0
    assert [each["role"] for each in first] == [each["role"] for each in again]  # sticky by entity
    counts = Counter((each["role"], each["model_version"]) for each in first)
    assert set(counts) == {("champion", "1"), ("canary", second_version)}  # a shadow's answer is never given
    assert 60 < counts["canary", second_version] < 140
    query = "select role, count(*) from predictions group by role"
    logged = dict(asked(pilot_copy.settings.data_folder / "groundwork.db", query))
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


def test_outcomes_are_kept_once_and_strangers_are_named(shared_service: Service) -> None:
    known = shared_service.predict()[1]["predictions"][0]["prediction_id"]
    told = {"outcomes": [{"prediction_id": known, "outcome": True}, {"prediction_id": "none", "outcome": False}]}
    body = json.dumps(told).encode()
    assert shared_service.ask("/outcomes", body) == shared_service.ask("/outcomes", body)
    assert shared_service.ask("/outcomes", body)[1] == {"received": 2, "unknown": ["none"], "contradicting": []}
    told["outcomes"][0]["outcome"] = False
    assert shared_service.ask("/outcomes", json.dumps(told).encode())[1]["contradicting"] == [known]
    assert shared_service.ask("/outcomes", b'{"outcomes": [{"prediction_id": "x", "outcome": 1}]}')[0] == 422


def _forever() -> tuple[Any, Any]:
    from datetime import datetime

    return datetime(1900, 1, 1), datetime(2200, 1, 1)


def logged(pilot: Pilot) -> list[Prediction]:
    with Store(pilot.settings.store) as store:
        return store.predictions.between(datetime(1900, 1, 1), datetime(2200, 1, 1))


def test_the_service_answers_logs_and_describes_it(ran: Ran, asked: TestClient) -> None:
    description = asked.get("/openapi.json").json()
    post = description["paths"]["/predict"]["post"]
    [prediction] = asked.post("/predict", json=post["requestBody"]["content"]["application/json"]["example"]).json()[
        "predictions"
    ]
    described = post["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["predictions"]
    kept = {each.prediction_id: each for each in logged(ran.pilot)}[prediction["prediction_id"]]
    if ran.variant.task.kind == "multiclass":
        assert tuple(prediction["score"]) == CLASSES
        assert sum(prediction["score"].values()) == pytest.approx(1, abs=1e-5)
        assert described["items"]["properties"]["score"]["required"] == list(CLASSES)
        assert (kept.score, json.loads(kept.class_scores or "")) == (None, prediction["score"])
    else:
        assert (kept.score, kept.class_scores) == (prediction["score"], None)
        assert isinstance(prediction["score"], float)
    assert prediction["decision"] in ("replan", "keep")
