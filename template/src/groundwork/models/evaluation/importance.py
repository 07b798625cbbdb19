"""Which features a version relies on, and whether its probabilities are right."""

from dataclasses import replace

from numpy.typing import NDArray

from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.diagnostics import Calibration, Importance, Judge, calibration, importance
from groundwork.models.evaluation.estimates import Performance
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.serving.predictor import Predictor
from groundwork.models.training.history import Examples


def judge_on(pilot: Pilot, predictor: Predictor) -> Judge:
    """The predictor's performance as a function of features and outcomes."""

    def performed(columns: dict[str, NDArray], outcomes: NDArray) -> Performance:
        rows = Examples(columns, outcomes)
        return performance(pilot, decided(pilot, predictor.scores(columns), rows), rows)

    return performed


def leanings(pilot: Pilot, predictor: Predictor, evaluation: Examples) -> list[Importance]:
    """What the predictor leans on. To lose is always positive, be more of the metric better or less."""
    found = importance(evaluation.columns, evaluation.outcomes, judge_on(pilot, predictor))
    return [replace(each, metric=pilot.charter.gate.loss(each.metric)) for each in found]


def calibration_of(pilot: Pilot, scores: NDArray, evaluation: Examples) -> Calibration | None:
    """Whether probabilities mean what they say; of several classes, that of the likeliest. A quantity has none."""
    task = pilot.contract.dataset.task
    if task.kind == "regression":
        return None
    if task.kind == "multiclass":
        return calibration(task.predicted(scores) == evaluation.outcomes, scores.max(1))
    return calibration(evaluation.outcomes, scores)
