"""A pilot may predict one of several classes, or a quantity: the whole way works, and its gate blocks."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import mlflow
import numpy as np
import pytest
from fastapi.testclient import TestClient
from groundwork.core.errors import DocumentError, NotEnoughData
from groundwork.documents.contract.column import Task
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.registry import Registry
from groundwork.models.training.history import read_history
from groundwork.models.training.reproduce import reproduce
from groundwork.pipeline import work
from groundwork.service.app import create_app
from groundwork.store.database import Store
from groundwork.store.predictions import Prediction
from pilots import enter, write_pilot
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from use_case import decision, model, source

build_example, rows_of_flights = model.build, source.rows
CLASSES = ("on time", "late", "early")  # in no order but the contract's


class Variant(NamedTuple):
    """What a team would write to predict something else, and what follows from it."""

    task: Task
    outcome: dict[str, Any]
    gate: dict[str, Any]
    unreachable: dict[str, Any]
    refused: str
    told: Callable[[Any], Any]  # the outcome, of whether a flight was late and when it left
    build: Callable[[], Pipeline]
    decide: Callable[..., Any]
    value: Callable[..., Any]
    outcomes: list[Any]
    no_outcomes: list[Any]


def small(estimator: type) -> Callable[[], Pipeline]:
    """The example's pipeline with another model at its end, which is quickly fitted over and over."""
    return lambda: Pipeline([*build_example().steps[:-1], ("model", estimator(max_iter=20, random_state=0))])


def class_told(late: Any, minute: Any) -> Any:
    known = ibis.cases((late, "late"), (minute < 600, "early"), else_="on time")
    return ibis.ifelse(late.isnull(), ibis.null("string"), known)


MULTICLASS = Variant(
    task=Task(kind="multiclass", classes=CLASSES),
    outcome={
        "logicalType": "string",
        "examples": ["early"],
        "quality": [{"metric": "invalidValues", "arguments": {"validValues": list(CLASSES)}, "mustBe": 0}],
    },
    gate={"metric": "log_loss", "minimum": None, "maximum": 0.9},
    unreachable={"maximum": 0.01},
    refused="log_loss: wanted at most 0.0100, seen 0.",
    told=class_told,
    build=small(HistGradientBoostingClassifier),
    decide=lambda scores, worth: np.where(scores[:, 1] * worth["benefitPerHit"] >= 120, "replan", "keep"),
    value=lambda decisions, outcomes, worth: (decisions == "replan") * ((outcomes == "late") * 400.0 - 120),
    outcomes=["late", "on time"],
    no_outcomes=[True, 1, "Late", None],
)
REGRESSION = Variant(
    task=Task(kind="regression"),
    outcome={"logicalType": "number", "logicalTypeOptions": {"minimum": 0}, "examples": [12.5]},
    gate={"metric": "mae", "minimum": None, "maximum": 25, "maxMetricLoss": 1},
    unreachable={"maximum": 0.5},
    refused="mae: wanted at most 0.5000, seen ",
    told=lambda late, minute: late.cast("float64") * 40 + minute / 60,
    build=small(HistGradientBoostingRegressor),
    decide=lambda scores, worth: np.where(scores >= 25, "replan", "keep"),
    value=lambda decisions, outcomes, worth: (decisions == "replan") * ((outcomes >= 40) * 400.0 - 120),
    outcomes=[12, 0.5],
    no_outcomes=[True, "late", -1, None],
)


class Ran(NamedTuple):
    variant: Variant
    pilot: Pilot
    trained: Any


