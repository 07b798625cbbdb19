"""Monitor: have the predictions of a window drifted, would the challenger decide the same, and is the champion as good
as it was at the gate?"""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import mlflow
import msgspec
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundwork.core.errors import GroundworkError, NotEnoughData
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.contract.task import Task
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import age
from groundwork.models.gate.gate import Decided, gain, metric_estimate
from groundwork.models.registry.promotion import reconcile
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.features import arrays, arrays_of_log
from groundwork.monitoring.drift import SCORE, DriftUnknown, Measured, measure
from groundwork.monitoring.shadow import compare
from groundwork.pipeline import artifacts
from groundwork.pipeline.flow import pipeline_flow
from groundwork.pipeline.train import (
    ROWS_TIMED,
    Examples,
    decided_by_rule,
    footprint,
    metric_of,
    targets_of,
)
from groundwork.readiness.proofs import Finding, keep
from groundwork.store import Drift, DriftStatus, Prediction, Store
from use_case import decision


def check_drift(pilot: Pilot, store: Store, window: Window) -> Drift:
    """Measure drift for the window and record the result, whatever it is.

    Never raises for what it finds: an empty window, a missing column or a failing library gives `unknown`.
    """
    version, measured, report, reason = None, None, None, ""
    try:
        registry = Registry(pilot)
        reconcile(store, registry)
        champion = registry.required_champion()
        version = champion.number
        logged = [p for p in store.predictions(*window) if p.model_version == version and p.role != "shadow"]
        page = pilot.settings.reports / f"drift-{window.start:%Y-%m-%d}.html"
        found = measure(
            reference_frame(pilot, registry, champion),
            logged_frame(logged, pilot.contract.dataset),
            _numeric(pilot.contract.dataset),
            pilot.charter.monitoring,
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
        tolerated = pilot.charter.monitoring.max_drifted_share
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


@pipeline_flow(artifacts.of_monitor)
def monitor(start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Check drift in [start, end), by default in the newest window. Raises DriftUnknown if nobody can tell."""
    pilot = Pilot.here()
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    began = time.monotonic()
    with Store(pilot.settings.store) as store, store.recorded("monitor") as run:
        window = Window(start, end) if start and end else snapshots.newest_window(pilot.charter.monitoring.window)
        drift = check_drift(pilot, store, window)
        logged = store.predictions(*window)
        for shadow in compare(logged):
            store.record_shadow(shadow.model_version, shadow.rows, shadow.agreement)
        keep(pilot, store, "groundwork monitor", _findings(pilot, store, window, logged), began)
        run.message = drift.reason
        if drift.status == "unknown":
            raise DriftUnknown(f"drift in {window} is unknown: {drift.reason}")
    return drift


def _findings(pilot: Pilot, store: Store, window: Window, logged: list[Prediction]) -> list[Finding]:
    """How the champion does in service. Never raises for what it finds: what cannot be looked at is unknown."""
    checks = ("monitor-stale", "monitor-performance", "monitor-quality", "model-online")
    try:
        champion = Registry(pilot).required_champion()
        answered = [each for each in logged if each.model_version == champion.number and each.role != "shadow"]
        aged = age(pilot, champion, window)
        return [
            Finding("monitor-stale", None if aged.is_due is None else not aged.is_due, str(aged)),
            _cost(pilot, champion, answered),
            *_quality(pilot, champion, answered, store.outcomes(*window)),
        ]
    except Exception as error:  # as with drift
        return [Finding(check, None, f"{type(error).__name__}: {error}") for check in checks]


def _cost(pilot: Pilot, champion: Version, answered: list[Prediction]) -> Finding:
    """What an answer costs now, on records that were asked, against the charter's budget."""
    check, limit = "monitor-performance", pilot.charter.gate.max_latency_ms
    asked = answered[:ROWS_TIMED]
    if not asked:
        return Finding(check, None, f"version {champion.number} answered nothing in the window")
    registry = Registry(pilot)
    bundle = Path(registry.pull(champion).folder)
    seen = footprint(registry.predictor(champion), bundle, _examples(pilot, asked, np.zeros(len(asked))))
    said = f"version {champion.number} takes {seen.latency_ms:.2f} ms of CPU time for a row, {limit:g} are allowed"
    return Finding(check, seen.latency_ms <= limit, said)


def _quality(
    pilot: Pilot, champion: Version, answered: list[Prediction], told: Mapping[str, float | str]
) -> Iterator[Finding]:
    """What came of its answers: does it still reach the gate's line, and the figure that it was let in with?"""
    dataset, gate = pilot.contract.dataset, pilot.charter.gate
    known = [each for each in answered if each.prediction_id in told]
    if len(known) < gate.min_rows:
        few = f"of {len(answered):,} answers of version {champion.number}, {len(known):,} have an outcome, "
        for check in ("monitor-quality", "model-online"):
            yield Finding(check, None, f"{few}and {gate.min_rows:,} are wanted: send them to POST /outcomes")
        return
    rows = _examples(pilot, known, dataset.task.outcomes([told[each.prediction_id] for each in known]))
    decisions = np.array([each.decision for each in known])
    worth = decision.value(decisions, rows.outcomes, pilot.charter.value.parameters)
    made = Decided(worth, _scores(known, dataset.task), rows.days)
    over_rule = gain(made, decided_by_rule(pilot, rows), gate.confidence).value
    live = metric_estimate(metric_of(pilot), targets_of(pilot, rows), made, None, gate.confidence)
    said = f"{gate.metric} {live.value:.4f} on {len(known):,} answers"
    known_gain = f"{over_rule:,.0f} {pilot.charter.value.currency} per 1,000 decisions more than the rule"
    sound = bool(gate.reaches(live.value, gate.line) and over_rule >= gate.min_gain_over_rule)
    yield Finding("monitor-quality", sound, f"{said}, the line is {gate.line:g}; {known_gain}")
    offline = _metric_at_the_gate(champion)
    if offline is None:
        yield Finding("model-online", None, f"what the gate saw of version {champion.number} was not kept")
        return
    chance = live.value - live.lower + gate.max_metric_loss
    agree = abs(live.value - offline) <= chance
    yield Finding("model-online", agree, f"{said}, {offline:.4f} at the gate; {chance:.4f} apart is chance")


def _metric_at_the_gate(version: Version) -> float | None:
    try:
        kept = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gate/{version.number}.json")
    except mlflow.exceptions.MlflowException:
        return None
    return float(kept["candidate"]["metric"])


def _examples(pilot: Pilot, logged: list[Prediction], outcomes: NDArray) -> Examples:
    columns = arrays_of_log([each.record for each in logged], pilot.contract.dataset.features)
    days = np.array([each.event_time[:10] for each in logged], "datetime64[D]")
    return Examples(columns, outcomes, days=days)


def _scores(logged: list[Prediction], task: Task) -> NDArray:
    """The logged scores as the model gave them."""
    if task.kind != "multiclass":
        return np.array([each.score for each in logged], dtype=np.float32)
    return np.array([[scores[name] for name in task.classes] for scores in _by_class(logged)], dtype=np.float32)


def _by_class(logged: list[Prediction]) -> list[dict[str, float]]:
    return [json.loads(each.class_scores or "{}") for each in logged]


def _numeric(dataset: Dataset) -> list[str]:
    """The columns whose drift is that of numbers; that of a predicted class is that of a category."""
    features = [feature.name for feature in dataset.reported if feature.numeric]
    return features if dataset.task.kind == "multiclass" else [*features, SCORE]


def _predicted(logged: list[Prediction], task: Task) -> NDArray:
    """What was predicted: the likeliest class, else the score; missing where there was no model."""
    if task.kind != "multiclass":
        return _scores(logged, task)
    return np.array(
        [max(each, key=lambda name: each[name]) if each else None for each in _by_class(logged)], dtype=object
    )


def _keep_in_mlflow(registry: Registry, champion: Version, window: Window, measured: Measured, page: Path) -> None:
    registry.use_experiment()
    with mlflow.start_run(run_name="monitor"):
        mlflow.set_tags({"model_version": champion.number, "window": str(window)})
        mlflow.log_metrics({f"drift.{name}": distance for name, distance in measured.distances.items()})
        mlflow.log_metric("drifted_share", measured.share)
        mlflow.log_artifact(str(page))
