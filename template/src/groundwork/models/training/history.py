"""Rows whose outcome is known, split by time: the past for training, the newest window for evaluation."""

from dataclasses import dataclass, field
from datetime import UTC

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from groundwork.core.errors import NotEnoughData
from groundwork.core.windows import Window, local_time
from groundwork.data.snapshots import Snapshots
from groundwork.documents.contract.column import Task
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.contract.quality import listed
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.deciding import NO_ROWS, Rows, use_rows
from groundwork.models.serving.predictor import arrays


@dataclass(frozen=True)
class Examples:
    """Rows whose outcome is known."""

    columns: dict[str, NDArray]  # one array per feature
    outcomes: NDArray  # one per row, as `Task.outcomes` returns them
    slices: dict[str, NDArray] = field(default_factory=dict)  # values per column with the tag `slice`; None: missing
    days: NDArray[np.datetime64] | None = None  # the day of each row's event time
    rows: Rows = field(default_factory=lambda: NO_ROWS)  # for `use_case/decision.py`, if it asks for the rows

    @property
    def frame(self) -> pd.DataFrame:
        """The features as a DataFrame."""
        return pd.DataFrame(self.columns)

    def __len__(self) -> int:
        return len(self.outcomes)

    def part(self, rows: NDArray) -> "Examples":
        """Return the examples at these row numbers."""
        return Examples(
            {name: values[rows] for name, values in self.columns.items()},
            self.outcomes[rows],
            {name: values[rows] for name, values in self.slices.items()},
            None if self.days is None else self.days[rows],
            self.rows.part(rows),
        )


@dataclass(frozen=True)
class History:
    """One version of the snapshots, split by time into the newest window and all rows before it."""

    snapshot_version: int
    past: Window
    newest: Window
    training: Examples
    evaluation: Examples


def read_history(pilot: Pilot) -> History:
    """Return the newest snapshot, split by time.

    Raises NotEnoughData if there are no snapshots, or if the outcomes before the newest window are all the same.
    """
    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    newest = snapshots.newest_window(pilot.charter.monitoring.window)
    version = snapshots.version
    assert version is not None  # a newest window implies a table
    needed = [dataset.event_time, dataset.outcome, *dataset.features, *dataset.slices]
    needed += dataset.decision_columns if use_rows() else []
    columns = list(dict.fromkeys(column.name for column in needed))
    rows = snapshots.read(end=newest.start, version=version, columns=columns)
    training = examples(rows, dataset)
    missing = not_among(training.outcomes, dataset.task)
    if missing:
        raise NotEnoughData(
            f"before the newest window ({newest}), {len(training):,} rows have a known outcome, but they lack "
            f"{missing}: ingest at least one more window"
        )
    past = Window(local_time(rows[dataset.event_time.name][0].as_py(), dataset.zone), newest.start)
    return History(
        snapshot_version=version,
        past=past,
        newest=newest,
        training=training,
        evaluation=examples(snapshots.read(*newest, version=version, columns=columns), dataset),
    )


def examples(rows: pa.Table, dataset: Dataset) -> Examples:
    """Return the rows whose outcome is known: features as model inputs, outcomes, slices, days, and raw values."""
    known = rows.filter(rows[dataset.outcome.name].is_valid())
    columns = {column.name: known[column.name] for column in dataset.features}
    slices = {column.name: np.array(known[column.name].to_pylist(), dtype=object) for column in dataset.slices}
    outcomes = dataset.task.outcomes(known[dataset.outcome.name].to_pylist())
    at = known[dataset.event_time.name]
    local = at if dataset.zone is UTC else pc.local_timestamp(at.cast(pa.timestamp("us", str(dataset.zone))))
    days = local.cast(pa.date32()).to_numpy()
    raw = Rows(dataset.decision_columns, lambda name: known[name]) if use_rows() else NO_ROWS
    return Examples(arrays(columns, dataset.features), outcomes, slices, days, raw)


def not_among(outcomes: NDArray, task: Task) -> str:
    """Return the outcomes that are missing for training, in words; empty if none is missing."""
    if task.kind == "multiclass":
        return ", ".join(listed(sorted(set(task.classes) - set(outcomes.tolist()))))
    if len(np.unique(outcomes)) < 2:
        return "both outcomes" if task.kind == "binary" else "two different outcomes"
    return ""
