"""Tests that the pilot's own documents, source, model and decision fit the system.

The mark `proves` names the checks of the scorecard that a test is evidence for. `groundwork readiness --prove` runs the
tests with that mark, here and in tests/use_case/, and stores their results.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from datetime import time as midnight
from typing import Any

import mlflow
import msgspec
import numpy as np
import pytest
from fastapi.testclient import TestClient
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from groundwork.core.errors import SourceError
from groundwork.core.windows import Window, local_time, window_of, with_offset
from groundwork.data.erasure import erase
from groundwork.data.quarantine import held
from groundwork.data.rules import REASONS, broken_by_window, with_broken_rules
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import BEGINNING, END, connected, expression
from groundwork.documents.contract.compatibility import breaking_changes
from groundwork.documents.document import read_yaml, write_yaml
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import data_dictionary, owner_files
from groundwork.models.evaluation.performance import decided
from groundwork.models.registry.promotion import promote, reconcile, roll_back
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.serving import deciding
from groundwork.models.serving.predictor import arrays, pipeline_scores
from groundwork.models.training.fit import fit
from groundwork.models.training.history import read_history
from groundwork.pipeline import by_hand
from groundwork.service.app import create_app
from groundwork.store.batches import Prediction
from groundwork.store.database import Store
from use_case import source

proves = pytest.mark.proves
ONE_DAY = timedelta(days=1)
SECONDS = 60  # how long to wait for the service to load a model
TELLS_ALL = 0.99  # balanced accuracy or R2: a single feature that reaches it is a leak of the outcome
SERVED = 500  # rows that are sent to the service


def test_the_documents_are_valid_and_what_is_made_of_them_is_up_to_date(own: Pilot) -> None:
    assert own.owners.accountable.data[own.contract.dataset.name]
    data_dictionary.check(own.settings.home, own.contract)
    owner_files.check(own)


def test_the_source_keeps_the_contract(own: Pilot, sample: Any) -> None:
    """The row rules hold on the newest days, the window rules on the newest window, checked in the source's engine."""
    dataset = own.contract.dataset
    newest = local_time(max(sample.rows[dataset.event_time.name].to_pylist()), dataset.zone)
    window = window_of(newest, own.charter.monitoring.window)
    with connected(own) as backend:
        days = expression(backend, dataset, Window(max(window.start, newest - 3 * ONE_DAY), window.end))
        judged = with_broken_rules(days, dataset)
        broken = judged.filter(judged[REASONS].notnull())
        rows, count = days.count().execute(), broken.count().execute()
        reasons = broken[REASONS].value_counts().limit(5).execute().to_dict("records") if count else []
        whole = expression(backend, dataset, window)
        as_a_whole = broken_by_window(whole.filter(whole[dataset.key.name].notnull()), dataset, growing=True)
    assert count <= dataset.max_quarantined_share * rows, f"{count:,} of {rows:,} rows break contract.yaml: {reasons}"
    assert as_a_whole == []


@proves("data-code")
def test_the_rows_of_a_day_do_not_depend_on_what_else_is_asked_for(own: Pilot, sample: Any) -> None:
    """A feature that aggregates only rows within the window would change if its day were read alone."""
    dataset = own.contract.dataset
    at, key = dataset.event_time.name, dataset.key.name
    days = sorted({local_time(moment, dataset.zone).date() for moment in sample.rows[at].to_pylist()})
    start = datetime.combine(days[-1], midnight())
    alone = Window(start, start + ONE_DAY)
    with connected(own) as backend:

        def read(window: Window) -> dict[str, dict[str, Any]]:
            rows = expression(backend, dataset, window)
            rows = rows.filter((rows[at] >= alone.start) & (rows[at] < alone.end)).order_by(rows[key]).limit(SERVED)
            return {row[key]: row for row in rows.to_pyarrow().to_pylist()}

        asked_alone, asked_with_others = read(alone), read(Window(alone.start - 3 * ONE_DAY, alone.end))
    assert asked_alone, f"the source returns no rows of {days[-1]} if that day is read alone"
    assert asked_alone.keys() == asked_with_others.keys()
    changed = {
        name
        for row in asked_alone
        for name in asked_alone[row]
        if asked_alone[row][name] != asked_with_others[row][name]
    }
    assert not changed, f"if days before {days[-1]} are read too, its rows differ in {', '.join(sorted(changed))}"


