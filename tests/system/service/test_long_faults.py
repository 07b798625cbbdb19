"""What a quick test does a few times, done often enough to meet what happens seldom: minutes each."""

import json
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import pytest
from groundwork.core.windows import window_of
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import promote
from groundwork.models.registry.registry import Registry
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from pilots import Postgres, enter, write_pilot
from serving import FROM_CACHE, Service, closed, load, promote_altered, serving
from stores import ids_logged
from use_case import decision

pytestmark = pytest.mark.soak


def logged(pilot: Pilot) -> set[str]:
    return ids_logged(pilot.settings.data_folder / "groundwork.db")


def acknowledged(answers: list) -> set[str]:
    return {each["prediction_id"] for status, body in answers if status == 200 for each in body["predictions"]}


@pytest.mark.night
def test_a_hundred_kills_lose_no_acknowledged_prediction(pilot_copy: Pilot) -> None:
    told: set[str] = set()
    for kill in range(100):
        # From the cache, with the registry down: half a second to the first answer.
        with serving(pilot_copy, MLFLOW_TRACKING_URI=closed()) as service, load(service, clients=8) as answers:
            while not answers:
                time.sleep(0.01)
            time.sleep(kill / 400)
            service.process.send_signal(signal.SIGKILL)
        fresh = acknowledged(answers)
        assert fresh, service.complaints()
        assert not fresh & told
        told |= fresh
    assert told <= logged(pilot_copy)
    print(f"100 kills: {len(told):,} acknowledged predictions, all in the log")


def test_fifty_swaps_under_load_fail_no_request(pilot_copy: Pilot) -> None:
    """Every fifth version that becomes champion is not what was registered: refused, told, and the old one stays."""
    registry = Registry(pilot_copy)
    client = mlflow.MlflowClient()
    first = client.get_model_version(registry.name, "1")

    def version(**tags: str) -> str:
        return str(client.create_model_version(registry.name, first.source, first.run_id, first.tags | tags).version)

    good = ["1", version(), version()]
    bad = version()
    serves, refused = "1", 0
    # By the promotion log within a second; the slow look at the registry comes in between now and then.
    with serving(pilot_copy, GROUNDWORK_REGISTRY_POLL_SECONDS="30") as service, load(service, clients=2) as answers:
        service.wait("/health/ready", model_source="registry")
        for swap in range(1, 51):
            if swap % 5:
                serves = good[swap % 3] if good[swap % 3] != serves else good[(swap + 1) % 3]
                make_champion(pilot_copy, serves)
                service.wait("/health/ready", model_version=serves)
            else:
                before = failures(service)
                promote_altered(pilot_copy, bad)
                deadline = time.monotonic() + 60
                while failures(service) == before:
                    assert time.monotonic() < deadline, service.complaints()
                    time.sleep(0.05)
                refused += 1
                assert service.wait("/health/ready")["model_version"] == serves
    assert refused == 10
    assert {status for status, _ in answers} == {200}
    assert {body["predictions"][0]["model_version"] for _, body in answers} == set(good)
    assert acknowledged(answers) <= logged(pilot_copy)
    assert "models not refreshed" in service.complaints()
    print(f"40 swaps and {refused} refusals under load: {len(answers):,} requests, none failed")


def make_champion(pilot: Pilot, number: str) -> None:
    registry = Registry(pilot)
    version = registry.version(number)
    assert version is not None
    with Store(pilot.settings.store) as store:
        promote(store, registry, version, store.promotions.latest(registry.name), by="ada", why="for the test")


def failures(service: Service) -> float:
    [line] = [
        line
        for line in service.ask("/metrics")[1]["text"].splitlines()
        if line.startswith("groundwork_model_refresh_failures_total")
    ]
    return float(line.split()[1])


def test_a_database_that_goes_and_comes_back_costs_refusals_and_no_prediction(
    pilot_copy: Pilot, postgres: Postgres
) -> None:
    with serving(pilot_copy, GROUNDWORK_STORE_URL=postgres.url) as service:
        told = acknowledged([service.predict()])
        for _ in range(3):
            with load(service) as answers:
                time.sleep(0.5)
                postgres.stop()
                service.wait_until(lambda: service.predict()[0] == 503)
                assert service.ask("/health/live")[0] == 200
                postgres.start()
                service.wait_until(lambda: service.predict()[0] == 200)
            assert {status for status, _ in answers} == {200, 503}
            told |= acknowledged(answers)
    with Store(postgres.url) as store:
        kept = {row[0] for row in store.ask("select prediction_id from predictions")}
    assert told <= kept


