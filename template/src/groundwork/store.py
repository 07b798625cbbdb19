"""The operational store in SQLite: the prediction log, how flows ended, and what the monitor found."""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

DriftStatus = Literal["ok", "drift", "unknown"]

_TABLES = """
create table if not exists predictions (
  prediction_id text primary key,
  answered_at text not null,   -- UTC
  source text not null,        -- service or batch
  entity_key text not null,
  event_time text not null,
  model_version text not null,
  score real not null,
  decision text not null,
  features text not null       -- JSON object
);
create index if not exists predictions_by_event_time on predictions (event_time);
create table if not exists flow_runs (
  flow text not null,
  started_at text not null,    -- UTC
  seconds real not null,
  succeeded integer not null,
  rows_in integer,
  rows_quarantined integer,
  message text not null
);
create table if not exists drift (
  measured_at text not null,   -- UTC
  window_start text not null,
  window_end text not null,
  model_version text,
  status text not null,
  distances text not null,     -- JSON object: feature to distance
  drifted text not null,       -- JSON array of features
  reason text not null,
  report text
);
"""


@dataclass(frozen=True)
class Prediction:
    """One answered prediction."""

    prediction_id: str
    source: Literal["service", "batch"]
    entity_key: str
    event_time: datetime
    model_version: str
    score: float
    decision: str
    features: dict[str, Any]


@dataclass
class FlowRun:
    """How a flow ended; the flow fills in its row counts."""

    flow: str
    started_at: datetime
    seconds: float = 0.0
    succeeded: bool = False
    rows_in: int | None = None
    rows_quarantined: int | None = None
    message: str = ""


@dataclass(frozen=True)
class Drift:
    """What the monitor found for one window. `unknown` means that nobody can tell, never that all is well."""

    window_start: datetime
    window_end: datetime
    model_version: str | None
    status: DriftStatus
    reason: str
    distances: dict[str, float]
    drifted: list[str]
    report: str | None
    measured_at: datetime

    @property
    def share(self) -> float:
        """The share of features that have drifted; NaN when unknown."""
        return len(self.drifted) / len(self.distances) if self.distances else float("nan")


class Store:
    """One connection, shared by threads. Readers and one writer at a time work side by side (WAL)."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(path, timeout=30, check_same_thread=False)
        self._connection.execute("pragma journal_mode = wal")
        self._connection.executescript(_TABLES)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log_predictions(self, predictions: Sequence[Prediction]) -> None:
        """Commit the predictions in one transaction; one that is there already stays as it is."""
        now = _utc_text(datetime.now(UTC))
        with self._lock, self._connection:
            self._connection.executemany(
                "insert or ignore into predictions values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        p.prediction_id,
                        now,
                        p.source,
                        p.entity_key,
                        p.event_time.isoformat(),
                        p.model_version,
                        p.score,
                        p.decision,
                        json.dumps(p.features, allow_nan=False),
                    )
                    for p in predictions
                ],
            )

    def predictions(self, start: datetime, end: datetime) -> list[Prediction]:
        """The logged predictions whose event time lies in [start, end)."""
        rows = self._all(
            "select prediction_id, source, entity_key, event_time, model_version, score, decision, features"
            " from predictions where event_time >= ? and event_time < ? order by event_time, prediction_id",
            (start.isoformat(), end.isoformat()),
        )
        return [
            Prediction(
                prediction_id, source, key, datetime.fromisoformat(at), version, score, decision, json.loads(features)
            )
            for prediction_id, source, key, at, version, score, decision, features in rows
        ]

    @contextmanager
    def recorded(self, flow: str) -> Iterator[FlowRun]:
        """Record how the flow in this block ends, whichever way."""
        run = FlowRun(flow, datetime.now(UTC))
        try:
            yield run
            run.succeeded = True
        except BaseException as error:
            run.message = f"{type(error).__name__}: {error}"
            raise
        finally:
            run.seconds = (datetime.now(UTC) - run.started_at).total_seconds()
            with self._lock, self._connection:
                self._connection.execute(
                    "insert into flow_runs values (?, ?, ?, ?, ?, ?, ?)",
                    (
                        run.flow,
                        _utc_text(run.started_at),
                        run.seconds,
                        run.succeeded,
                        run.rows_in,
                        run.rows_quarantined,
                        run.message,
                    ),
                )

    def latest_runs(self, succeeded: bool) -> list[FlowRun]:
        """Per flow, its latest run that succeeded, or failed."""
        rows = self._all(
            "select flow, started_at, seconds, succeeded, rows_in, rows_quarantined, message, max(rowid)"
            " from flow_runs where succeeded = ? group by flow",
            (succeeded,),
        )
        return [
            FlowRun(flow, datetime.fromisoformat(at), seconds, bool(ok), rows_in, quarantined, message)
            for flow, at, seconds, ok, rows_in, quarantined, message, _ in rows
        ]

    def record_drift(self, drift: Drift) -> None:
        with self._lock, self._connection:
            self._connection.execute(
                "insert into drift values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    _utc_text(drift.measured_at),
                    drift.window_start.isoformat(),
                    drift.window_end.isoformat(),
                    drift.model_version,
                    drift.status,
                    json.dumps(drift.distances),
                    json.dumps(drift.drifted),
                    drift.reason,
                    drift.report,
                ),
            )

    def latest_drift(self) -> Drift | None:
        rows = self._all(
            "select window_start, window_end, model_version, status, reason, distances, drifted, report, measured_at"
            " from drift order by rowid desc limit 1"
        )
        if not rows:
            return None
        start, end, version, status, reason, distances, drifted, report, measured_at = rows[0]
        return Drift(
            datetime.fromisoformat(start),
            datetime.fromisoformat(end),
            version,
            status,
            reason,
            json.loads(distances),
            json.loads(drifted),
            report,
            datetime.fromisoformat(measured_at),
        )

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple]:
        with self._lock:
            return self._connection.execute(query, values).fetchall()


def _utc_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