@proves("data-requirements")
def test_features_are_known_when_the_decision_is_taken(own: Pilot, sample: Any) -> None:
    """No feature is empty while the outcome is unknown, and no feature alone predicts the outcome almost perfectly.

    Nor is a column empty that the decision or its value is computed from.
    The rows can show no more than that: whether a value was known in time, only its source can show.
    """
    dataset = own.contract.dataset
    known = sample.rows.filter(sample.rows[dataset.outcome.name].is_valid())
    later = [
        name
        for name in dict.fromkeys([*dataset.feature_names, *_decided_by(own, known)])
        if sample.undecided.num_rows >= 20
        and sample.undecided[name].null_count == sample.undecided.num_rows
        and known[name].null_count < known.num_rows / 2
    ]
    assert later == [], f"{later} are empty in all rows without a known outcome: they are unknown at the decision"
    telling = {name: score for name, score in _alone(dataset, known) if score >= TELLS_ALL}
    assert telling == {}, (
        f"{telling}: each feature alone predicts the outcome. If it is known before the decision, add to its column in "
        "contract.yaml: customProperties: [{property: knownAtDecision, value: true, description: why}]"
    )


def _decided_by(pilot: Pilot, known: Any) -> list[str]:
    """Return the columns that the functions of use_case/decision.py ask for."""
    dataset, worth = pilot.contract.dataset, pilot.charter.value.parameters
    rows = deciding.Rows(dataset.decision_columns, lambda name: known[name])
    columns = arrays({name: known[name] for name in dataset.feature_names}, dataset.features)
    scores = np.full(dataset.task.shape(known.num_rows), 0.5, dtype=np.float32)
    outcomes = dataset.task.outcomes(known[dataset.outcome.name].to_pylist())
    for decisions in (deciding.decide(scores, worth, rows), deciding.without_model(columns, rows)):
        deciding.value(decisions, outcomes, worth, rows)
    return rows.asked


def _alone(dataset: Any, known: Any) -> Iterator[tuple[str, float]]:
    """Yield each feature with the cross-validated score of a model on that feature alone; 1 is perfect."""
    outcomes = dataset.task.targets(dataset.task.outcomes(known[dataset.outcome.name].to_pylist()))
    quantity = dataset.task.kind == "regression"
    tree = (DecisionTreeRegressor if quantity else DecisionTreeClassifier)(min_samples_leaf=5, random_state=0)
    columns = {name: known[name] for name in dataset.feature_names}
    for column, values in zip(dataset.features, arrays(columns, dataset.features).values(), strict=True):
        if any(each.property == "knownAtDecision" and each.value is True for each in column.custom_properties):
            continue
        numbers = np.unique(values, return_inverse=True)[1] if values.dtype == object else values
        scoring = "r2" if quantity else "balanced_accuracy"
        yield (
            column.name,
            float(np.mean(cross_val_score(tree, numbers.reshape(-1, 1), outcomes, cv=3, scoring=scoring))),
        )


