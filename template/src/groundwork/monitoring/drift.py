"""Drift of the logged predictions against the champion's training window, measured by Evidently.

The distances are fixed by name, because Evidently's defaults change their meaning with the number of rows: the
Wasserstein distance in standard deviations for numbers, the Jensen-Shannon distance for categories. Both grow with
drift, so one threshold reads the same way for all.
"""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from groundwork.documents.charter import Monitoring

SAMPLE_ROWS = 10_000  # per side; the cost stays flat, and distances of equal data stay far below 0.1
SCORE = "score"


class DriftUnknown(Exception):
    """Drift cannot be told; the message says why."""


@dataclass(frozen=True)
class Measured:
    """The distance per column, and the columns that have drifted."""

    distances: dict[str, float]
    drifted: list[str]

    @property
    def share(self) -> float:
        return len(self.drifted) / len(self.distances)


def measure(
    reference: pd.DataFrame, current: pd.DataFrame, numeric: Collection[str], limits: Monitoring, report: Path
) -> Measured:
    """Compare two frames column by column and write the report as an HTML page.

    The columns in `numeric` are numbers, all others categories. Raises DriftUnknown when there are too few rows, or a
    column is missing or empty on either side: Evidently would leave such a column out and report no drift.
    """
    for side, frame in (("the training window", reference), ("the logged predictions", current)):
        if len(frame) < limits.min_rows:
            raise DriftUnknown(f"{side}: {len(frame):,} rows, at least {limits.min_rows:,} are needed")
        missing = [str(name) for name in reference.columns.union(current.columns) if name not in frame]
        if missing:
            raise DriftUnknown(f"{side}: the column {', '.join(missing)} is missing")
        empty = [str(name) for name in frame if frame[name].isna().all()]
        if empty:
            raise DriftUnknown(f"{side}: the column {', '.join(empty)} holds no values")
    numbers = [name for name in reference if name in numeric]
    categories = [name for name in reference if name not in numbers]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    preset = DataDriftPreset(
        columns=list(reference),
        num_method="wasserstein",
        num_threshold=limits.drift_distance,
        cat_method="jensenshannon",
        cat_threshold=limits.drift_distance,
        drift_share=limits.max_drifted_share,
    )
    types = dict.fromkeys(numbers, "float64") | dict.fromkeys(categories, "str")
    snapshot = Report([preset]).run(
        Dataset.from_pandas(_sampled(current)[list(reference)].astype(types), definition),
        Dataset.from_pandas(_sampled(reference).astype(types), definition),
    )
    distances = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith("ValueDrift")
    }
    unmeasured = [str(name) for name in reference if not distances.get(str(name), float("nan")) >= 0]
    if unmeasured:
        raise DriftUnknown(f"Evidently gave no distance for {', '.join(unmeasured)}")
    report.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(report))
    drifted = [name for name, distance in distances.items() if distance >= limits.drift_distance]
    return Measured(distances, drifted)


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(SAMPLE_ROWS, random_state=0) if len(frame) > SAMPLE_ROWS else frame
