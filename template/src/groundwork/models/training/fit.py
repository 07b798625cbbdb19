"""Fit the model of `use_case/model.py`, and choose its parameters."""

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
    """What `use_case/model.py` builds, fitted, or what it names by an MLflow address; and what to call it.

    The same rows and parameters give the same model: everything that draws at random is seeded.
    """
    random.seed(SEED)
    np.random.seed(SEED)  # what scikit-learn draws from where the use case names no random_state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
    built = use_case_model.build()
    if isinstance(built, str):
        pretrained = Pretrained(built, dataset)
        return pretrained.pipeline() or pretrained, built
    if parameters:
        built.set_params(**parameters)
    return built.fit(training.frame, dataset.task.targets(training.outcomes)), type(built).__name__


SPLITS = 3  # of the past, by time, to choose parameters on


def search(pilot: Pilot, training: Examples) -> tuple[dict[str, Any], int]:
    """The parameters of `search()` in use_case/model.py that make most money on later rows, and of how many sets.

    Without it, none of none.

    Each trial is a nested run in MLflow: fitted on the past and judged on what came after it, three times over.
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
