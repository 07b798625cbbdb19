"""What drift compares: the rows that the champion was trained on, and the logged predictions of a window."""

import json
from datetime import datetime

import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundwork.core.errors import NotEnoughData
from groundwork.data.snapshots import Snapshots
from groundwork.documents.contract.dataset import Dataset
from groundwork.documents.contract.task import Task
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.features import arrays
from groundwork.monitoring.drift import SCORE
from groundwork.store import Prediction


def reference_frame(pilot: Pilot, registry: Registry, champion: Version) -> pd.DataFrame:
    """The champion's training rows, from the snapshot it was trained on, with the champion's scores."""
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


def logged_frame(logged: list[Prediction], dataset: Dataset) -> pd.DataFrame:
    """The features and scores of logged predictions, one row each."""
    records = [msgspec.json.decode(prediction.record) for prediction in logged]
    present = [feature for feature in dataset.reported if any(feature.name in record for record in records)]
    columns = {each.name: [record.get(each.name) for record in records] for each in present}
    return pd.DataFrame(arrays(columns, present)).assign(**{SCORE: _predicted(logged, dataset.task)})


def scores_of_log(logged: list[Prediction], task: Task) -> NDArray:
    """The logged scores as the model gave them."""
    if task.kind != "multiclass":
        return np.array([each.score for each in logged], dtype=np.float32)
    return np.array([[scores[name] for name in task.classes] for scores in _by_class(logged)], dtype=np.float32)


def _by_class(logged: list[Prediction]) -> list[dict[str, float]]:
    return [json.loads(each.class_scores or "{}") for each in logged]


def numeric_columns(dataset: Dataset) -> list[str]:
    """The columns whose drift is that of numbers; that of a predicted class is that of a category."""
    features = [feature.name for feature in dataset.reported if feature.numeric]
    return features if dataset.task.kind == "multiclass" else [*features, SCORE]


def _predicted(logged: list[Prediction], task: Task) -> NDArray:
    """What was predicted: the likeliest class, else the score; missing where there was no model."""
    if task.kind != "multiclass":
        return scores_of_log(logged, task)
    return np.array(
        [max(each, key=lambda name: each[name]) if each else None for each in _by_class(logged)], dtype=object
    )
