"""Monitor: have the predictions of a window drifted from training, and would the challenger decide the same?"""

import json
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundwork.contract import Dataset
from groundwork.errors import GroundworkError
from groundwork.features import arrays
from groundwork.monitoring.drift import SCORE, DriftUnknown, Measured, measure
from groundwork.monitoring.shadow import compare
from groundwork.pipeline import artifacts
from groundwork.pipeline.flows import pipeline_flow
from groundwork.promotion import reconcile
from groundwork.registry import Registry, Version
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Drift, DriftStatus, Prediction, Store
from groundwork.task import Task
from groundwork.windows import Window


def check_drift(settings: Settings, store: Store, window: Window) -> Drift:
    """Measure drift for the window and record the result, whatever it is.

    Never raises for what it finds: an empty window, a missing column or a failing library gives `unknown`.
    """
    version, measured, report, reason = None, None, None, ""
    try:
        registry = Registry(settings)
        reconcile(store, registry)
        champion = registry.required_champion()
        version = champion.number
        logged = [p for p in store.predictions(*window) if p.model_version == version and p.role != "shadow"]
        page = settings.reports / f"drift-{window.start:%Y-%m-%d}.html"
        found = measure(
            reference_frame(settings, registry, champion),
            logged_frame(logged, settings.contract.dataset),
            _numeric(settings.contract.dataset),
            settings.charter.monitoring,
            page,
        )
        _keep_in_mlflow(registry, champion, window, found, page)
        measured, report = found, str(page)
    except (DriftUnknown, GroundworkError) as error:
        reason = str(error)
    except Exception as error:  # a monitor that breaks must not look like a quiet one
        reason = f"{type(error).__name__}: {error}"
    status: DriftStatus = "unknown"
    if measured:
        tolerated = settings.charter.monitoring.max_drifted_share
        status = "drift" if measured.share > tolerated else "ok"
        reason = f"{len(measured.drifted)} of {len(measured.distances)} columns drifted, {tolerated:.0%} are tolerated"
    drift = Drift(
        window_start=window.start,
        window_end=window.end,
        model_version=version,
        status=status,
        reason=reason,
        distances=measured.distances if measured else {},
        drifted=measured.drifted if measured else [],
        report=report,
        measured_at=datetime.now(UTC),
    )
    store.record_drift(drift)
    return drift


def reference_frame(settings: Settings, registry: Registry, champion: Version) -> pd.DataFrame:
    """The champion's training rows, from the snapshot it was trained on, with the champion's scores."""
    dataset = settings.contract.dataset
    rows = Snapshots(settings.snapshots, dataset).read(
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


@pipeline_flow(artifacts.of_monitor)
def monitor(start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Check drift in [start, end), by default in the newest window. Raises DriftUnknown if nobody can tell."""
    settings = Settings()
    snapshots = Snapshots(settings.snapshots, settings.contract.dataset)
    with Store(settings.store) as store, store.recorded("monitor") as run:
        window = Window(start, end) if start and end else snapshots.newest_window(settings.charter.monitoring.window)
        drift = check_drift(settings, store, window)
        for shadow in compare(store.predictions(*window)):
            store.record_shadow(shadow.model_version, shadow.rows, shadow.agreement)
        run.message = drift.reason
        if drift.status == "unknown":
            raise DriftUnknown(f"drift in {window} is unknown: {drift.reason}")
    return drift


def _numeric(dataset: Dataset) -> list[str]:
    """The columns whose drift is that of numbers; that of a predicted class is that of a category."""
    features = [feature.name for feature in dataset.reported if feature.numeric]
    return features if dataset.task.kind == "multiclass" else [*features, SCORE]


def _predicted(logged: list[Prediction], task: Task) -> NDArray:
    """What was predicted: the likeliest class, else the score; missing where there was no model."""
    if task.kind != "multiclass":
        return np.array([each.score for each in logged], dtype=np.float32)
    by_class = [json.loads(each.class_scores or "{}") for each in logged]
    return np.array([max(scores, key=scores.get) if scores else None for scores in by_class], dtype=object)


def _keep_in_mlflow(registry: Registry, champion: Version, window: Window, measured: Measured, page: Path) -> None:
    registry.use_experiment()
    with mlflow.start_run(run_name="monitor"):
        mlflow.set_tags({"model_version": champion.number, "window": str(window)})
        mlflow.log_metrics({f"drift.{name}": distance for name, distance in measured.distances.items()})
        mlflow.log_metric("drifted_share", measured.share)
        mlflow.log_artifact(str(page))
