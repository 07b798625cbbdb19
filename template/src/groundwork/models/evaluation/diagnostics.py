"""Feature importance and calibration."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundwork.core.quoting import rounded
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import SEED, Performance
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.serving.predictor import Predictor
from groundwork.models.training.history import Examples

SHUFFLES = 3  # shuffles per feature
SHUFFLED_ROWS = 10_000
BINS = 10
Judge = Callable[[Examples], Performance]


@dataclass(frozen=True)
class Importance:
    """The loss when a feature's values are shuffled among the rows: in money per 1,000 decisions, and in the metric."""

    feature: str
    value_per_1000: float
    metric: float


@dataclass(frozen=True)
class Bin:
    """The rows whose score lies in [low, high)."""

    low: float
    high: float
    rows: int
    mean_score: float
    share_true: float


@dataclass(frozen=True)
class Calibration:
    """The predicted probabilities beside the observed shares, and the mean distance between the two."""

    bins: list[Bin]
    error: float  # expected calibration error: mean distance over the bins, weighted by rows; NaN without rows


def importance(evaluation: Examples, judge: Judge) -> list[Importance]:
    """Return the permutation importance of each feature, the largest loss of value first.

    Each feature is shuffled SHUFFLES times, on a sample of at most SHUFFLED_ROWS rows (Breiman, Random Forests, 2001).
    Only the model's input is shuffled; the decision and its value keep the real row.
    """
    generator = np.random.default_rng(SEED)
    sample = evaluation.part(np.sort(generator.permutation(len(evaluation))[:SHUFFLED_ROWS]))
    whole = judge(sample)
    found = []
    for name, values in sample.columns.items():
        shuffled = (sample.columns | {name: generator.permutation(values)} for _ in range(SHUFFLES))
        lost = [judge(replace(sample, columns=columns)) for columns in shuffled]
        found.append(
            Importance(
                name,
                whole.value_per_1000 - float(np.mean([each.value_per_1000 for each in lost])),
                whole.metric - float(np.mean([each.metric for each in lost])),
            )
        )
    return sorted(found, key=lambda each: -each.value_per_1000)


def calibration(outcomes: NDArray, scores: NDArray) -> Calibration:
    """Return the calibration of probabilities in ten bins of equal width.

    `outcomes` are booleans and `scores` probabilities, one per row. The expected calibration error is that of Naeini,
    Cooper and Hauskrecht (2015).
    """
    edges = np.linspace(0, 1, BINS + 1)
    number = np.clip((scores * BINS).astype(int), 0, BINS - 1)
    bins = [
        Bin(
            low=float(edges[each]),
            high=float(edges[each + 1]),
            rows=int((number == each).sum()),
            mean_score=float(scores[number == each].mean()),
            share_true=float(outcomes[number == each].mean()),
        )
        for each in np.unique(number)
    ]
    distances = [each.rows * abs(each.mean_score - each.share_true) for each in bins]
    return Calibration(bins, float(sum(distances) / len(outcomes)) if len(outcomes) else float("nan"))


def picture(found: Calibration) -> bytes:
    """Return the calibration as a PNG: the observed share against the mean score."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([each.mean_score for each in found.bins], [each.share_true for each in found.bins], marker="o")
    axes.set(xlabel="score", ylabel="observed share", title=f"expected calibration error {rounded(found.error)}")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


def judge_on(pilot: Pilot, predictor: Predictor) -> Judge:
    """Return a function that gives the predictor's performance on rows."""

    def performed(rows: Examples) -> Performance:
        return performance(pilot, decided(pilot, predictor.scores(rows.columns), rows), rows)

    return performed


def leanings(pilot: Pilot, predictor: Predictor, evaluation: Examples) -> list[Importance]:
    """Return the feature importance; a loss of the metric is positive, also where a lower metric is better."""
    found = importance(evaluation, judge_on(pilot, predictor))
    return [replace(each, metric=pilot.charter.gate.loss(each.metric)) for each in found]


def calibration_of(pilot: Pilot, scores: NDArray, evaluation: Examples) -> Calibration | None:
    """Return the calibration; of several classes, that of the most likely one. None for a quantity."""
    task = pilot.contract.dataset.task
    if task.kind == "regression":
        return None
    if task.kind == "multiclass":
        return calibration(task.predicted(scores) == evaluation.outcomes, scores.max(1))
    return calibration(evaluation.outcomes, scores)
