"""Fits the model of `use_case/model.py`, and chooses its parameters."""

import random
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import mlflow
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import TimeSeriesSplit

from groundwork.core.errors import NotEnoughData, UseCaseError, in_use_case, place, shortened
from groundwork.core.progress import track
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import SEED, Performance
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.serving.predictor import pipeline_scores
from groundwork.models.training.history import Examples


def fit(training: Examples, dataset: Dataset, parameters: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the fitted model of `use_case/model.py`, or the model at the MLflow address that it names, and its name.

    The same rows and parameters give the same model: all random generators are seeded. Raises ModelMismatch if the
    model at the address does not fit the contract, UseCaseError if the model cannot be built or fitted.
    """
    _use_case_model()  # it may import PyTorch, whose generator is seeded too
    random.seed(SEED)
    np.random.seed(SEED)  # scikit-learn uses it if the use case sets no random_state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
    built = unfitted()
    if isinstance(built, str):
        pretrained = Pretrained(built, dataset)
        return pretrained.pipeline() or pretrained, built
    if parameters:
        built.set_params(**parameters)
    try:
        fitted = built.fit(training.frame, dataset.task.targets(training.outcomes))
    except Exception as error:
        said, cause = dataset.safe_text(error)
        where = place(error) or "src/use_case/model.py"
        raise UseCaseError(
            f"{where}: {type(built).__name__} cannot be fitted on {len(training):,} rows: "
            f"{shortened(said)}{_suspects(said, training, dataset)}"
        ) from cause
    return fitted, type(built).__name__


def unfitted() -> Any:
    """Return what `build()` in use_case/model.py returns: an unfitted model, or the address of a model.

    Raises UseCaseError if it fails, or returns something else.
    """
    model = _use_case_model()
    with in_use_case("model.py", "build() fails"):
        built = model.build()
    if isinstance(built, str):
        return built
    if isinstance(built, type):
        found, mend = f"the class {built.__name__}", f"return an instance, {built.__name__}()"
    elif not callable(getattr(built, "fit", None)):
        found, mend = type(built).__name__, "return an unfitted scikit-learn estimator, or the address of a model"
    else:
        return built
    raise UseCaseError(f"src/use_case/model.py: build() returns {found.replace('NoneType', 'None')}: {mend}")


def _use_case_model() -> ModuleType:
    """Return the module use_case/model.py, imported on the first call: only training needs the packages it imports."""
    with in_use_case("model.py", "the module cannot be imported"):
        from use_case import model
    return model


FEW_OF_A_CLASS = 20


def _suspects(said: str, training: Examples, dataset: Dataset) -> str:
    """Return what the rows have that such an error complains of, each with the remedy; empty if nothing is known."""
    columns, found = training.columns, []
    texts = [each.name for each in dataset.features if each.logical_type == "string"]
    gaps = [name for name, values in columns.items() if name not in texts and np.isnan(values).any()]
    if texts and ("string" in said or "float" in said):
        found.append(f"text features, to be encoded in build(): {', '.join(texts)}")
    if gaps and ("NaN" in said or "missing" in said):
        found.append(f"features with missing values, to be imputed in build(): {', '.join(gaps)}")
    if dataset.task.kind != "regression":
        classes, counts = np.unique(training.outcomes, return_counts=True)
        rare = [f"{each} in {count:,} rows" for each, count in zip(classes, counts, strict=True)]
        if counts.min() < FEW_OF_A_CLASS:
            found.append(f"few rows of an outcome: {', '.join(rare)}; ingest more windows, or build a simpler model")
    if constant := constant_features(training):
        found.append(f"features with one value in all rows: {', '.join(constant)}")
    return "".join(f"; {each}" for each in found)


def constant_features(training: Examples) -> list[str]:
    """Return the features that have one and the same value in all rows; a missing value counts as a value."""
    return [name for name, values in training.columns.items() if len(values) and _same(values)]


def _same(values: NDArray) -> bool:
    first = values[0]
    return bool((values == first).all() or (first != first and np.isnan(values).all()))


SPLITS = 3  # splits of the past by time, on which parameters are compared


def asked_parameters() -> list[dict[str, Any]]:
    """Return the parameters to try, by `search()` in use_case/model.py; an empty list without `search()`.

    Raises UseCaseError if it fails, NotEnoughData if it yields no parameters.
    """
    candidates = getattr(_use_case_model(), "search", None)
    if candidates is None:
        return []
    with in_use_case("model.py", "search() fails"):
        asked = [dict(parameters) for parameters in candidates()]
    if not asked:
        raise NotEnoughData("search() in use_case/model.py gives no parameters to try")
    return asked


def search(pilot: Pilot, training: Examples) -> tuple[dict[str, Any], int]:
    """Return the parameters of `search()` in use_case/model.py with the highest value, and the number of trials.

    Each trial is fitted on the past and evaluated on the rows after it, for SPLITS splits. It is logged as a nested run
    in MLflow. Without `search()`: no parameters, 0 trials. Raises NotEnoughData if `search()` yields no parameters.
    """
    asked = asked_parameters()
    trials: list[tuple[Performance, dict[str, Any]]] = []
    for parameters in track("trials", asked):
        with mlflow.start_run(run_name="trial", nested=True):
            found = []
            for past, later in TimeSeriesSplit(SPLITS).split(training.outcomes):
                judged_on = training.part(later)
                model, _ = fit(training.part(past), pilot.contract.dataset, parameters)
                scores = pipeline_scores(model, judged_on.frame, pilot.contract.dataset.task).astype(np.float32)
                found.append(performance(pilot, decided(pilot, scores, judged_on), judged_on))
            mean = Performance(
                float(np.mean([each.value_per_1000 for each in found])), float(np.mean([each.metric for each in found]))
            )
            mlflow.log_params(parameters)
            mlflow.log_metrics({"value_per_1000": mean.value_per_1000, "metric": mean.metric})
        trials.append((mean, parameters))
    if not trials:
        return {}, 0
    return max(trials, key=lambda trial: trial[0].value_per_1000)[1], len(trials)
