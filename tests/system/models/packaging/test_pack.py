"""What is served answers as the trained pipeline did, and nothing else is let in."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import skops.io
from described import described
from groundwork.core.errors import BundleError, FeatureMismatch, ModelMismatch
from groundwork.data.snapshots import Snapshots
from groundwork.documents.contract.column import Task
from groundwork.documents.pilot import Pilot
from groundwork.models.packaging import pack as packing
from groundwork.models.packaging.pack import pack
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.predictor import TOLERANCE, Bundle, Predictor, arrays, bundle_digest
from groundwork.models.training.history import read_history
from numpy.typing import NDArray
from other_tasks import Ran
from skl2onnx import to_onnx
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

ROWS = 600
random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "city": random.choice(["Rome", "Oslo", ""], ROWS).astype(object),
        "age": np.where(random.random(ROWS) < 0.2, np.nan, random.integers(18, 90, ROWS)).astype(np.float32),
    }
)
FEATURES = list(FRAME)
UNUSUAL = pd.DataFrame(
    {"city": ["Paris", "", "Rome", "rome "], "age": np.array([np.nan, 30, np.nan, 1e30], dtype=np.float32)}
)
LATE = (FRAME["age"].fillna(20) + 30 * (FRAME["city"] == "Rome")).to_numpy() > 60


class Homemade(ClassifierMixin, BaseEstimator):
    """An estimator of somebody's own."""

    def fit(self, X: Any, y: Any) -> "Homemade":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> NDArray:
        likely = np.where(X["city"] == "Rome", 0.7, 0.2) + X["age"].fillna(0).to_numpy() / 1000
        return np.column_stack([1 - likely, likely])


def boosted() -> Pipeline:
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]), remainder="passthrough"
    )
    return make_pipeline(encode, HistGradientBoostingClassifier(max_iter=20))


def cannot_be_converted() -> Pipeline:
    ages = make_column_transformer((FunctionTransformer(np.log1p), ["age"]))
    return make_pipeline(ages, HistGradientBoostingClassifier(max_iter=20))


def decide(scores: NDArray, frame: pd.DataFrame) -> NDArray[np.str_]:
    return np.where(scores >= 0.3, "act", "keep")


def packed(model: Any, folder: Path) -> Bundle:
    return pack(model, {"the newest window": FRAME}, decide, folder, described(FRAME))


def columns(frame: pd.DataFrame) -> dict[str, NDArray]:
    return {name: frame[name].to_numpy() for name in frame}


@pytest.fixture(scope="module")
def model() -> Pipeline:
    return boosted().fit(FRAME, LATE)