@proves("monitor-dependencies")
def test_a_source_or_a_contract_that_changed_is_named(loop: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, rows = loop.contract.dataset, source.rows
    gone = dataset.features[0].name
    monkeypatch.setattr(source, "rows", lambda *window: rows(*window).drop(gone))
    with connected(loop) as backend, pytest.raises(SourceError, match=f"{gone}: the contract has this column"):
        expression(backend, dataset, Window(BEGINNING, END))
    less = [column for column in dataset.columns if column.name != gone]
    if len(dataset.features) > 1:
        changed = loop.contract.model_copy(update={"datasets": (dataset.model_copy(update={"columns": tuple(less)}),)})
        assert any(change.startswith(f"{gone}: removed") for change in breaking_changes(loop.contract, changed))


@proves("infra-spec")
def test_the_model_takes_the_features_as_they_come_and_is_the_same_again(loop: Pilot) -> None:
    history, dataset = read_history(loop), loop.contract.dataset
    models = [fit(history.training, dataset, {})[0] for _ in range(2)]
    first, second = (
        model.scores(history.evaluation.frame)
        if hasattr(model, "scores")
        else pipeline_scores(model, history.evaluation.frame, dataset.task)
        for model in models
    )
    assert first.shape == dataset.task.shape(len(history.evaluation))
    np.testing.assert_array_equal(first, second)


@proves("infra-integration")
def test_the_whole_loop_runs(loop: Pilot) -> None:
    """The fixture has ingested and trained; this test scores the newest window and measures its drift."""
    scored = by_hand.score(loop)
    assert scored.model_version == "1"
    assert scored.rows == len(_rows_of(loop, scored.window)) > 0
    assert sum(scored.decisions.values()) == scored.rows
    assert by_hand.monitor(loop).status in ("ok", "drift")
    history = read_history(loop)
    money = decided(loop, _champion(loop)[1].scores(history.evaluation.columns), history.evaluation).values
    assert np.isfinite(money).all()
    assert len(money) == len(history.evaluation)


@proves("monitor-skew")
def test_the_service_answers_as_the_trained_pipeline_does(loop: Pilot, answers: list[dict[str, Any]]) -> None:
    """The service and the bundle give the same scores as the pipeline in MLflow, on the same rows."""
    dataset, (version, predictor) = loop.contract.dataset, _champion(loop)
    rows = _newest(loop)
    frame = rows.select(dataset.feature_names).to_pandas()
    for column in dataset.features:
        if column.logical_type == "string":
            frame[column.name] = frame[column.name].fillna("").astype(object)
        elif column.logical_type == "number":  # in the digits that the model was trained on
            frame[column.name] = frame[column.name].astype("float32").astype("float64")
        elif not column.needed:
            frame[column.name] = frame[column.name].astype("float32")
    pipeline = mlflow.pyfunc.load_model(f"models:/{loop.name}/{version.number}")
    expected = np.asarray(pipeline.predict(frame))
    if dataset.task.kind != "multiclass" and expected.ndim == 2:
        expected = expected[:, -1]
    columns = {name: rows[name] for name in dataset.feature_names}
    bundle = predictor.scores(arrays(columns, dataset.features))
    answered = [list(each["score"].values()) if dataset.task.classes else each["score"] for each in answers]
    for scores in (bundle, answered):
        np.testing.assert_allclose(scores, expected, rtol=0, atol=predictor.bundle.tolerance)
    raw = deciding.Rows(dataset.decision_columns, lambda name: rows[name])
    decisions = deciding.decide(np.array(answered, np.float32), loop.charter.value.parameters, raw)
    assert [each["decision"] for each in answers] == decisions.tolist()


@proves("infra-debug")
def test_an_answer_leads_to_its_record_and_its_version(loop: Pilot, answers: list[dict[str, Any]]) -> None:
    logged = {each.prediction_id: each for each in _logged(loop)}
    asked = _records(loop, _newest(loop))
    kept = [column.name for column in loop.contract.dataset.logged]
    for answer, record in zip(answers, asked, strict=True):
        entry = logged[answer["prediction_id"]]
        assert (entry.model_version, entry.decision) == (answer["model_version"], answer["decision"])
        assert json.loads(entry.record) == {name: record[name] for name in kept}


@proves("monitor-invariants")
def test_a_broken_row_is_quarantined_and_a_broken_request_refused(loop: Pilot, service: TestClient) -> None:
    key = loop.contract.dataset.key.name
    assert f"{key}: is missing" in {entry.rule for entry in held(loop)}
    before = len(_logged(loop))
    for name, value in ((key, None), ("no_such_column", 1)):
        record = _records(loop, _newest(loop))[0] | {name: value}
        answer = service.post("/predict", json={"records": [record]})
        assert answer.status_code == 422
        assert name in answer.json()["detail"]
    assert len(_logged(loop)) == before


@proves("monitor-numerics")
def test_missing_and_unseen_values_get_finite_scores(loop: Pilot) -> None:
    dataset, (_, predictor) = loop.contract.dataset, _champion(loop)
    known = {*dataset.feature_names, *(column.name for column in dataset.decision_columns)}
    usual = {name: _newest(loop)[name].to_pylist()[:1] for name in known}
    unusual: list[dict[str, Any]] = [{}]
    for column in dataset.features:
        limits = column.logical_type_options
        values = [None] if not column.needed else []
        if column.logical_type == "string":
            values += list(column.valid_values) or ["never seen before"]
        elif column.logical_type != "boolean":
            values += [each for each in (limits.minimum, limits.maximum) if each is not None]
        unusual += [{column.name: value} for value in values]
    unusual.append({column.name: None for column in dataset.features if not column.needed})
    values = {name: [each.get(name, value) for each in unusual] for name, [value] in usual.items()}
    scores = predictor.scores(arrays(values, dataset.features))
    assert np.isfinite(scores).all()
    rows = deciding.Rows(dataset.decision_columns, values.__getitem__)
    assert len(deciding.decide(scores, loop.charter.value.parameters, rows)) == len(unusual)


@proves("data-requirements", "data-privacy")
def test_what_is_confidential_stays_in_the_snapshots(loop: Pilot, answers: list[dict[str, Any]]) -> None:
    """The confidential value of each row is in no log, registry or report, and the log holds only allowed columns."""
    allowed = {column.name for column in loop.contract.dataset.logged}
    assert "proof_secret" not in allowed
    assert all(set(json.loads(entry.record)) <= allowed for entry in _logged(loop))
    data = loop.settings.data_folder
    files = [path for path in data.rglob("*") if path.is_file() and b"Amelia" in path.read_bytes()]
    assert {path.relative_to(data).parts[0] for path in files} <= {"snapshots", "quarantine", "operational.duckdb"}
    assert _newest(loop)["proof_secret"][0].as_py().startswith("Amelia")


@proves("data-new-features")
def test_a_new_feature_is_ingested_trained_on_asked_for_and_logged(
    loop: Pilot, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, train_in_service: Callable[[Pilot], None]
) -> None:
    feature = {
        "name": "proof_feature",
        "logicalType": "integer",
        "tags": ["feature"],
        "description": "Day of the month.",
        "examples": [1],
    }
    at, rows = loop.contract.dataset.event_time.name, source.rows
    (tmp_path / "data").mkdir()
    for name in ("charter.yaml", "contract.yaml", "OWNERS", "data/operational.duckdb"):
        (tmp_path / name).write_bytes((loop.settings.home / name).read_bytes())
    contract = read_yaml((tmp_path / "contract.yaml").read_text(encoding="utf-8"))
    contract["schema"][0]["properties"].append(feature)
    (tmp_path / "contract.yaml").write_text(write_yaml(contract), encoding="utf-8")
    monkeypatch.setattr(
        source, "rows", lambda *window: (t := rows(*window)).mutate(proof_feature=t[at].day().cast("int64"))
    )
    charter = read_yaml((tmp_path / "charter.yaml").read_text(encoding="utf-8"))
    charter["metadata"]["name"] = "proof-feature"
    (tmp_path / "charter.yaml").write_text(write_yaml(charter), encoding="utf-8")
    same_registry = {
        "home": tmp_path,
        "mlflow_tracking_uri": loop.settings.tracking_uri,
    }  # creating one takes seconds
    pilot = Pilot(loop.settings.model_copy(update=same_registry))
    by_hand.ingest(pilot)
    train_in_service(pilot)
    assert _champion(pilot)[1].bundle.features[-1] == "proof_feature"
    by_hand.score(pilot)
    assert all(1 <= json.loads(entry.record)["proof_feature"] <= 31 for entry in _logged(pilot))


@proves("infra-gate")
def test_the_gate_refuses_what_does_not_reach_the_line(loop: Pilot, refused: Version) -> None:
    assert refused.judged == "refused"
    assert _champion(loop)[0].number == "1"


@proves("infra-canary")
def test_a_challenger_answers_its_share_and_shadows_the_rest(loop: Pilot, refused: Version) -> None:
    Registry(loop).hold(refused)
    half = Pilot(loop.settings.model_copy(update={"canary_share": 0.5}))
    records = _records(loop, _newest(loop))
    with answering(half) as client:
        deadline, roles = time.monotonic() + SECONDS, {"champion"}
        while "canary" not in roles:
            assert time.monotonic() < deadline, "the service has not found the challenger"
            roles = {each["role"] for each in _asked(client, records)}
    assert roles == {"champion", "canary"}
    roles_of = {role: {each.entity_key for each in _logged(loop) if each.role == role} for role in ("shadow", "canary")}
    assert roles_of["shadow"]
    assert not roles_of["shadow"] & roles_of["canary"]


@proves("infra-rollback")
def test_a_champion_is_rolled_back_while_it_serves(loop: Pilot, refused: Version) -> None:
    registry = Registry(loop)
    with Store(loop.settings.store) as store:
        promote(store, registry, refused, reconcile(store, registry), by="proof", why="to be rolled back")
        with answering(loop) as client:
            assert _serves(client, refused.number)
            roll_back(loop, store, None, "the drill")
            assert _serves(client, "1")
        reconcile(store, registry)
    assert _champion(loop)[0].number == "1"


@proves("data-privacy")
def test_a_subject_is_erased_and_stays_out(loop: Pilot, answers: list[dict[str, Any]]) -> None:
    dataset = loop.contract.dataset
    subject, key = dataset.subject.name, dataset.key.name
    gone = _newest(loop).slice(0, 1).to_pylist()[0]
    with Store(loop.settings.store) as store:
        erased = erase(loop, store, str(gone[subject]))
    assert erased.rows > 0
    assert erased.predictions > 0
    by_hand.ingest(loop)
    snapshots = Snapshots(loop.snapshots, dataset)
    assert gone[subject] not in snapshots.read(columns=[subject])[subject].to_pylist()
    assert gone[key] not in {entry.entity_key for entry in _logged(loop)}


@pytest.fixture(scope="module")
def service(loop: Pilot) -> Iterator[TestClient]:
    """The HTTP service with the champion, in this process."""
    with answering(loop) as client:
        yield client


@pytest.fixture(scope="module")
def answers(loop: Pilot, service: TestClient) -> list[dict[str, Any]]:
    """The service's answers to the newest rows."""
    return _asked(service, _records(loop, _newest(loop)))


@pytest.fixture(scope="module")
def refused(loop: Pilot) -> Version:
    """A second version, trained with a limit in the gate that no model reaches."""
    charter = loop.settings.home / "charter.yaml"
    text = charter.read_text(encoding="utf-8")
    strict = read_yaml(text)
    strict["gate"]["minGainOverRule"] = 1e12
    charter.write_text(write_yaml(strict), encoding="utf-8")
    try:
        trained = by_hand.train(Pilot(loop.settings))
    finally:
        charter.write_text(text, encoding="utf-8")
    version = Registry(loop).version(trained.version)
    assert version is not None
    assert version.number == "2"
    return version


@contextmanager
def answering(pilot: Pilot) -> Iterator[TestClient]:
    """The service, once it is ready."""
    with TestClient(create_app(pilot), base_url="http://127.0.0.1") as client:
        deadline = time.monotonic() + SECONDS
        while (answer := client.get("/health/ready")).status_code != 200:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        yield client


def _serves(client: TestClient, number: str) -> bool:
    """Return whether the service loads that version within SECONDS seconds."""
    deadline = time.monotonic() + SECONDS
    while client.get("/health/ready").json().get("model_version") != number:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _champion(pilot: Pilot) -> tuple[Version, Any]:
    registry = Registry(pilot)
    version = registry.required_champion()
    return version, registry.predictor(version)


def _rows_of(pilot: Pilot, window: Window) -> Any:
    return Snapshots(pilot.snapshots, pilot.contract.dataset).read(*window)


def _newest(pilot: Pilot) -> Any:
    """Return the first rows of the newest window, from the snapshots."""
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    return _rows_of(pilot, snapshots.newest_window(pilot.charter.monitoring.window)).slice(0, SERVED)


def _records(pilot: Pilot, rows: Any) -> list[dict[str, Any]]:
    """Return the rows as a client sends them in JSON."""
    names, zone = [column.name for column in pilot.contract.dataset.requested], pilot.contract.dataset.zone
    asked = [
        {name: with_offset(value, zone) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows.select(names).to_pylist()
    ]
    records: list[dict[str, Any]] = json.loads(msgspec.json.encode(asked))
    return records


def _asked(client: TestClient, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    answer = client.post("/predict", json={"records": records})
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def _logged(pilot: Pilot) -> list[Prediction]:
    with Store(pilot.settings.store) as store:
        return list(store.predictions.between(BEGINNING, END))
