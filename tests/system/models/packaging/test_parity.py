"""A conversion is proven equal on all rows that the contract allows, or it is not served."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described import described
from groundwork.documents.contract.column import BINARY, Task
from groundwork.models.packaging.pack import pack
from groundwork.models.packaging.parity import NotEqual, ParityCheck, compare, prove_equal
from groundwork.models.packaging.probes import Probe
from groundwork.models.serving.predictor import TOLERANCE, Bundle, Predictor
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, MissingIndicator, SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PowerTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier, ExtraTreeClassifier

ROWS, NEWEST = 600, 200
REGRESSION = Task(kind="regression")
chance = np.random.default_rng(0)
CITIES = np.array(["Rome", "Oslo", "Bonn", "Lima", ""], dtype=object)
# As snapshots often are: a share is missing in some rows of the past, and in none of the newest window.
FRAME = pd.DataFrame(
    {
        "city": chance.choice(CITIES, ROWS, p=[0.4, 0.3, 0.19, 0.01, 0.1]),
        "age": chance.integers(18, 90, ROWS).astype(np.float32),
        "share": np.where(np.arange(ROWS) % 5, chance.integers(0, 99, ROWS) / 99, np.nan).astype(np.float32),
        "account": (1e9 + 100 * chance.normal(size=ROWS)).astype(np.float32),
    }
)
FRAME.loc[ROWS - NEWEST :, "share"] = (chance.integers(0, 99, NEWEST) / 99).astype(np.float32)
LEARNT = FRAME["age"] / 30 + FRAME["share"].fillna(1.5) * (FRAME["city"] != "Oslo") + chance.normal(0, 0.3, ROWS)
WINDOWS = {"the newest window": FRAME.iloc[-NEWEST:], "the training window": FRAME.iloc[:-NEWEST]}
LIMITS = {
    "age": {"logicalType": "integer", "logicalTypeOptions": {"minimum": 0, "maximum": 120}, "required": True},
    "account": {"required": True},
}


def columns(frame: pd.DataFrame) -> dict[str, NDArray]:
    return {str(name): frame[name].to_numpy() for name in frame}


def decide(scores: NDArray, _: pd.DataFrame) -> NDArray[np.str_]:
    return np.where(scores >= 0.3, "call", "wait")


def packed(model: Any, folder: Path, task: Task = BINARY, windows: Any = WINDOWS) -> Bundle:
    """The bundle of the model, fitted on the training window, if it is not fitted."""
    learnt = LEARNT.to_numpy(np.float32) if task.kind == "regression" else (LEARNT > 2.3).to_numpy(np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(FRAME.iloc[:-NEWEST], learnt[:-NEWEST])
        return pack(model, windows, decide, folder, described(FRAME, task, **LIMITS))


def ordinal(*steps: Any) -> Pipeline:
    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return make_pipeline(make_column_transformer((encode, ["city"]), ("passthrough", ["age", "share"])), *steps)


def numbers(*steps: Any) -> Pipeline:
    """Steps on the numbers, of which one may be missing."""
    return make_pipeline(make_column_transformer(("passthrough", ["age", "share"])), *steps)


def scaled(*steps: Any) -> Pipeline:
    encode = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    number = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(make_column_transformer((encode, ["city"]), (number, ["age", "share"])), *steps)


FORESTS: list[Callable[[], Any]] = [
    lambda: RandomForestClassifier(20, random_state=0),
    lambda: ExtraTreesClassifier(20, random_state=0),
    lambda: DecisionTreeClassifier(random_state=0),
    lambda: ExtraTreeClassifier(random_state=0),
    lambda: BaggingClassifier(n_estimators=5, random_state=0),
]


@pytest.mark.parametrize("build", FORESTS, ids=lambda build: type(build()).__name__)
@pytest.mark.parametrize("before", [ordinal, scaled], ids=["as it is", "scaled"])
def test_trees_are_onnx_and_equal_where_a_feature_is_missing(before: Any, build: Any, tmp_path: Path) -> None:
    """Also where decisions begin at a share of trees that many rows have, such as 6 of 20."""
    model = before(build())
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason
    asked = FRAME.assign(share=np.float32(np.nan))
    scores = Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(asked))
    expected = model.predict_proba(asked)[:, 1].astype(np.float32)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)
    assert (decide(scores, asked) == decide(expected, asked)).all()


@pytest.mark.parametrize(
    "model",
    [
        ordinal(RandomForestRegressor(20, random_state=0)),
        ordinal(ExtraTreesRegressor(20, random_state=0)),
        ordinal(HistGradientBoostingRegressor(max_iter=20)),
        ordinal(HistGradientBoostingRegressor(loss="poisson", max_iter=20)),
        ordinal(HistGradientBoostingRegressor(loss="gamma", max_iter=20)),
        scaled(LinearRegression()),
    ],
)
def test_regressors_are_onnx_and_equal(model: Any, tmp_path: Path) -> None:
    bundle = packed(model, tmp_path, REGRESSION)
    assert bundle.format == "onnx", bundle.reason


@pytest.mark.parametrize(
    "model",
    [
        ordinal(HistGradientBoostingClassifier(max_iter=20)),
        scaled(HistGradientBoostingClassifier(max_iter=20)),
        scaled(LogisticRegression()),
        # skl2onnx multiplies by the reciprocal of the scale unless it is told to divide.
        make_pipeline(
            make_column_transformer(("passthrough", ["account", "age"])), StandardScaler(), LogisticRegression()
        ),
    ],
)
def test_what_most_pilots_begin_with_is_onnx(model: Any, tmp_path: Path) -> None:
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason


def infrequent(**options: Any) -> Pipeline:
    """A column for the cities that are rare."""
    encode = make_column_transformer((OneHotEncoder(**options), ["city"]), (SimpleImputer(), ["age"]))
    return make_pipeline(encode, LogisticRegression(C=30))


def voting(*voters: Any, **options: Any) -> VotingClassifier:
    return VotingClassifier([(str(number), voter) for number, voter in enumerate(voters)], voting="soft", **options)


FOREST, BOOSTING = RandomForestClassifier(20, max_depth=4, random_state=0), HistGradientBoostingClassifier(max_iter=5)
ON_BOTH_NUMBERS = SimpleImputer(add_indicator=True, strategy="median")
CONVERTED: dict[str, Any] = {
    "unseen categories are infrequent": infrequent(min_frequency=30, handle_unknown="infrequent_if_exist"),
    "unseen categories are ignored": infrequent(min_frequency=30, handle_unknown="ignore"),
    "all but two are infrequent, one is dropped": infrequent(max_categories=3, drop="first", handle_unknown="warn"),
    "no category is infrequent": infrequent(min_frequency=1, handle_unknown="infrequent_if_exist", dtype=np.int64),
    "infrequent texts and numbers": make_pipeline(
        make_column_transformer(
            (OneHotEncoder(min_frequency=30, handle_unknown="infrequent_if_exist"), ["city", "age"])
        ),
        LogisticRegression(),
    ),
    "an indicator of what is missing": numbers(SimpleImputer(add_indicator=True), LogisticRegression()),
    "an indicator, then scaled": numbers(ON_BOTH_NUMBERS, StandardScaler(), FOREST),
    "an indicator of nothing": make_pipeline(
        make_column_transformer((SimpleImputer(add_indicator=True), ["age"])), LogisticRegression()
    ),
    "indicators alone": numbers(
        make_union(SimpleImputer(), MissingIndicator(features="all"), MissingIndicator(error_on_new=False)),
        LogisticRegression(),
    ),
    "two forests vote": ordinal(voting(FOREST, ExtraTreesClassifier(20, random_state=0))),
    "votes with weights, and without one voter": scaled(
        voting(FOREST, "drop", LogisticRegression(), weights=[1, 5, 3], flatten_transform=False)
    ),
    "pipelines vote": scaled(voting(make_pipeline(StandardScaler(), LogisticRegression()), BOOSTING)),
    "whole pipelines vote": voting(scaled(LogisticRegression()), ordinal(BOOSTING)),
}


@pytest.mark.filterwarnings("ignore:Found unknown categories")
@pytest.mark.parametrize("name", CONVERTED)
def test_what_the_library_refuses_or_gets_wrong_is_converted_rightly(name: str, tmp_path: Path) -> None:
    model = CONVERTED[name]
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason
    asked = FRAME.assign(city=np.where(np.arange(ROWS) % 3, FRAME["city"], "Nowhere").astype(object))
    for rows in (1, ROWS):
        found = Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(asked.iloc[-rows:]))
        expected = model.predict_proba(asked.iloc[-rows:])[:, 1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_values_on_the_thresholds_of_trees_are_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A share on a threshold goes left; where the converter rounds the threshold up or down, some go right."""
    from groundwork.models.packaging import tree_converters

    monkeypatch.setattr(tree_converters, "_below", lambda values: np.asarray(values).astype(np.float32))
    bundle = packed(ordinal(HistGradientBoostingClassifier(max_iter=20)), tmp_path)
    assert bundle.format == "skops"
    assert "values on and beside the thresholds of trees: " in bundle.reason