def test_the_service_decides_as_the_pipeline_does_on_every_row_of_the_newest_month(
    tmp_path: Path, first_weeks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the example's whole year."""
    write_pilot(tmp_path / "year", first_weeks.with_name("year.duckdb"))
    pilot = enter(tmp_path / "year", monkeypatch)
    by_hand.ingest(pilot)
    assert by_hand.train(pilot).in_service
    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    rows = snapshots.read(*window_of(snapshots.newest(), "month"))
    times = [at.isoformat() for at in rows[dataset.event_time.name].to_pylist()]
    records = [
        {column.name: row[column.name] for column in dataset.requested} | {dataset.event_time.name: at}
        for row, at in zip(rows.to_pylist(), times, strict=True)
    ]
    answered = []
    with serving(pilot) as service:
        for start in range(0, len(records), 1000):
            body = json.dumps({"records": records[start : start + 1000]}).encode()
            status, answer = service.ask("/predict", body)
            assert status == 200, answer
            answered += answer["predictions"]
    # Not through groundwork.models.serving.predictor: what the pipeline was trained on, made by other means.
    frame = rows.select(dataset.feature_names).to_pandas()
    texts = [column.name for column in dataset.features if column.logical_type == "string"]
    frame = frame.astype({name: object if name in texts else "float32" for name in frame.columns})
    mlflow.set_tracking_uri(pilot.settings.tracking_uri)
    pipeline = mlflow.sklearn.load_model(f"models:/{Registry(pilot).name}@champion")
    expected = pipeline.predict_proba(frame)[:, 1]
    assert len(answered) == len(expected) > 25_000
    np.testing.assert_allclose([each["score"] for each in answered], expected, rtol=0, atol=1e-5)
    decisions = decision.decide(expected.astype("float32"), pilot.charter.value.parameters).tolist()
    assert [each["decision"] for each in answered] == decisions
    assert len(set(decisions)) > 1
    print(f"{len(expected):,} rows: every score within 1e-5, every decision the same")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it reads /proc, which is Linux's")
def test_twenty_thousand_requests_leave_memory_as_it_was(pilot_copy: Pilot) -> None:
    with serving(pilot_copy) as service:
        service.wait("/health/ready", model_source="registry")

        def resident(requests: int) -> float:
            """Megabytes after so many more answers, good and bad ones; a busy machine may refuse a few with 503."""
            with load(service) as answers:
                while len(answers) < requests:
                    service.ask("/predict", b'{"records": [{"unknown": 1}]}')
                    time.sleep(0.02)
            refused = [answer for status, answer in answers if status != 200]
            assert {status for status, _ in answers} <= {200, 503}, refused[:3]
            assert len(refused) < len(answers) / 100, refused[:3]
            status = Path(f"/proc/{service.process.pid}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0]) / 1024

        warm = resident(4000)
        after = resident(20_000)
    print(f"resident: {warm:.1f} MB after 4,000 requests, {after:.1f} MB after 24,000")
    assert after < warm + 15


HOSTILE = (
    b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000,
    b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000,
    b"GET /" + b"x" * 60_000,
    b"\x16\x03\x01" + bytes(range(256)) * 20,
    b"POST /predict HTTP/1.1\r\nContent-Length: 999999\r\n\r\n" + b"[" * 50_000,
    b"POST /outcomes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 60_000,
    b"POST /predict HTTP/1.1\r\nOrigin: https://example.org\r\nContent-Length: 2\r\n\r\n{}",
    b"GET /health/ready HTTP/1.1\r\n\r\n" * 20,
)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="it reads /proc, which is Linux's")
def test_ten_thousand_hostile_connections_leave_memory_as_it_was(pilot_copy: Pilot) -> None:
    """Twenty at a time, each left open until the next twenty: what was begun is never finished."""
    with serving(pilot_copy, SERVE_MODE="no-model", **FROM_CACHE) as service:

        def resident(connections: int) -> float:
            """Megabytes after so many more connections, once the last are cut off."""
            left: list[socket.socket] = []
            for number in range(connections):
                client = socket.create_connection(("127.0.0.1", service.port), timeout=10)
                left.append(client)
                with suppress(OSError):  # cut off while it sends
                    client.sendall(HOSTILE[number % len(HOSTILE)])
                if len(left) == 20:
                    for each in left:
                        each.close()
                    left = []
            assert service.predict()[0] == 200
            status = Path(f"/proc/{service.process.pid}/status").read_text()
            return int(status.split("VmRSS:")[1].split()[0]) / 1024

        before = resident(1000)
        after = resident(10_000)
    print(f"resident: {before:.1f} MB after 1,000 hostile connections, {after:.1f} MB after 11,000")
    assert after < before * 1.1