@pytest.fixture
def folder(model: Pipeline, tmp_path: Path) -> Path:
    """A sound bundle."""
    packed(model, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_onnx_answers_like_the_pipeline(model: Pipeline, tmp_path: Path) -> None:
    """Also for missing values and for categories that it has never seen."""
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx"
    assert bundle.reason.startswith("proven equal to the pipeline: largest difference")
    assert ", 0 decisions differ, on " in bundle.reason
    for frame in (FRAME, UNUSUAL, UNUSUAL.head(1)):
        scores = Predictor(tmp_path, bundle.sha256, FEATURES).scores(columns(frame))
        np.testing.assert_allclose(scores, model.predict_proba(frame)[:, 1], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("form", ["onnx", "skops", "pyfunc"])
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_other_outcomes_are_served_equal_in_every_format(kind: Any, form: str, tmp_path: Path) -> None:
    """Three classes, or a large quantity; again for missing values and unseen categories."""
    age = FRAME["age"].fillna(20).to_numpy()
    task = Task(kind=kind, classes=("old", "young", "middle") if kind == "multiclass" else ())
    learnt = np.digitize(age, [30, 60]) if kind == "multiclass" else age * 1000 + 7
    estimator = HistGradientBoostingClassifier if kind == "multiclass" else HistGradientBoostingRegressor
    steps = [boosted()[0], *([] if form == "onnx" else [FunctionTransformer(np.fabs)])]
    if form == "pyfunc":
        steps.append(FunctionTransformer(lambda rows: rows))
    model = make_pipeline(*steps, estimator(max_iter=20)).fit(FRAME, learnt)

    def act(scores: NDArray, frame: pd.DataFrame) -> NDArray:
        return (scores[:, 0] if kind == "multiclass" else scores / 100_000) >= 0.3

    bundle = pack(model, {"the newest window": FRAME}, act, tmp_path, described(FRAME, task))
    assert bundle.format == form, bundle.reason
    predictor = Predictor(tmp_path, bundle.sha256, FEATURES, task)
    answer = model.predict_proba if kind == "multiclass" else model.predict
    for frame in (FRAME, UNUSUAL, UNUSUAL.head(1)):
        scores = predictor.scores(columns(frame))
        assert scores.shape == task.shape(len(frame))
        np.testing.assert_allclose(scores, answer(frame), rtol=TOLERANCE, atol=TOLERANCE)


def test_a_model_of_another_outcome_is_refused(folder: Path) -> None:
    digest = Bundle.model_validate_json((folder / "bundle.json").read_text()).sha256
    with pytest.raises(
        FeatureMismatch, match=r"the model predicts a boolean, the outcome of contract\.yaml is a number"
    ):
        Predictor(folder, digest, FEATURES, Task(kind="regression"))


def test_a_bundle_from_before_there_were_other_outcomes_keeps_its_digest(folder: Path) -> None:
    """It says nothing of its format nor of a task, and is of the first and of one of yes or no."""
    file = folder / "bundle.json"
    content = json.loads(file.read_text())
    assert content.pop("format_version") == 1
    assert (content.pop("task"), content.pop("tolerance")) == ({"kind": "binary", "classes": []}, TOLERANCE)
    file.write_text(json.dumps(content))
    description = json.dumps({name: value for name, value in content.items() if name != "sha256"}, sort_keys=True)
    digest = hashlib.sha256(description.encode() + (folder / "model.onnx").read_bytes()).hexdigest()
    assert content["sha256"] == digest
    Predictor(folder, digest, FEATURES)


@pytest.mark.slow
def test_a_pipeline_that_cannot_be_converted_is_served_as_it_is(tmp_path: Path) -> None:
    model = cannot_be_converted().fit(FRAME, LATE)
    bundle = packed(model, tmp_path)
    assert bundle.format == "skops"
    assert re.match(
        r"served as the scikit-learn pipeline itself \(skops\): a row alone costs [\d,]+ µs of CPU, and the service "
        r"needs the dependency group `pipeline`, .*\. Not as ONNX: .*FunctionTransformer",
        bundle.reason,
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", "model.skops"]
    for frame in (FRAME, UNUSUAL, UNUSUAL.head(1)):
        scores = Predictor(tmp_path, bundle.sha256, FEATURES).scores(columns(frame))
        np.testing.assert_allclose(scores, model.predict_proba(frame)[:, 1], rtol=0, atol=TOLERANCE)


def test_a_conversion_that_answers_otherwise_is_not_served(
    model: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = boosted().fit(FRAME, ~LATE)

    def convert_another(_: Pipeline, **options: Any) -> Any:
        return to_onnx(other, **options | {"options": {id(other): {"zipmap": False}}})

    monkeypatch.setattr(packing, "to_onnx", convert_another)
    bundle = packed(model, tmp_path)
    assert bundle.format == "skops"
    assert ". Not as ONNX: the conversion gives other answers for " in bundle.reason
    scores = Predictor(tmp_path, bundle.sha256, FEATURES).scores(columns(FRAME))
    np.testing.assert_allclose(scores, model.predict_proba(FRAME)[:, 1], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (Homemade(), r"types that are not trusted: .*Homemade"),
        (make_pipeline(FunctionTransformer(lambda X: X), Homemade()), r"Homemade"),  # nobody can write a lambda down
    ],
)
def test_a_pipeline_of_types_that_nobody_vouched_for_is_served_through_mlflow(
    model: Any, named: str, tmp_path: Path
) -> None:
    """Never without saying so: whoever loads it runs its code."""
    model = model.fit(FRAME, LATE)
    bundle = packed(model, tmp_path)
    assert bundle.format == "pyfunc"
    assert bundle.reason.startswith("served through MLflow, which runs code when it is loaded: a row alone costs ")
    assert re.search(r"\. Not as ONNX: .*\. Nor as skops: .*" + named, bundle.reason)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle.json", "model.pyfunc"]
    predictor = Predictor(tmp_path, bundle.sha256, FEATURES)
    for frame in (FRAME, UNUSUAL, UNUSUAL.head(1)):
        scores = predictor.scores(columns(frame))
        np.testing.assert_allclose(scores, model.predict_proba(frame)[:, 1], rtol=0, atol=TOLERANCE)


def test_types_that_nobody_vouched_for_are_not_loaded_as_skops(folder: Path) -> None:
    """Whoever can register a bundle cannot pass a pickle in disguise."""
    content = skops.io.dumps(Homemade().fit(FRAME, LATE))
    with pytest.raises(BundleError, match=r"types that are not trusted: .*Homemade"):
        Predictor(folder, rewritten(folder, content, format="skops", file="model.skops"), FEATURES)


class Unbounded(Homemade):
    """Answers with what are no probabilities."""

    def predict_proba(self, X: Any) -> NDArray:
        return 2 * super().predict_proba(X)


def test_scores_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelMismatch, match="not all between 0 and 1"):
        packed(Unbounded().fit(FRAME, LATE), tmp_path)


def altered_description(**changes: Any) -> Callable[[Path], None]:
    def alter(folder: Path) -> None:
        file = folder / "bundle.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))

    return alter


def altered_model(folder: Path) -> None:
    content = bytearray((folder / "model.onnx").read_bytes())
    content[-1] ^= 1
    (folder / "model.onnx").write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (altered_model, "its digest differs"),
        (altered_description(features=["age", "city"]), "its digest differs"),
        (altered_description(sample={"features": {}, "scores": []}), "its digest differs"),
        (altered_description(reason="trust me"), "its digest differs"),
        (altered_description(format="pickle"), "cannot be read"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "bundle.json").unlink(), "cannot be read"),
        (lambda folder: (folder / "model.onnx").unlink(), "cannot be read"),
    ],
)
def test_a_bundle_that_was_altered_or_damaged_is_refused(
    damage: Callable[[Path], None], message: str, folder: Path
) -> None:
    digest = Bundle.model_validate_json((folder / "bundle.json").read_text()).sha256
    Predictor(folder, digest, FEATURES)
    damage(folder)
    with pytest.raises(BundleError, match=message):
        Predictor(folder, digest, FEATURES)


