"""What a team brings wrongly ends the training before the long work, in one line with the place and the remedy."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from groundwork.core.errors import GroundworkError, UseCaseError
from groundwork.documents.pilot import Pilot
from groundwork.models.training.dry_run import dry_run
from groundwork.models.training.fit import constant_features, fit
from groundwork.models.training.history import Examples
from numpy.typing import NDArray
from other_tasks import MULTICLASS, REGRESSION, change
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_selector, make_column_transformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.svm import SVC, LinearSVC
from use_case import decision, model

NUMBERS = ("distance_miles", "departure_minute", "arrival_minute", "weekday", "origin_late_share_yesterday")
TEXTS = ("carrier", "origin", "destination")


def rows(outcomes: NDArray, **columns: Any) -> Examples:
    random = np.random.default_rng(0)
    count = len(outcomes)
    known: dict[str, NDArray] = {name: random.choice(np.array(["AA", "BB"], dtype=object), count) for name in TEXTS}
    known |= {name: random.random(count).astype(np.float32) * 1000 for name in NUMBERS}
    return Examples(known | columns, outcomes)


def late(count: int = 1000) -> NDArray:
    return np.arange(count) % 3 == 0


@pytest.fixture
def encoded() -> Callable[[Any], Pipeline]:
    """A pipeline that takes the example's features, with this model at its end."""

    def build(estimator: Any) -> Pipeline:
        texts = (OrdinalEncoder(), make_column_selector(dtype_exclude="number"))
        encode = make_column_transformer(texts, remainder="passthrough")
        return make_pipeline(encode, SimpleImputer(), estimator)

    return build


def built(monkeypatch: pytest.MonkeyPatch, what: Any) -> None:
    monkeypatch.setattr(model, "build", what if callable(what) and not hasattr(what, "fit") else lambda: what)