WRONG: dict[str, Any] = {
    "one column of integer codes as a native category": ordinal(
        HistGradientBoostingClassifier(categorical_features=[0], max_iter=20)
    ),
    "numbers imputed from the others": numbers(IterativeImputer(max_iter=2), LogisticRegression()),
    "isotonic calibration": scaled(CalibratedClassifierCV(LogisticRegression(), method="isotonic", cv=3)),
    "neighbours by distance": scaled(KNeighborsClassifier(weights="distance")),
    "discriminants of two classes": scaled(LinearDiscriminantAnalysis()),
    "a power of what is missing": numbers(PowerTransformer(), SimpleImputer(), LogisticRegression()),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_converters_get_wrong_is_not_served_as_onnx(name: str, tmp_path: Path) -> None:
    """With or without an error of the converter; the pipeline itself is served, without running code of the file."""
    model = WRONG[name]
    bundle = packed(model, tmp_path)
    assert bundle.format == "skops", bundle.reason
    assert ". Not as ONNX: " in bundle.reason
    scores = Predictor(tmp_path, bundle.sha256, list(FRAME)).scores(columns(FRAME))
    np.testing.assert_allclose(scores, model.predict_proba(FRAME)[:, 1], rtol=0, atol=TOLERANCE)


def test_a_tuned_threshold_does_not_matter_because_decisions_are_the_use_cases(tmp_path: Path) -> None:
    bundle = packed(scaled(TunedThresholdClassifierCV(LogisticRegression(), cv=3)), tmp_path)
    assert bundle.format == "onnx", bundle.reason


@pytest.mark.parametrize("boosting", ["rf", "gbdt"])
def test_a_forest_of_lightgbm_is_not_served_as_onnx_but_its_boosting_is(boosting: str, tmp_path: Path) -> None:
    library = pytest.importorskip("lightgbm", reason="needs `uv sync --group boosting`")
    few = {"n_estimators": 20, "verbosity": -1, "bagging_freq": 1, "bagging_fraction": 0.7}
    bundle = packed(ordinal(library.LGBMClassifier(boosting_type=boosting, **few)), tmp_path)
    assert bundle.format == ("skops" if boosting == "rf" else "onnx"), bundle.reason


def test_the_newest_window_alone_would_have_proven_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As skl2onnx converts a forest: equal in every row of the newest window, where nothing is missing."""
    from groundwork.models.packaging import tree_converters

    tree_converters.register()
    convert = tree_converters._convert_forest

    def right(scope: Any, operator: Any, container: Any) -> None:
        add = container.add_node

        def adding(op_type: str, *names: Any, **attributes: Any) -> None:
            if "nodes_missing_value_tracks_true" in attributes:
                attributes["nodes_missing_value_tracks_true"] = np.zeros(len(attributes["nodes_modes"]), dtype=np.int64)
            add(op_type, *names, **attributes)

        container.add_node = adding
        convert(scope, operator, container)

    from skl2onnx import update_registered_converter
    from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes as shapes

    name = "SklearnRandomForestClassifier"
    monkeypatch.setattr(tree_converters, "register", lambda: None)
    try:
        update_registered_converter(RandomForestClassifier, name, shapes, right, options=tree_converters.ZIPMAP)
        bundle = packed(ordinal(RandomForestClassifier(20, random_state=0)), tmp_path)
    finally:
        update_registered_converter(RandomForestClassifier, name, shapes, convert, options=tree_converters.ZIPMAP)
    assert bundle.format == "skops"
    assert "the newest window: " not in bundle.reason
    assert "share missing: " in bundle.reason


def test_rows_without_a_score_of_the_pipeline_are_named_and_not_compared(tmp_path: Path) -> None:
    """Here categories that were not seen, which the contract allows: the encoder refuses them."""
    encode = OneHotEncoder(sparse_output=False)
    model = make_pipeline(make_column_transformer((encode, ["city"]), (SimpleImputer(), ["age"])), LogisticRegression())
    bundle = packed(model, tmp_path)
    assert bundle.format == "onnx", bundle.reason
    assert "; the pipeline itself gives no score for: city, unseen values (ValueError: Found unknown categor" in (
        bundle.reason
    )


def compared(converted: list[float], original: list[float], scale: float | None = None) -> ParityCheck:
    probes = [[Probe("all", pd.DataFrame({"x": np.arange(len(original))}))]]
    return compare(
        probes,
        lambda _: np.array(original),
        lambda _: np.array(converted, dtype=np.float32),
        decide,
        scale,
    )


def test_scores_within_the_tolerance_are_equal_and_said_to_be() -> None:
    said = prove_equal(compared([0.5, 0.2], [0.5, 0.2]))
    assert said == "proven equal to the pipeline: largest difference 0.0e+00, 0 decisions differ, on 2 rows"


@pytest.mark.parametrize(
    ("converted", "original"), [([0.5, 0.2], [0.5, 0.201]), ([0.5, np.nan], [0.5, 0.2]), ([0.29999997], [0.3])]
)
def test_equal_means_in_every_row_and_every_decision(converted: list[float], original: list[float]) -> None:
    with pytest.raises(NotEqual, match=r"^the conversion gives other answers for 1 of 1 kinds of rows .*: all: "):
        prove_equal(compared(converted, original))


def test_the_tolerance_of_a_quantity_grows_with_it() -> None:
    prove_equal(compared([1e9 + 2000, 5.001], [1e9, 5.0], scale=1000))
    with pytest.raises(NotEqual, match="1 of 2 rows differ"):
        prove_equal(compared([1e9, 5.02], [1e9, 5.0], scale=1000))


def test_a_conversion_that_fails_where_the_pipeline_answers_is_not_equal() -> None:
    def fails(_: pd.DataFrame) -> NDArray:
        raise ValueError("no such text")

    probes = [[Probe("all", pd.DataFrame({"x": [1.0]}))]]
    with pytest.raises(NotEqual, match=r"all: the conversion fails \(ValueError: no such text\)"):
        prove_equal(compare(probes, lambda _: np.array([0.5]), fails, decide))
