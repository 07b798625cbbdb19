"""The service answers every sound request as the trained pipeline would, logs it, and refuses all others in words."""

import html
import io
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from datetime import datetime
from typing import Any

import groundwork.models.registry.registry
import mlflow
import numpy as np
import pytest
from fastapi.testclient import TestClient
from groundwork.core.errors import GroundworkError
from groundwork.core.settings import Settings
from groundwork.core.windows import window_of
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.service.app import create_app
from groundwork.service.auth import new_key
from groundwork.service.model_source import OtherRegistry
from groundwork.store.batches import Prediction
from groundwork.store.database import Store
from prometheus_client.parser import text_string_to_metric_families
from serving import HERE, served_here

RECORD = {
    "flight_id": "20131224-B6-1016-JFK",
    "scheduled_departure": "2013-12-24T18:25:00",
    "carrier": "B6",
    "origin": "JFK",
    "destination": "BOS",
    "distance_miles": 187,
    "departure_minute": 1105,
    "arrival_minute": 1180,
    "weekday": 2,
    "origin_late_share_yesterday": 0.31,
}


def printed(number: str, sha256: str) -> str:
    """What `python -m groundwork.models.registry.registry` prints."""
    with redirect_stdout(io.StringIO()) as said:
        assert groundwork.models.registry.registry.main(number, sha256) == 0
    return said.getvalue()


