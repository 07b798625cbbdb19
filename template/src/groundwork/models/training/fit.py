"""Fits the model of `use_case/model.py`, and chooses its parameters."""

import random
import sys
from collections.abc import Mapping
from typing import Any

import mlflow
import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from groundwork.core.errors import NotEnoughData
from groundwork.core.progress import track
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import SEED, Performance
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.serving.predictor import pipeline_scores
from groundwork.models.training.history import Examples
from use_case import model as use_case_model


def fit(training: Examples, dataset: Dataset, parameters: Mapping[str, Any]) -> tuple[Any, str]:
    """Return the fitted model of `use_case/model.py`, or the model at the MLflow address that it names, and its name.

    The same rows and parameters give the same model: all random generators are seeded. Raises ModelMismatch if the
    model at the address does not fit the contract.
    """
    random.seed(SEED)
    np.random.seed(SEED)  # scikit-learn uses it if the use case sets no random_state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
    built = use_case_model.build()
    if isinstance(built, str):
        pretrained = Pretrained(built, dataset)
        return pretrained.pipeline() or pretrained, built
    if parameters:
        built.set_params(**parameters)
    return built.fit(training.frame, dataset.task.targets(training.outcomes)), type(built).__name__


SPLITS = 3  # splits of the past by time, on which parameters are compared


def search(pilot: Pilot, training: Examples) -> tuple[dict[str, Any], int]:
    """Return the parameters of `search()` in use_case/model.py with the highest value, and the number of trials.

    Each trial is fitted on the past and evaluated on the rows after it, for SPLITS splits. It is logged as a nested run
    in MLflow. Without `search()`: no parameters, 0 trials. Raises NotEnoughData if `search()` yields no parameters.
    """
    candidates = getattr(use_case_model, "search", None)
    if candidates is None:
        return {}, 0
    trials: list[tuple[Performance, dict[str, Any]]] = []
    for parameters in track("trials", list(candidates())):
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
        trials.append((mean, dict(parameters)))
    if not trials:
        raise NotEnoughData("search() in use_case/model.py gives no parameters to try")
    return max(trials, key=lambda trial: trial[0].value_per_1000)[1], len(trials)
