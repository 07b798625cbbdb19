"""Rows whose outcome is known, split by time: the newest window, or windows, for the gate, all before for training."""

from dataclasses import dataclass, field
from datetime import UTC

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from groundwork.core.errors import NotEnoughData
from groundwork.core.quoting import listed
from groundwork.core.windows import Window, local_time, window_of
from groundwork.data.snapshots import Snapshots
from groundwork.documents.contract.column import Task
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import has_bound
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
            columns={name: values[rows] for name, values in self.columns.items()},
            outcomes=self.outcomes[rows],
            slices={name: values[rows] for name, values in self.slices.items()},
            days=None if self.days is None else self.days[rows],
            rows=self.rows.part(rows),
        )


@dataclass(frozen=True)
class History:
    """One version of the snapshots, split by time into the rows that the gate judges and all rows before them."""

    snapshot_version: int
    past: Window
    judged: Window  # the newest window with known outcomes, or several
    judged_because: str  # why it is not the newest window alone; empty if it is
    training: Examples
    evaluation: Examples


def read_history(pilot: Pilot) -> History:
    """Return the newest snapshot, split by time.

    Raises NotEnoughData if there are no snapshots, or if the outcomes before the judged rows are all the same.
    """
    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    newest = snapshots.newest_window(pilot.charter.monitoring.window)
    judged, because = newest, ""
    version = snapshots.version
    assert version is not None  # a newest window implies a table
    needed = [dataset.event_time, dataset.outcome, *dataset.features, *dataset.slices]
    needed += dataset.decision_columns if use_rows() else []
    columns = list(dict.fromkeys(column.name for column in needed))
    evaluation = examples(snapshots.read(*newest, version=version, columns=columns), dataset)
    assert evaluation.days is not None
    if lacking := _lacking(pilot, evaluation.outcomes, evaluation.days):
        two = [dataset.event_time.name, dataset.outcome.name]
        of_all = snapshots.read(end=newest.end, version=version, columns=two)
        judged, because = _enough_windows(pilot, newest, lacking, *_known_outcomes(_known(of_all, dataset), dataset))
    if judged != newest:
        evaluation = examples(snapshots.read(*judged, version=version, columns=columns), dataset)
    rows = snapshots.read(end=judged.start, version=version, columns=columns)
    training = examples(rows, dataset)
    missing = not_among(training.outcomes, dataset.task)
    if missing:
        name, known = dataset.outcome.name, np.unique(training.outcomes).tolist()
        if rows.num_rows and not known:
            found = f"{name} is empty in all {rows.num_rows:,} rows: correct it in src/use_case/source.py, or wait for"
            raise NotEnoughData(f"before the newest window ({judged}), the outcome {found} outcomes")
        raise NotEnoughData(
            f"before the newest window ({judged}), {len(training):,} rows have a known outcome, but "
            + (f"{name} is {known[0]} in all of them" if len(known) == 1 else f"they lack {missing}")
            + f": ingest at least one more window, or correct {name} in src/use_case/source.py"
        )
    past = Window(local_time(rows[dataset.event_time.name][0].as_py(), dataset.zone), judged.start)
    return History(
        snapshot_version=version,
        past=past,
        judged=judged,
        judged_because=because,
        training=training,
        evaluation=evaluation,
    )


def _lacking(pilot: Pilot, outcomes: NDArray, days: NDArray[np.datetime64]) -> str:
    """Return what the gate lacks to judge rows with these outcomes; empty if it can."""
    least, task = pilot.charter.gate.min_rows, pilot.contract.dataset.task
    if len(outcomes) < least:
        return f"{len(outcomes):,} rows with a known outcome, and gate.minRows is {least:,}"
    if task.kind == "binary" and not has_bound(outcomes, days):
        return f"both outcomes on too few days for a confidence bound ({len(outcomes):,} rows)"
    return ""


def _enough_windows(
    pilot: Pilot, newest: Window, lacking: str, outcomes: NDArray, days: NDArray[np.datetime64]
) -> tuple[Window, str]:
    """Return as many of the newest windows as the gate needs, as one, and why it judges them.

    `outcomes` and `days` are those of all rows with a known outcome, in order. At least half of these rows are kept for
    training. Where that leaves too few, it is the newest window with a known outcome, or, without rows to train on
    before it, the newest of all: the gate then refuses anyway.
    """
    task, step = pilot.contract.dataset.task, pilot.charter.monitoring.window
    windows = sorted({window_of(day, step) for day in np.unique(days).astype("datetime64[us]").tolist()}, reverse=True)
    because = f"the newest window, {newest}, has {lacking}"
    judged = newest
    for number, window in enumerate(windows, start=1):
        first = int(np.searchsorted(days, np.datetime64(window.start, "D")))
        if not_among(outcomes[:first], task) or (number > 1 and 2 * first < len(days)):
            break
        if number == 1:
            judged = window
        if not _lacking(pilot, outcomes[first:], days[first:]):
            said = f"the newest {number} with known outcomes are judged" if number > 1 else f"{window} is judged"
            return Window(window.start, windows[0].end), f"{because}: {said}"
    return judged, f"{because}; earlier ones are not enough, because at least half of the rows are for training"


def examples(rows: pa.Table, dataset: Dataset) -> Examples:
    """Return the rows whose outcome is known: features as model inputs, outcomes, slices, days, and raw values."""
    known = _known(rows, dataset)
    outcomes, days = _known_outcomes(known, dataset)
    columns = {column.name: known[column.name] for column in dataset.features}
    slices = {column.name: np.array(known[column.name].to_pylist(), dtype=object) for column in dataset.slices}
    return Examples(
        columns=arrays(columns, dataset.features),
        outcomes=outcomes,
        slices=slices,
        days=days,
        rows=Rows(dataset.decision_columns, lambda name: known[name]) if use_rows() else NO_ROWS,
    )


def _known(rows: pa.Table, dataset: Dataset) -> pa.Table:
    return rows.filter(rows[dataset.outcome.name].is_valid())


def _known_outcomes(known: pa.Table, dataset: Dataset) -> tuple[NDArray, NDArray[np.datetime64]]:
    """Return the outcome of each row, and its day in the contract's zone."""
    at = known[dataset.event_time.name]
    local = at if dataset.zone is UTC else pc.local_timestamp(at.cast(pa.timestamp("us", str(dataset.zone))))
    outcomes: NDArray = dataset.task.outcomes(known[dataset.outcome.name].to_pylist())
    return outcomes, local.cast(pa.date32()).to_numpy()


def not_among(outcomes: NDArray, task: Task) -> str:
    """Return the outcomes that are missing for training, in words; empty if none is missing."""
    if task.kind == "multiclass":
        return ", ".join(listed(sorted(set(task.classes) - set(outcomes.tolist()))))
    if len(np.unique(outcomes)) < 2:
        return "both outcomes" if task.kind == "binary" else "two different outcomes"
    return ""