@pytest.fixture
def looked_up_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry is read in this process: a child takes seconds to import MLflow."""
    monkeypatch.setattr(OtherRegistry, "look_up", lambda _, *version: printed(*version))


@pytest.fixture(scope="module")
def served(pilot: Pilot, tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    """A copy of the pilot whose log these tests fill."""
    home = tmp_path_factory.mktemp("served") / "pilot"
    shutil.copytree(pilot.settings.home, home)
    return Pilot(Settings(home=home))


@pytest.fixture(scope="module")
def service(served: Pilot) -> Iterator[TestClient]:
    """Its service, with the champion loaded."""
    with served_here(served) as client:
        yield client


def logged(pilot: Pilot) -> dict[str, Prediction]:
    """The prediction log, by prediction id."""
    with Store(pilot.settings.store) as store:
        predictions = store.predictions.between(datetime(1900, 1, 1), datetime(2200, 1, 1))
    return {prediction.prediction_id: prediction for prediction in predictions}


def with_values(**values: Any) -> bytes:
    return json.dumps({"records": [RECORD | values]}).encode()


def with_raw(field: str, raw: str) -> bytes:
    """A request whose field holds text that Python would not write."""
    return with_values(**{field: "RAW"}).replace(b'"RAW"', raw.encode())


def without(field: str) -> bytes:
    return json.dumps({"records": [{name: value for name, value in RECORD.items() if name != field}]}).encode()


BAD_REQUESTS = {
    "nothing at all": (b"", "not valid JSON"),
    "no JSON": (b"records=1", "not valid JSON"),
    "a name that stands twice": (
        with_values().replace(b'"weekday": 2', b'"weekday": 2, "weekday": 3'),
        "same name twice",
    ),
    "a hidden name that stands twice": (
        with_values().replace(b'"weekday": 2', rb'"weekday": 2, "week\u0064ay": 3'),
        "same name twice",
    ),
    "cut off": (with_values()[:-2], "not valid JSON"),
    "two bodies": (with_values() * 2, "not valid JSON"),
    "a list": (b"[]", "Expected `object`"),
    "null": (b"null", "Expected `object`"),
    "no records": (b"{}", "missing required field `records`"),
    "an unknown key": (b'{"records": [], "model": 1}', ""),
    "records that are no list": (b'{"records": {}}', "$.records"),
    "an empty list": (b'{"records": []}', "$.records"),
    "a record that is no object": (b'{"records": [1]}', "$.records[0]"),
    "too many records": (json.dumps({"records": [RECORD] * 1001}).encode(), "$.records"),
    "deep nesting": (b'{"records": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    "deep nesting in a field": (with_raw("carrier", "[" * 100_000), ""),
    "a line end after the code": (with_values(destination="BOS\n"), "matching regex"),
    "no key": (with_values(flight_id=None), "`str`"),
    "no event time": (with_values(scheduled_departure=None), "`datetime`"),
    "invalid UTF-8": (with_values().replace(b"BOS", b"B\xffS"), ""),
    "half a character": (with_raw("flight_id", r'"20131224\ud800"'), ""),
    "UTF-16": (with_values().decode().encode("utf-16"), ""),
    "NaN": (with_raw("distance_miles", "NaN"), "not valid JSON"),
    "Infinity": (with_raw("distance_miles", "-Infinity"), "not valid JSON"),
    "a number too large for a float": (with_raw("distance_miles", "1e999"), ""),
    "an integer too large for a column": (with_raw("weekday", str(2**70)), "$.records[0].weekday"),
    "an integer too large for a float": (with_raw("distance_miles", "9" * 400), ""),
    "a fraction for an integer": (with_values(weekday=2.5), "Expected `int"),
    "a number as text": (with_values(distance_miles="187"), "Expected `float"),
    "an integer as text": (with_values(weekday="1"), "Expected `int"),
    "true for a number": (with_values(distance_miles=True), "Expected `float"),
    "true for an integer": (with_values(weekday=True), "Expected `int"),
    "a text as number": (with_values(carrier=6), "Expected `str"),
    "null for what is required": (with_values(carrier=None), "$.records[0].carrier"),
    "below the minimum": (with_values(distance_miles=9.99), "$.records[0].distance_miles"),
    "above the maximum": (with_values(departure_minute=1440), "$.records[0].departure_minute"),
    "a share above 1": (with_values(origin_late_share_yesterday=1.01), "origin_late_share_yesterday"),
    "not the pattern": (with_values(carrier="b6"), "$.records[0].carrier"),
    "too short": (with_values(flight_id="1"), "$.records[0].flight_id"),
    "too long": (with_values(flight_id="x" * 41), "$.records[0].flight_id"),
    "none of the valid values": (with_values(origin="LHR"), "Expected one of EWR, JFK, LGA"),
    "no time": (with_values(scheduled_departure="tomorrow"), "$.records[0].scheduled_departure"),
    "no such day": (with_values(scheduled_departure="2013-02-30T10:00:00"), "scheduled_departure"),
    "a day without a time": (
        with_values(scheduled_departure="2013-12-24"),
        "Expected a date and time such as",
    ),
    "before the year 1000": (with_values(scheduled_departure="0999-12-31T00:00:00"), "a year from 1000 to 9999"),
    "after the year 9999": (with_values(scheduled_departure="9999-12-31T23:00:00-12:00"), "a year from 1000 to 9999"),
    "a time as number": (with_values(scheduled_departure=1387909500), "$.records[0].scheduled_departure"),
    "the outcome": (with_values(late=True), "late"),
    "an unknown field": (with_values(colour="red"), "colour"),
    "a misspelt field": (with_values().replace(b"weekday", b"weekDay"), "weekDay"),
    **{f"without {field}": (without(field), f"missing required field `{field}`") for field in list(RECORD)[:-1]},
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_is_refused_in_words_and_not_logged(name: str, service: TestClient, served: Pilot) -> None:
    body, said = BAD_REQUESTS[name]
    before = len(logged(served))
    answer = service.post("/predict", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert (problem["type"], problem["title"], problem["status"]) == (
        "about:blank",
        "The request breaks the contract",
        422,
    )
    assert said in problem["detail"]
    assert len(logged(served)) == before


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_refused(chunked: bool, service: TestClient, served: Pilot) -> None:
    """Even where it never says how long it is."""
    before = len(logged(served))
    piece = b" " * 100_000
    answer = service.post("/predict", content=(piece for _ in range(20)) if chunked else piece * 20)
    assert (answer.status_code, answer.headers["content-type"]) == (413, "application/problem+json")
    assert "larger than 1,000,000 bytes" in answer.json()["detail"]
    assert len(logged(served)) == before


def test_what_is_not_offered_is_refused_in_the_same_form(service: TestClient) -> None:
    answer = service.post("/predictions", content=with_values())
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


@pytest.mark.parametrize(
    "unusual",
    [
        {},
        {"origin_late_share_yesterday": None},
        {"destination": "ZZZ", "carrier": "00"},
        {"distance_miles": 10, "departure_minute": 0, "arrival_minute": 1440, "weekday": 7},
        {"distance_miles": 6000.0, "departure_minute": 1439, "origin_late_share_yesterday": 0},
        {"flight_id": "Ünïcødé ✈ 'quotes' \"; --"},
        {"scheduled_departure": "2013-12-24T18:25:00-05:00"},
        {"scheduled_departure": "2013-12-25T00:25:00+01:00"},
        {"scheduled_departure": "2013-12-24T23:25:00Z"},
    ],
)
def test_a_sound_record_is_answered_and_logged(unusual: dict, service: TestClient, served: Pilot) -> None:
    answer = service.post("/predict", content=with_values(**unusual))
    assert answer.status_code == 200
    [prediction] = answer.json()["predictions"]
    assert prediction["decision"] == ("replan" if prediction["score"] >= 0.3 else "keep")
    assert (prediction["model_version"], prediction["role"]) == ("1", "champion")
    entry = logged(served)[prediction["prediction_id"]]._asdict()
    assert {name: entry[name] for name in prediction} == prediction
    record = RECORD | unusual | {"scheduled_departure": "2013-12-24T18:25:00-05:00"}  # as the contract says: New York
    assert json.loads(entry["record"]) == record
    assert (entry["entity_key"], entry["event_time"]) == (record["flight_id"], record["scheduled_departure"])


def test_a_missing_value_may_be_left_out(service: TestClient) -> None:
    left_out, null = (
        service.post("/predict", content=body).json()["predictions"][0]["score"]
        for body in (without("origin_late_share_yesterday"), with_values(origin_late_share_yesterday=None))
    )
    assert left_out == null


def test_the_service_answers_as_the_trained_pipeline_does(service: TestClient, served: Pilot) -> None:
    """Every row of the newest window, a thousand at a time: same scores in the same order, whatever served them."""
    dataset = served.contract.dataset
    window = window_of(Snapshots(served.snapshots, dataset).newest(), "month")
    rows = Snapshots(served.snapshots, dataset).read(*window)
    records = [
        {column.name: row[column.name] for column in dataset.requested} | {"scheduled_departure": at.isoformat()}
        for row, at in zip(rows.to_pylist(), rows["scheduled_departure"].to_pylist(), strict=True)
    ]
    answered = []
    for start in range(0, len(records), 1000):
        answer = service.post("/predict", json={"records": records[start : start + 1000]})
        assert answer.status_code == 200
        answered += answer.json()["predictions"]
    # Not through groundwork.models.serving.predictor: what the pipeline was trained on, made by other means.
    frame = rows.select(dataset.feature_names).to_pandas()
    numbers = [column.name for column in dataset.features if column.logical_type != "string"]
    frame = frame.astype(
        dict.fromkeys(numbers, "float32") | {"carrier": object, "origin": object, "destination": object}
    )
    registry = Registry(served)
    pipeline = mlflow.sklearn.load_model(f"models:/{registry.name}@champion")
    expected = pipeline.predict_proba(frame)[:, 1]
    assert len(answered) == len(expected) > 5000
    assert frame["origin_late_share_yesterday"].isna().any()
    np.testing.assert_allclose([each["score"] for each in answered], expected, rtol=0, atol=1e-5)
    assert len({each["prediction_id"] for each in answered}) == len(answered)


def test_the_example_in_the_api_description_works_as_it_stands(service: TestClient) -> None:
    description = service.get("/openapi.json").json()
    offered = description["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]
    answer = service.post("/predict", json=offered["example"])
    assert answer.status_code == 200
    schema = offered["schema"]["$ref"].rpartition("/")[2]
    assert schema in description["components"]["schemas"]
    assert set(description["components"]["schemas"]["Record"]["properties"]) == set(RECORD)


def test_the_page_for_people_names_every_column_and_needs_no_other_machine(service: TestClient) -> None:
    answer = service.get("/docs")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert all(f"<code>{name}</code>" in answer.text for name in RECORD)
    assert all(path in answer.text for path in service.get("/openapi.json").json()["paths"])
    assert not re.search(r"(src|href|url)\W+(https?:)?//", answer.text)


def test_the_first_page_shows_the_pilot_at_a_glance(service: TestClient, served: Pilot) -> None:
    answer = service.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert served.charter.decision.statement in html.unescape(answer.text)
    assert "<b>version 1</b>" in answer.text
    assert "Criteria for scaling" in service.get("/scorecard").text
    assert service.get("/report").status_code == 404


def test_with_a_champion_it_is_ready(service: TestClient, served: Pilot) -> None:
    assert service.get("/health/live").json() == {"status": "live", "version": groundwork.__version__}
    assert service.get("/health/ready").json() == {
        "status": "ready",
        "model": served.name,
        "model_version": "1",
        "model_source": "registry",
    }


def test_without_a_champion_it_lives_and_says_what_to_do(new_pilot: Pilot) -> None:
    with served_here(new_pilot) as client:
        assert client.get("/health/live").json() == {"status": "live", "version": groundwork.__version__}
        for answer in (client.get("/health/ready"), client.post("/predict", content=with_values())):
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert "run `groundwork train`" in answer.json()["detail"]
            assert int(answer.headers["retry-after"]) > 0
    assert logged(new_pilot) == {}


@pytest.mark.usefixtures("looked_up_here")
def test_a_champion_of_an_earlier_contract_is_not_served(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "contract.yaml", "schema.0.properties.8.tags", [])
    with served_here(pilot_copy) as client:
        answer = client.get("/health/ready")
    assert answer.status_code == 503
    assert "train a model on the current contract" in answer.json()["detail"]


def test_what_cannot_be_logged_is_not_answered(pilot_copy: Pilot) -> None:
    with served_here(pilot_copy, from_cache=True) as client:
        with sqlite3.connect(pilot_copy.settings.store.removeprefix("sqlite:///")) as database:
            database.execute("drop table prediction_batches")
        answer = client.post("/predict", content=with_values())
    assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
    assert answer.json()["detail"] == "the prediction log cannot be written, so the request was not answered"


def test_without_a_model_the_rule_of_today_decides(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_MODE", "no-model")
    with served_here(Pilot.here(), from_cache=True) as client:
        assert client.get("/health/ready").json() == {"status": "ready", "mode": "no-model"}
        records = [RECORD | {"departure_minute": minute} for minute in (1019, 1020)]
        predictions = client.post("/predict", json={"records": records}).json()["predictions"]
    assert [(each["decision"], each["score"], each["role"]) for each in predictions] == [
        ("keep", None, "no-model"),
        ("replan", None, "no-model"),
    ]
    assert set(logged(pilot_copy)) == {each["prediction_id"] for each in predictions}


@pytest.mark.usefixtures("looked_up_here")
def test_a_challenger_answers_its_share_and_shadows_the_rest(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An entity is always answered by the same model; of the others' shadow the client sees nothing."""
    registry = Registry(pilot_copy)
    mlflow.MlflowClient().set_registered_model_alias(registry.name, "challenger", "1")
    monkeypatch.setenv("GROUNDWORK_CANARY_SHARE", "0.5")
    records = [RECORD | {"flight_id": f"flight-{number}"} for number in range(200)]
    with served_here(Pilot.here()) as client:
        first, second = (client.post("/predict", json={"records": records}).json()["predictions"] for _ in range(2))
    roles = [each["role"] for each in first]
    assert roles == [each["role"] for each in second]
    assert 60 < roles.count("canary") < 140
    assert set(roles) == {"canary", "champion"}
    log = logged(pilot_copy).values()
    shadowed = sorted(entry.entity_key for entry in log if entry.role == "shadow")
    assert shadowed == sorted(entry.entity_key for entry in log if entry.role == "champion")