def fails() -> None:
    raise RuntimeError("no such file: weights.bin")


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda: None, "src/use_case/model.py: build() returns None: return an unfitted scikit-learn estimator"),
        (lambda: LogisticRegression, "build() returns the class LogisticRegression: return an instance, LogisticReg"),
        (lambda: {"a": 1}, "src/use_case/model.py: build() returns dict: return an unfitted scikit-learn estimator"),
        (fails, "src/use_case/model.py: build() fails: RuntimeError: no such file: weights.bin"),
        (LinearSVC(), "LinearSVC has no method predict_proba, which is needed because the outcome late is a boolean: "),
        (LinearSVC(), "wrap it, as CalibratedClassifierCV(LinearSVC()) of sklearn.calibration"),
        (SVC(), "SVC has no method predict_proba"),
        (
            DummyRegressor(),
            "build() returns the regressor DummyRegressor, but the outcome late is a boolean: ",
        ),
    ],
)
def test_a_model_that_cannot_give_scores_is_refused(
    what: Any,
    said: str,
    new_pilot: Pilot,
    encoded: Callable,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built(monkeypatch, encoded(what) if hasattr(what, "fit") else what)
    with pytest.raises(UseCaseError) as refused:
        dry_run(new_pilot, rows(late()))
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_has_no_probabilities_is_not_fitted_on_all_rows(
    new_pilot: Pilot, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted: list[int] = []
    fit_one = LinearSVC.fit
    monkeypatch.setattr(LinearSVC, "fit", lambda self, x, y: fitted.append(len(x)) or fit_one(self, x, y))
    built(monkeypatch, encoded(LinearSVC()))
    with pytest.raises(UseCaseError):
        dry_run(new_pilot, rows(late()))
    assert not any(count > 500 for count in fitted)
    built(monkeypatch, encoded(CalibratedClassifierCV(LinearSVC())))
    dry_run(new_pilot, rows(late()))
    assert fitted
    assert max(fitted) < 500


@pytest.mark.parametrize(("variant", "kind"), [(REGRESSION, "number"), (MULTICLASS, "string")])
def test_a_model_of_another_kind_than_the_outcome_is_refused(
    variant: Any, kind: str, new_pilot: Pilot, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = new_pilot.settings.home
    change(home / "contract.yaml", "schema.0.properties.-1", variant.outcome)
    change(home / "charter.yaml", "gate", variant.gate)
    pilot = Pilot.here()
    outcomes = np.array([(variant.outcomes * 500)[each] for each in range(1000)])
    if kind == "string":
        outcomes = np.array((["late", "on time", "early"] * 334)[:1000])
    wrong, right = (DummyClassifier(), DummyRegressor()) if kind == "number" else (DummyRegressor(), DummyClassifier())
    monkeypatch.setattr(decision, "decide", variant.decide)
    monkeypatch.setattr(decision, "value", variant.value)
    built(monkeypatch, encoded(wrong))
    with pytest.raises(UseCaseError, match=f"but the outcome late is a {kind}: return a"):
        dry_run(pilot, rows(outcomes))
    built(monkeypatch, encoded(right))
    dry_run(pilot, rows(outcomes))


def test_a_feature_without_values_is_named_with_the_remedy(new_pilot: Pilot) -> None:
    """HistGradientBoosting only says "window shape cannot be larger than input array shape"."""
    empty = {"origin_late_share_yesterday": np.full(1000, np.nan, np.float32), "carrier": np.full(1000, "", object)}
    with pytest.raises(UseCaseError) as refused:
        dry_run(new_pilot, rows(late(), **empty))
    assert str(refused.value) == (
        "src/use_case/source.py: carrier, origin_late_share_yesterday is empty in all 1,000 rows to train on: fill it "
        "in rows(), or remove its tag feature from contract.yaml"
    )
    almost = np.full(1000, np.nan, np.float32)
    almost[7] = 1
    dry_run(new_pilot, rows(late(), origin_late_share_yesterday=almost))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"weekday": np.nan}, " …; features with missing values, to be imputed in build(): weekday"),
        ({"carrier": "UA"}, "text features, to be encoded in build(): carrier, origin, destination"),
    ],
)
def test_values_that_the_model_does_not_take_are_named(
    values: dict, said: str, new_pilot: Pilot, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = rows(late())
    for name, value in values.items():
        training.columns[name][::3] = value
    texts = (OrdinalEncoder(), make_column_selector(dtype_exclude="number"))
    encode = make_column_transformer(texts, remainder="passthrough")
    built(monkeypatch, make_pipeline(encode, LogisticRegression()) if "weekday" in values else LogisticRegression())
    with pytest.raises(UseCaseError) as refused:
        dry_run(new_pilot, training)
    assert str(refused.value).startswith("src/use_case/model.py: ")
    assert said in str(refused.value)


def test_what_only_few_rows_cannot_do_is_left_to_all_rows(
    new_pilot: Pilot, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(monkeypatch, encoded(KNeighborsClassifier(n_neighbors=900)))
    dry_run(new_pilot, rows(late()))


def test_a_fit_that_fails_on_all_rows_names_what_they_have(
    new_pilot: Pilot, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = np.arange(1000) == 500
    built(monkeypatch, encoded(HistGradientBoostingClassifier(early_stopping=True)))
    with pytest.raises(UseCaseError) as refused:
        fit(rows(outcomes, weekday=np.ones(1000, np.float32)), new_pilot.contract.dataset, {})
    said = str(refused.value)
    assert said.startswith("src/use_case/model.py: Pipeline cannot be fitted on 1,000 rows: The least populated class")
    assert "few rows of an outcome: False in 999 rows, True in 1 rows; ingest more windows" in said
    assert said.endswith("features with one value in all rows: weekday")


def test_parameters_that_the_model_does_not_have_are_refused_before_any_trial(
    new_pilot: Pilot, encoded: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    built(monkeypatch, lambda: encoded(LogisticRegression()))
    monkeypatch.setattr(model, "search", lambda: [{"logisticregression__C": 1}, {"depth": 3}], raising=False)
    with pytest.raises(UseCaseError, match=r"cannot take the parameters \{'depth': 3\} of search\(\): ValueError"):
        dry_run(new_pilot, rows(late()))


@pytest.mark.parametrize(
    ("name", "function", "said"),
    [
        ("decide", lambda scores, worth: 1 / 0, "decide() or value() fails: ZeroDivisionError: division by zero"),
        ("without_model", lambda columns: columns["weather"], "without_model() or value() fails: KeyError: 'weather'"),
        ("value", lambda decisions, outcomes, worth: outcomes * np.nan, "value() returns no finite number for"),
        ("value", lambda decisions, outcomes, worth: 5.0, "shape"),
    ],
)
def test_a_decision_that_cannot_be_valued_is_refused(
    name: str, function: Callable, said: str, new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, name, function)
    with pytest.raises(GroundworkError) as refused:
        dry_run(new_pilot, rows(late()))
    assert said in str(refused.value)
    assert "use_case/decision.py" in str(refused.value)


def test_features_of_one_value_are_found() -> None:
    training = rows(
        late(),
        weekday=np.ones(1000, np.float32),
        carrier=np.full(1000, "AA", object),
        arrival_minute=np.full(1000, np.nan, np.float32),
    )
    assert sorted(constant_features(training)) == ["arrival_minute", "carrier", "weekday"]
