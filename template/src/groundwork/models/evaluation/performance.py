"""The money that decisions made, the charter's metric, and the cost of serving."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)

from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import Decisions, Metric, Performance
from groundwork.models.serving import deciding
from groundwork.models.serving.predictor import Predictor
from groundwork.models.training.history import Examples

ROWS_TIMED = 50  # rows that are timed, one by one


@dataclass(frozen=True)
class Footprint:
    """The cost of serving the model: CPU time for one row in milliseconds, and the size of its bundle in MB."""

    latency_ms: float
    size_mb: float


def measure_footprint(predictor: Predictor, bundle: Path, evaluation: Examples) -> Footprint:
    """Return the median CPU time of one row, over at most ROWS_TIMED rows, and the size of the bundle.

    CPU time depends less on the machine's load than wall time does. It is NaN without rows.
    """
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    return Footprint(seconds_of_a_row(predictor, evaluation.columns, ROWS_TIMED) * 1000, size / 1e6)


def seconds_of_a_row(predictor: Predictor, columns: Mapping[str, NDArray], most: int) -> float:
    """Return the median CPU time of a row that is scored alone, over at most so many rows; NaN without rows."""
    times = []
    for row in range(min(most, len(next(iter(columns.values()))))):
        alone = {name: values[row : row + 1] for name, values in columns.items()}
        began = time.process_time()
        predictor.scores(alone)
        times.append(time.process_time() - began)
    return float(np.median(times)) if times else float("nan")


# Each takes targets, as `Task.targets` returns them, and scores.
METRICS: dict[str, Metric] = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "accuracy": lambda targets, scores: accuracy_score(targets, scores.argmax(1)),
    "macro_f1": lambda targets, scores: f1_score(targets, scores.argmax(1), average="macro"),
    "log_loss": lambda targets, scores: log_loss(targets, scores, labels=range(scores.shape[1])),
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
}


def decided(pilot: Pilot, scores: NDArray, evaluation: Examples) -> Decisions:
    """Return the decisions by these scores, with the money that each row would have made."""
    decisions = deciding.decide(scores, pilot.charter.value.parameters, evaluation.rows)
    return Decisions(_values(pilot, decisions, evaluation), scores, evaluation.days)


def decide_like(pilot: Pilot, known: Examples) -> Callable[[NDArray, pd.DataFrame], NDArray]:
    """Return a function that decides by scores, and by the model's inputs that the scores are for.

    For the inputs of `known`, the decision is given the raw values of `known`. For other inputs, it is given theirs,
    and the columns that are no features are repeated from `known`.
    """
    worth, dataset, inputs = pilot.charter.value.parameters, pilot.contract.dataset, known.frame

    def decide(scores: NDArray, frame: pd.DataFrame) -> NDArray:
        if frame.equals(inputs):
            return deciding.decide(scores, worth, known.rows)
        columns = {str(name): frame[name].to_numpy() for name in frame}
        return deciding.decide(scores, worth, deciding.rows_of_inputs(columns, dataset, known.rows))

    return decide


def decided_by_rule(pilot: Pilot, evaluation: Examples) -> Decisions:
    """Return the decisions by the no-model rule, with the money that each row would have made; without scores."""
    decisions = deciding.without_model(evaluation.columns, evaluation.rows)
    return Decisions(_values(pilot, decisions, evaluation), days=evaluation.days)


def targets_of(pilot: Pilot, evaluation: Examples) -> NDArray:
    """Return the outcomes in the form that metrics take."""
    return pilot.contract.dataset.task.targets(evaluation.outcomes)


def metric_of(pilot: Pilot) -> Metric:
    """Return the charter's metric as a function of targets and scores.

    It is NaN without rows; for a binary outcome also if only one class occurs.
    """
    measure = METRICS[pilot.charter.gate.metric]
    least = 2 if pilot.contract.dataset.task.kind == "binary" else 1

    def metric(targets: NDArray, scores: NDArray) -> float:
        return float(measure(targets, scores)) if len(np.unique(targets)) >= least else float("nan")

    return metric


def performance(pilot: Pilot, made: Decisions, evaluation: Examples) -> Performance:
    """Return the money per 1,000 decisions, and the metric; NaN without rows, the metric also without scores."""
    metric = float("nan") if made.scores is None else metric_of(pilot)(targets_of(pilot, evaluation), made.scores)
    return Performance(float(made.values.mean() * 1000) if len(evaluation) else float("nan"), metric)


def _values(pilot: Pilot, decisions: NDArray, evaluation: Examples) -> NDArray[np.float64]:
    return deciding.value(decisions, evaluation.outcomes, pilot.charter.value.parameters, evaluation.rows)