def test_outcomes_are_kept_once(service: TestClient) -> None:
    [prediction] = service.post("/predict", content=with_values()).json()["predictions"]
    known = prediction["prediction_id"]

    def tell(prediction_id: str, outcome: bool) -> dict:
        told = {"outcomes": [{"prediction_id": prediction_id, "outcome": outcome}]}
        return service.post("/outcomes", json=told).json()

    assert tell(known, True) == {"received": 1, "unknown": [], "contradicting": []}
    assert tell(known, True) == {"received": 1, "unknown": [], "contradicting": []}
    assert tell(known, False) == {"received": 1, "unknown": [], "contradicting": [known]}
    assert tell("nobody", True) == {"received": 1, "unknown": ["nobody"], "contradicting": []}
    assert tell("nobody", False) == {"received": 1, "unknown": ["nobody"], "contradicting": []}  # was not kept


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"outcomes": []}', b'{"outcomes": [{"prediction_id": "a", "outcome": 1}]}', b"[" * 100_000, b"\xff"],
)
def test_outcomes_that_are_none_are_refused(body: bytes, service: TestClient) -> None:
    answer = service.post("/outcomes", content=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


def test_on_a_network_only_those_with_a_key_are_answered(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_HOST", "0.0.0.0")
    with pytest.raises(GroundworkError, match="without API keys: set GROUNDWORK_API_KEYS"):
        create_app(Pilot.here())
    key, entry = new_key("planning", "predict")
    monkeypatch.setenv("GROUNDWORK_API_KEYS", entry)
    client = TestClient(create_app(Pilot.here()), base_url=HERE)
    assert client.get("/health/live").status_code == 200
    for headers, path, status in (
        ({}, "/predict", 401),
        ({"Authorization": "Bearer guess"}, "/predict", 401),
        ({"Authorization": f"Basic {key}"}, "/predict", 401),
        ({"Authorization": f"Bearer {key}"}, "/outcomes", 403),
        ({"Authorization": f"Bearer {key}"}, "/metrics", 403),
        ({"Authorization": f"Bearer {key}"}, "/predict", 422),
    ):
        answer = client.post(path, content=b"", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


@pytest.mark.parametrize("needed", [False, True])
def test_the_api_description_says_how_a_key_is_sent(
    needed: bool, pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, entry = new_key("keeper", "admin")
    monkeypatch.setenv("GROUNDWORK_API_KEYS", entry if needed else "")
    client = TestClient(create_app(Pilot.here()), base_url=HERE)
    description = client.get("/openapi.json", headers={"Authorization": f"Bearer {key}"}).json()
    [(name, scheme)] = description["components"]["securitySchemes"].items()
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    for path, methods in description["paths"].items():
        for operation in methods.values():
            if path.startswith("/health/"):
                assert "security" not in operation
            else:
                assert operation["security"] == [{name: []}, *([] if needed else [{}])]
                assert {"401", "403"} <= set(operation["responses"])


def series(client: TestClient, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_by_route_never_by_path(service: TestClient) -> None:
    service.get("/nowhere")
    before = series(service, "http_requests_total")
    for path in ("/a", "/b?c=d", "/predict/1", "/.env", "/%00"):
        service.get(path)
    service.request("BREW", "/coffee")
    after = series(service, "http_requests_total")
    assert set(after) - set(before) <= {("GET", "/metrics", "200")}
    assert after["any", "unmatched", "404"] == before["any", "unmatched", "404"] + 6


def test_predictions_are_counted_by_version_and_decision(service: TestClient) -> None:
    def counted() -> float:
        return sum(series(service, "groundwork_predictions_total").values())

    before = counted()
    service.post("/predict", json={"records": [RECORD] * 3})
    assert counted() == before + 3
    assert {labels[1:] for labels in series(service, "groundwork_predictions_total")} == {("1", "champion")}
    [(labels, value)] = series(service, "groundwork_model_info").items()
    assert (labels[:2], labels[3:], value) == (("champion", "onnx"), ("registry", "1"), 1)


SERVES_LIGHT = """
import json, sys
from fastapi.testclient import TestClient
from groundwork.service.app import create_app

app = create_app()
with TestClient(app, base_url="http://127.0.0.1") as client:
    assert app.app.state.loader.looked_in_registry.wait(120)
    example = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]
    answer = client.post("/predict", json=example["content"]["application/json"]["example"])
print(answer.status_code, sorted({"mlflow", "pandas", "sklearn", "prefect", "evidently"} & set(sys.modules)))
"""


def test_the_process_that_answers_imports_no_training_library(pilot_copy: Pilot) -> None:
    done = subprocess.run([sys.executable, "-c", SERVES_LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "200 []"
