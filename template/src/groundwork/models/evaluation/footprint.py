"""What serving a model costs: CPU time for one row, and the size of its bundle."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundwork.models.serving.predictor import Predictor
from groundwork.models.training.history import Examples

ROWS_TIMED = 50  # one by one


@dataclass(frozen=True)
class Footprint:
    """What serving the model costs: CPU time for one row, and the size of its bundle."""

    latency_ms: float
    size_mb: float


def measure_footprint(predictor: Predictor, bundle: Path, evaluation: Examples) -> Footprint:
    """What serving costs: the median CPU time of one row, which a busy machine does not change much, and the size."""
    times = []
    for row in range(min(ROWS_TIMED, len(evaluation))):
        columns = {name: values[row : row + 1] for name, values in evaluation.columns.items()}
        began = time.process_time()
        predictor.scores(columns)
        times.append((time.process_time() - began) * 1000)
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    return Footprint(float(np.median(times)) if times else float("nan"), size / 1e6)
