"""Feature importance and calibration of a version."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import SEED, Performance
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.serving.predictor import Predictor
from groundwork.models.training.history import Examples

SHUFFLES = 3  # of each feature
SHUFFLED_ROWS = 10_000
BINS = 10
Judge = Callable[[dict[str, NDArray], NDArray], Performance]  # of features and outcomes


@dataclass(frozen=True)
class Importance:
    """What is lost when a feature's values are shuffled among the rows."""

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
    """How often what is said to happen with some probability happens, and the mean distance between the two."""

    bins: list[Bin]
    error: float  # expected calibration error: the bins' distances, weighted by their rows; NaN without rows


def importance(columns: Mapping[str, NDArray], outcomes: NDArray, judge: Judge) -> list[Importance]:
    """Shuffle one feature after the other, on a sample of the rows; the one that costs most value comes first."""
    generator = np.random.default_rng(SEED)
    rows = np.sort(generator.permutation(len(outcomes))[:SHUFFLED_ROWS])
    sample, told = {name: values[rows] for name, values in columns.items()}, outcomes[rows]
    whole = judge(sample, told)
    found = []
    for name in sample:
        lost = [judge(sample | {name: generator.permutation(sample[name])}, told) for _ in range(SHUFFLES)]
        found.append(
            Importance(
                name,
                whole.value_per_1000 - float(np.mean([each.value_per_1000 for each in lost])),
                whole.metric - float(np.mean([each.metric for each in lost])),
            )
        )
    return sorted(found, key=lambda each: -each.value_per_1000)


def calibration(outcomes: NDArray, scores: NDArray) -> Calibration:
    """Compare scores, as probabilities, with outcomes, in ten bins of equal width."""
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
    """The calibration as a PNG: what was said against what happened."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([each.mean_score for each in found.bins], [each.share_true for each in found.bins], marker="o")
    axes.set(xlabel="score", ylabel="share that came true", title=f"expected calibration error {found.error:.3f}")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=100)
    return content.getvalue()


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
