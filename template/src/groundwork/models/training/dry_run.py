"""Tries the use case on a few rows, so that a mistake in it ends the training before the long work."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from threadpoolctl import threadpool_limits

from groundwork.core.errors import BundleError, UseCaseError, in_use_case
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.performance import decided, decided_by_rule
from groundwork.models.serving.predictor import MISSING_TEXT, pipeline_scores, score_method
from groundwork.models.training.fit import asked_parameters, fit, unfitted
from groundwork.models.training.history import Examples

ROWS = 400
MODEL, SOURCE = "src/use_case/model.py", "src/use_case/source.py"
# Errors of any number of rows: of the code, or of values that a model does not take.
_SURE = (TypeError, AttributeError, NameError, ImportError, NotImplementedError)
_SURE_WORDS = ("could not convert string to float", "contains NaN", "Unknown label type")


def dry_run(pilot: Pilot, training: Examples) -> None:
    """Build, fit and ask the model of `use_case/model.py` on a few rows, and decide by its scores.

    Raises UseCaseError, with the place and the remedy, if this shows that the training would fail. An error that may be
    due to the small number of rows is left to the training itself.
    """
    dataset = pilot.contract.dataset
    _refuse_empty_features(training)
    built = unfitted()
    if isinstance(built, str):  # a model that was trained elsewhere
        return
    _refuse_other_kind(built, dataset)
    step = _last_step(built)
    if type(step).__module__.startswith("sklearn.") and not hasattr(type(step), score_method(dataset.task)):
        _refuse_without_scores(built, dataset)
    asked = asked_parameters()
    for parameters in asked:
        with in_use_case("model.py", f"the model cannot take the parameters {parameters} of search()"):
            unfitted().set_params(**parameters)
    few = training.part(_some_of_each(training, dataset))
    try:
        with threadpool_limits(1):  # on so few rows, more threads only wait for each other
            model, _ = fit(few, dataset, asked[0] if asked else {})
        if not hasattr(model, score_method(dataset.task)):
            _refuse_without_scores(model, dataset)
        with in_use_case("model.py", f"the model is fitted, but its {score_method(dataset.task)} fails"):
            scores = pipeline_scores(model, few.frame, dataset.task)
    except BundleError as error:
        raise UseCaseError(f"{MODEL}: {error}") from error
    except UseCaseError as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, _SURE) or any(words in str(cause) for words in _SURE_WORDS):
            raise
        return
    with in_use_case("decision.py", "decide() or value() fails"):
        decided(pilot, scores.astype(np.float32), few)
    with in_use_case("decision.py", "without_model() or value() fails"):
        decided_by_rule(pilot, few)


def _refuse_empty_features(training: Examples) -> None:
    empty = [
        name
        for name, values in training.columns.items()
        if len(values) and bool((values == MISSING_TEXT).all() if values.dtype == object else np.isnan(values).all())
    ]
    if empty:
        raise UseCaseError(
            f"{SOURCE}: {', '.join(empty)} is empty in all {len(training):,} rows to train on: fill it in rows(), or "
            "remove its tag feature from contract.yaml"
        )


def _refuse_other_kind(built: Any, dataset: Dataset) -> None:
    """Raises UseCaseError if it is a regressor for a class, or a classifier for a quantity."""
    regression = dataset.task.kind == "regression"
    try:
        other = (is_classifier if regression else is_regressor)(built)
    except AttributeError:  # not made from scikit-learn's base classes
        return
    if other:
        found, wanted = ("classifier", "regressor") if regression else ("regressor", "classifier")
        name, outcome = type(_last_step(built)).__name__, dataset.outcome
        raise UseCaseError(
            f"{MODEL}: build() returns the {found} {name}, but the outcome {outcome.name} is a {outcome.logical_type}: "
            f"return a {wanted}, such as HistGradientBoosting{wanted.capitalize()}()"
        )


def _refuse_without_scores(model: Any, dataset: Dataset) -> None:
    name, method = type(_last_step(model)).__name__, score_method(dataset.task)
    outcome = f"the outcome {dataset.outcome.name} is a {dataset.outcome.logical_type}"
    remedy = (
        "return a scikit-learn compatible regressor"
        if method == "predict"
        else f"wrap it, as CalibratedClassifierCV({name}()) of sklearn.calibration, or use another classifier"
    )
    raise UseCaseError(f"{MODEL}: {name} has no method {method}, which is needed because {outcome}: {remedy}")


def _last_step(model: Any) -> Any:
    steps = getattr(model, "steps", None)
    return steps[-1][1] if steps else model


def _some_of_each(training: Examples, dataset: Dataset) -> NDArray[np.intp]:
    """Return at most about ROWS row numbers, spread over time; of each class as many."""
    outcomes = training.outcomes
    classes = [None] if dataset.task.kind == "regression" else np.unique(outcomes).tolist()
    chosen = []
    for each in classes:
        rows = np.arange(len(outcomes)) if each is None else np.flatnonzero(outcomes == each)
        chosen.append(rows[np.unique(np.linspace(0, len(rows) - 1, max(2, ROWS // len(classes))).astype(int))])
    return np.sort(np.concatenate(chosen))