def test_another_digest_is_refused(folder: Path) -> None:
    with pytest.raises(BundleError, match="not the one that was registered"):
        Predictor(folder, "0" * 64, FEATURES)


@pytest.mark.parametrize("features", [["age", "city"], ["city"], ["city", "age", "height"]])
def test_a_model_of_other_features_is_refused(features: list[str], folder: Path) -> None:
    digest = Bundle.model_validate_json((folder / "bundle.json").read_text()).sha256
    with pytest.raises(FeatureMismatch, match="the model takes city, age, contract"):
        Predictor(folder, digest, features)


def rewritten(folder: Path, content: bytes, **changes: Any) -> str:
    """Rewrite the bundle so that its digest fits again, as whoever registers it could."""
    bundle = Bundle.model_validate_json((folder / "bundle.json").read_text()).model_copy(update=changes)
    (folder / bundle.file).write_bytes(content)
    bundle.sha256 = bundle_digest(bundle, content)
    (folder / "bundle.json").write_text(bundle.model_dump_json())
    return bundle.sha256


def test_a_model_that_answers_its_sample_otherwise_is_refused(folder: Path, tmp_path: Path) -> None:
    other = packed(boosted().fit(FRAME, ~LATE), tmp_path / "other")
    assert other.format == "onnx"
    content = (tmp_path / "other" / other.file).read_bytes()
    with pytest.raises(BundleError, match="scores for the recorded sample differ"):
        Predictor(folder, rewritten(folder, content), FEATURES)


@pytest.mark.parametrize("form", ["onnx", "skops", "pyfunc"])
def test_a_file_that_is_no_model_is_refused(form: str, folder: Path) -> None:
    with pytest.raises(BundleError, match=f"model.{form} in .* cannot be loaded"):
        Predictor(folder, rewritten(folder, b"no model", format=form, file=f"model.{form}"), FEATURES)


def test_what_was_trained_is_served_as_onnx_and_equal_to_the_pipeline(ran: Ran) -> None:
    assert ran.trained.bundle.startswith("proven equal to the pipeline: ")
    registry = Registry(ran.pilot)
    pipeline = mlflow.sklearn.load_model(f"models:/{registry.name}/{ran.trained.version}")
    evaluation = read_history(ran.pilot).evaluation
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


def test_a_version_answers_the_rows_of_the_snapshots_through_mlflow(pilot_copy: Pilot) -> None:
    """As somebody else would ask it, who reads the table into pandas."""
    registry, dataset = Registry(pilot_copy), pilot_copy.contract.dataset
    version = registry.required_champion()
    model = mlflow.pyfunc.load_model(f"models:/{registry.name}/{version.number}")
    rows = Snapshots(pilot_copy.snapshots, dataset).read().slice(0, 50)
    asked = rows.select(dataset.feature_names)
    answered = model.predict(asked.to_pandas())[:, 1]
    columns = arrays({name: asked[name] for name in dataset.feature_names}, dataset.features)
    np.testing.assert_allclose(answered, registry.predictor(version).scores(columns), rtol=0, atol=TOLERANCE)


def test_a_logged_model_takes_integers_and_booleans_with_and_without_missing_ones(tmp_path: Path) -> None:
    table = pa.table(
        {
            "city": pa.array(["Rome", None] * 20),
            "count": pa.array([1, None] * 20),  # pandas reads it as float64
            "size": pa.array([1, 2] * 20),
            "known": pa.array([True, None] * 20),  # as objects
            "member": pa.array([True, False] * 20),
            "share": pa.array([0.1, None] * 20),
        }
    )
    whole = {"logicalType": "integer"}
    yes_or_no = {"logicalType": "boolean", "examples": [True]}
    dataset = described(
        table.to_pandas(),
        city={"logicalType": "string", "examples": ["a"]},
        count=whole,
        size=whole | {"required": True},
        known=yes_or_no,
        member=yes_or_no | {"required": True},
    )
    frame = pd.DataFrame(arrays({name: table[name] for name in table.column_names}, dataset.features))
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(
        make_column_transformer((encode, ["city"]), remainder="passthrough"), HistGradientBoostingClassifier(max_iter=2)
    ).fit(frame, np.arange(40) % 2)
    mlflow.sklearn.save_model(model, str(tmp_path / "model"), **packing.mlflow_options(model, frame, dataset))
    loaded = mlflow.pyfunc.load_model(str(tmp_path / "model"))
    for rows in (table, table.filter(table["count"].is_valid())):
        answered = loaded.predict(rows.to_pandas())
        assert answered.shape == (len(rows), 2)
