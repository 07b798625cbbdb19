"""Monitors a window: drift, live performance, and the challenger's decisions compared with the champion's."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow

from groundwork.core.errors import GroundworkError
from groundwork.core.windows import Window, window_of
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import reconcile
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version, champion_of
from groundwork.monitoring.drift import (
    SAMPLE_ROWS,
    DriftUnknown,
    MeasuredDrift,
    answers_of,
    logged_frame,
    measure,
    numeric_columns,
    reference_frame,
)
from groundwork.monitoring.live_performance import findings_in_service
from groundwork.monitoring.shadow import compare
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from groundwork.store.drifts import Drift, DriftStatus
from groundwork.store.findings import keep


def check_drift(pilot: Pilot, store: Store, window: Window) -> Drift:
    """Measure drift in the window, record the result in the store, and return it.

    An empty window, a missing column or a failing library does not raise: the status is `unknown`, with the reason.
    """
    version, measured, report, reason = None, None, None, ""
    try:
        registry = Registry(pilot)
        reconcile(store, registry)
        champion = registry.required_champion()
        version = champion.number
        limits = pilot.charter.monitoring
        logged = store.predictions.read(answers_of(version, window)).sample(max(SAMPLE_ROWS, limits.min_rows))
        page = pilot.settings.reports / f"drift-{window.start:%Y-%m-%d}.html"
        found = measure(
            reference_frame(pilot, registry, champion),
            logged_frame(logged, pilot.contract.dataset),
            numeric_columns(pilot.contract.dataset),
            limits,
            page,
        )
        keep_in_mlflow(registry, champion, window, found, page)
        measured, report = found, page.name
    except (DriftUnknown, GroundworkError) as error:
        reason = str(error)
    except Exception as error:  # an error in the monitor must not look like no drift
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
    store.drift.record(drift)
    return drift


def newest_windows(pilot: Pilot, store: Store) -> Window:
    """Return the newest window; if it has a few predictions, as many of the newest, as one, as hold `minRows` of them.

    The windows that the champion was trained on do not count. Without a prediction in the newest window, or without
    enough in all of them, it is the newest window, whose drift is then unknown.
    """
    step, least = pilot.charter.monitoring.window, pilot.charter.monitoring.min_rows
    newest = Snapshots(pilot.snapshots, pilot.contract.dataset).newest_window(step)
    champion = champion_of(pilot, store)
    if champion is None:
        return newest
    if not 0 < len(store.predictions.newest_times(champion.number, *newest, least)) < least:
        return newest
    learned_until = datetime.fromisoformat(champion.tags["train_end"])
    times = store.predictions.newest_times(champion.number, learned_until, newest.end, least)
    if len(times) < least:
        return newest
    first = times[-1].replace(tzinfo=None)  # as clocks show it, like the windows
    return Window(max(window_of(first, step).start, learned_until), newest.end)


def monitor(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Drift:
    """Check drift in [start, end), by default in `newest_windows`. Raises DriftUnknown if it is unknown."""
    began = time.monotonic()
    with Store(pilot.settings.store) as store, store.runs.recorded("monitor") as run:
        store.predictions.merge_small(utc_text(datetime.now(UTC) - timedelta(days=1)))
        window = Window(start, end) if start and end else newest_windows(pilot, store)
        drift = check_drift(pilot, store, window)
        for shadow in compare(store, window):
            store.shadow.record(shadow.model_version, shadow.rows, shadow.agreement)
        keep(pilot, store, "groundwork monitor", findings_in_service(pilot, store, window), began)
        run.message = drift.reason
        if drift.status == "unknown":
            raise DriftUnknown(f"drift in {window} is unknown: {drift.reason}")
    return drift


def keep_in_mlflow(registry: Registry, champion: Version, window: Window, measured: MeasuredDrift, page: Path) -> None:
    """Log the distances and the report as a run of the pilot's MLflow experiment."""
    registry.use_experiment()
    with mlflow.start_run(run_name="monitor"):
        mlflow.set_tags({"model_version": champion.number, "window": str(window)})
        mlflow.log_metrics({f"drift.{name}": distance for name, distance in measured.distances.items()})
        mlflow.log_metric("drifted_share", measured.share)
        mlflow.log_artifact(str(page))
