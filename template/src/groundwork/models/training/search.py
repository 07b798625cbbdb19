"""Choose parameters: each set is fitted on the past and judged on later rows."""

from typing import Any

import mlflow
import numpy as np
from sklearn.model_selection import TimeSeriesSplit

from groundwork.core.errors import NotEnoughData
from groundwork.core.progress import track
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import Performance
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.serving.predictor import pipeline_scores
from groundwork.models.training.fit import fit
from groundwork.models.training.history import Examples
from use_case import model as use_case_model

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