@pytest.fixture(scope="module", params=[MULTICLASS, REGRESSION], ids=["multiclass", "regression"])
def ran(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    flights: Path,
    plain_steps: None,
) -> Iterator[Ran]:
    """A pilot of that kind after its first training."""
    variant: Variant = request.param

    def rows(backend: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
        known = rows_of_flights(backend, start, end)
        return known.mutate(late=variant.told(known.late, known.departure_minute))

    home = tmp_path_factory.mktemp("tasks") / "pilot"
    write_pilot(home, flights)
    change(home / "contract.yaml", "schema.0.properties.-1", variant.outcome)
    change(home / "charter.yaml", "gate", variant.gate)
    with pytest.MonkeyPatch.context() as patch:
        pilot = enter(home, patch)
        patch.setattr(source, "rows", rows)
        patch.setattr(model, "build", variant.build)
        patch.setattr(decision, "decide", variant.decide)
        patch.setattr(decision, "value", variant.value)
        work.ingest(Pilot.here())
        yield Ran(variant, pilot, work.train(Pilot.here()))


def change(document: Path, path: str, values: dict[str, Any]) -> None:
    """Set keys of a part of a document; None takes one away."""
    import yaml

    content = yaml.safe_load(document.read_text(encoding="utf-8"))
    part = content
    for step in path.split("."):
        part = part[int(step) if step.lstrip("-").isdigit() else step]
    part.update(values)
    for key in [key for key, value in part.items() if value is None]:
        del part[key]
    document.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")


def logged(pilot: Pilot) -> list[Prediction]:
    with Store(pilot.settings.store) as store:
        return store.predictions.between(datetime(1900, 1, 1), datetime(2200, 1, 1))


def test_the_contracts_outcome_decides_what_is_predicted(ran: Ran) -> None:
    assert ran.settings.contract.dataset.task == ran.variant.task


def test_what_was_trained_is_served_as_onnx_and_equal_to_the_pipeline(ran: Ran) -> None:
    assert ran.trained.bundle.startswith("proven equal to the pipeline: ")
    registry = Registry(ran.settings)
    pipeline = mlflow.sklearn.load_model(f"models:/{registry.name}/{ran.trained.version}")
    evaluation = read_history(ran.settings).evaluation
    version = registry.champion()
    assert version is not None
    scores = registry.predictor(version).scores(evaluation.columns)
    if ran.variant.task.kind == "multiclass":
        assert scores.shape == (len(evaluation), 3)
        np.testing.assert_allclose(scores, pipeline.predict_proba(evaluation.frame), rtol=0, atol=1e-5)
        likeliest = ran.variant.task.predicted(scores)
        assert (likeliest[evaluation.outcomes == "early"] == "early").mean() > 0.9  # columns in the contract's order
    else:
        assert scores.shape == (len(evaluation),)
        np.testing.assert_allclose(scores, pipeline.predict(evaluation.frame), rtol=1e-5, atol=1e-4)


def test_the_gate_lets_it_in_by_its_own_metric(ran: Ran) -> None:
    assert ran.trained.in_service
    assert 0 < ran.trained.candidate.metric < ran.settings.charter.gate.line
    assert ran.trained.gain_per_1000 > 0


def test_the_gate_blocks_what_misses_the_line(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for a metric of which less is better."""
    charter = ran.settings.home / "charter.yaml"
    before = charter.read_text(encoding="utf-8")
    try:
        change(charter, "gate", ran.variant.unreachable)
        trained = work.train(Pilot.here())
    finally:
        charter.write_text(before, encoding="utf-8")
    assert not trained.in_service
    assert [reason for reason in trained.verdict.reasons if reason.startswith(ran.variant.refused)]
    champion = Registry(ran.settings).champion()
    assert champion is not None
    assert champion.number == ran.trained.version


def test_it_is_evaluated_in_its_own_terms(ran: Ran) -> None:
    """To lose is positive, though less of the metric is better; a quantity has no calibration."""
    version = Registry(ran.settings).champion()
    assert version is not None
    found = evaluate(ran.settings)
    worst = max(found.importance, key=lambda each: each.metric)
    assert worst.feature == "departure_minute"
    assert worst.metric > 0
    card = Path(found.page).read_text(encoding="utf-8")
    if ran.variant.task.kind == "multiclass":
        assert found.calibration is not None
        assert found.calibration.bins[0].low >= 0.3  # the likeliest of three classes
        assert "## Calibration" in card
    else:
        assert found.calibration is None
        assert "## Calibration" not in card
    assert reproduce(ran.settings, version.number).status == "equal"


@pytest.fixture
def service(ran: Ran) -> Iterator[TestClient]:
    """Its service, with the champion of the cache."""
    app = create_app(ran.settings)
    loader = app.app.state.loader
    loader._stopped.wait = lambda _: loader._stopped.set()
    loader._refresh = lambda: None
    with TestClient(app) as client:
        loader.join()
        yield client


def test_the_service_answers_logs_and_describes_it(ran: Ran, service: TestClient) -> None:
    description = service.get("/openapi.json").json()
    post = description["paths"]["/predict"]["post"]
    [prediction] = service.post("/predict", json=post["requestBody"]["content"]["application/json"]["example"]).json()[
        "predictions"
    ]
    described = post["responses"]["200"]["content"]["application/json"]["schema"]["properties"]["predictions"]
    kept = {each.prediction_id: each for each in logged(ran.settings)}[prediction["prediction_id"]]
    if ran.variant.task.kind == "multiclass":
        assert tuple(prediction["score"]) == CLASSES
        assert sum(prediction["score"].values()) == pytest.approx(1, abs=1e-5)
        assert described["items"]["properties"]["score"]["required"] == list(CLASSES)
        assert (kept.score, json.loads(kept.class_scores or "")) == (None, prediction["score"])
    else:
        assert (kept.score, kept.class_scores) == (prediction["score"], None)
        assert isinstance(prediction["score"], float)
    assert prediction["decision"] in ("replan", "keep")


def test_outcomes_are_of_the_contracts_type(ran: Ran, service: TestClient) -> None:
    def tell(outcome: Any) -> Any:
        return service.post("/outcomes", json={"outcomes": [{"prediction_id": "one", "outcome": outcome}]})

    first, second = ran.variant.outcomes
    assert tell(first).json()["contradicting"] == []
    assert tell(first).json()["contradicting"] == []
    assert tell(second).json()["contradicting"] == ["one"]
    for outcome in ran.variant.no_outcomes:
        answer = tell(outcome)
        assert answer.status_code == 422, outcome
        assert "outcome" in answer.json()["detail"]


def test_its_predictions_are_watched_for_drift(ran: Ran) -> None:
    done = work.score(Pilot.here())
    assert done.rows > 5000
    drift = work.monitor(Pilot.here())
    assert drift.status in ("ok", "drift")
    assert set(drift.distances) == {*ran.settings.contract.dataset.feature_names, "score"}


def test_a_metric_of_another_kind_of_outcome_is_refused(ran: Ran) -> None:
    charter = ran.settings.home / "charter.yaml"
    before = charter.read_text(encoding="utf-8")
    try:
        change(charter, "gate", {"metric": "roc_auc", "maximum": None, "minimum": 0.6})
        with pytest.raises(DocumentError, match=r"gate\.metric: roc_auc does not measure a \w+, as late is"):
            Pilot.here().contract  # noqa: B018
    finally:
        charter.write_text(before, encoding="utf-8")


def test_a_class_that_never_occurred_cannot_be_learnt(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    if ran.variant.task.kind != "multiclass":
        pytest.skip("there are no classes")
    contract = ran.settings.home / "contract.yaml"
    before = contract.read_text(encoding="utf-8")
    try:
        outcome = json.loads(json.dumps(MULTICLASS.outcome))
        outcome["quality"][0]["arguments"]["validValues"].append("diverted")
        change(contract, "schema.0.properties.-1", outcome)
        with pytest.raises(NotEnoughData, match="and not diverted among them"):
            read_history(Pilot.here())
    finally:
        contract.write_text(before, encoding="utf-8")
