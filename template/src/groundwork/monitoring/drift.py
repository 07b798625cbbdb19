"""Measures drift: compares the logged predictions of a window with the champion's training rows."""

import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import evidently
import numpy as np
import pandas as pd
from evidently.presets import DataDriftPreset
from numpy.typing import NDArray

from groundwork.core.errors import NotEnoughData
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.documents.charter import Monitoring
from groundwork.documents.contract.column import Task
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.serving.predictor import MISSING_TEXT, arrays
from groundwork.store.batches import ANSWERS, Logged, LogPart

SAMPLE_ROWS = 10_000  # per side: limits the cost, and keeps distances between equal data far below 0.1
SCORE = "score"


class DriftUnknown(Exception):
    """Drift cannot be measured; the message says why."""


@dataclass(frozen=True)
class MeasuredDrift:
    """The distance per column, and the columns that have drifted."""

    distances: dict[str, float]
    drifted: list[str]

    @property
    def share(self) -> float:
        """Share of the columns that drifted, from 0 to 1."""
        return len(self.drifted) / len(self.distances)


def measure(
    reference: pd.DataFrame, current: pd.DataFrame, numeric: Collection[str], limits: Monitoring, report: Path
) -> MeasuredDrift:
    """Return the drift distance of each column, and write Evidently's report as an HTML page.

    The columns in `numeric` are compared as numbers (Wasserstein distance), free text by its length in the same way and
    by the rise of unseen words, all others as categories (Jensen-Shannon distance). Raises DriftUnknown if a frame has
    too few rows, or if a column is missing or empty in either frame: Evidently would leave such a column out and report
    no drift.
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
    reference, current = _sampled(reference), _sampled(current)
    texts = [str(name) for name in reference if name not in numeric and is_free_text(reference[name])]
    unseen = {name: rise_of_unseen_words(reference[name], current[name]) for name in texts}
    reference, current = (
        frame.assign(**{name: frame[name].str.len() for name in texts}) for frame in (reference, current)
    )
    numbers = [name for name in reference if name in numeric or name in texts]
    categories = [name for name in reference if name not in numbers]
    definition = evidently.DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    preset = DataDriftPreset(
        columns=list(reference),
        num_method="wasserstein",
        num_threshold=limits.drift_distance,
        cat_method="jensenshannon",
        cat_threshold=limits.drift_distance,
        drift_share=limits.max_drifted_share,
    )
    types = dict.fromkeys(numbers, "float64") | dict.fromkeys(categories, "str")
    snapshot = evidently.Report([preset]).run(
        evidently.Dataset.from_pandas(current[list(reference)].astype(types), definition),
        evidently.Dataset.from_pandas(reference.astype(types), definition),
    )
    distances = {
        metric["config"]["column"]: float(metric["value"])
        for metric in snapshot.dict()["metrics"]
        if metric["config"]["type"].endswith("ValueDrift")
    }
    distances |= {name: max(distances[name], rise) for name, rise in unseen.items() if name in distances}
    unmeasured = [str(name) for name in reference if not distances.get(str(name), float("nan")) >= 0]
    if unmeasured:
        raise DriftUnknown(f"Evidently gave no distance for {', '.join(unmeasured)}")
    report.parent.mkdir(parents=True, exist_ok=True)
    snapshot.save_html(str(report))
    drifted = [name for name, distance in distances.items() if distance >= limits.drift_distance]
    return MeasuredDrift(distances, drifted)


def _sampled(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.sample(SAMPLE_ROWS, random_state=0) if len(frame) > SAMPLE_ROWS else frame


def is_free_text(reference: pd.Series) -> bool:
    """Return whether a text of the reference occurs fewer than five times on average, missing texts aside.

    The shares of so many categories differ between any two samples of the same texts.
    """
    texts = reference[reference.notna() & (reference != MISSING_TEXT)]
    return bool(pd.api.types.is_string_dtype(texts)) and len(texts) < 5 * texts.nunique()


def rise_of_unseen_words(reference: pd.Series, current: pd.Series) -> float:
    """Return by how much the mean share of unseen words rises, from 0 to 1; a fall is 0.

    In a text of the reference, a word counts as unseen if no other text of the reference has it: new texts of the same
    kind have new words too. Texts without words are left out; if one side has no others, the result is 0.
    """
    known, now = ([set(re.findall(r"\w+", str(text).lower())) for text in side] for side in (reference, current))
    texts_with = Counter(word for words in known for word in words)
    before = [sum(texts_with[word] < 2 for word in words) / len(words) for words in known if words]
    after = [sum(word not in texts_with for word in words) / len(words) for words in now if words]
    return max(0.0, float(np.mean(after)) - float(np.mean(before))) if before and after else 0.0


def reference_frame(pilot: Pilot, registry: Registry, champion: Version) -> pd.DataFrame:
    """Return the champion's training rows, read from the snapshot it was trained on, with the champion's scores.

    Raises NotEnoughData if that snapshot no longer exists.
    """
    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    present = snapshots.table_id
    if champion.tags.get("snapshot_table", present) != present:
        raise NotEnoughData(f"the snapshots that version {champion.number} was trained on are gone")
    rows = snapshots.read(
        datetime.fromisoformat(champion.tags["train_start"]),
        datetime.fromisoformat(champion.tags["train_end"]),
        int(champion.tags["snapshot_version"]),
        dataset.feature_names,
    )
    columns = arrays({each.name: rows[each.name] for each in dataset.features}, dataset.features)
    predictor = registry.predictor(champion)
    shown = {feature.name: columns[feature.name] for feature in dataset.reported}
    return pd.DataFrame(shown).assign(**{SCORE: dataset.task.predicted(predictor.scores(columns))})


def answers_of(version: str, window: Window) -> LogPart:
    """Return the part of the log that holds the version's answers with an event time in the window."""
    return LogPart(start=window.start, end=window.end, model_version=version, roles=ANSWERS)


def logged_frame(logged: Logged, dataset: Dataset) -> pd.DataFrame:
    """Return the features and the score of each logged prediction, one row per prediction."""
    read = logged.records([feature.name for feature in dataset.reported])
    present = [feature for feature in dataset.reported if logged.has(feature.name)]
    return pd.DataFrame(arrays(read, present)).assign(**{SCORE: _predicted(logged, dataset.task)})


def scores_of_log(logged: Logged, task: Task) -> NDArray:
    """Return the logged scores as float32, of the shape (rows,), or (rows, classes) for several classes."""
    if task.kind != "multiclass":
        return logged.column("score").floats().astype(np.float32)
    found = logged.read([f"class.{name}" for name in task.classes])
    return np.column_stack([each.floats().astype(np.float32) for each in found.values()])


def numeric_columns(dataset: Dataset) -> list[str]:
    """Return the names of the columns that are compared as numbers; a predicted class is compared as a category."""
    features = [feature.name for feature in dataset.reported if feature.numeric]
    return features if dataset.task.kind == "multiclass" else [*features, SCORE]


def _predicted(logged: Logged, task: Task) -> NDArray:
    """Return the most likely class, or the score if there are no classes; missing where no model decided."""
    scores = scores_of_log(logged, task)
    if task.kind != "multiclass":
        return scores
    decided = ~np.isnan(scores).any(axis=1)
    found = np.full(len(scores), None, dtype=object)
    found[decided] = task.predicted(scores[decided])
    return found
