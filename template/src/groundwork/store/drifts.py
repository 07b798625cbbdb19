"""Drift results of the monitor, per window."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from groundwork.store.connection import Connection, insertion, utc_text

DriftStatus = Literal["ok", "drift", "unknown"]


@dataclass(frozen=True)
class Drift:
    """The drift result of one window. `unknown` means that drift could not be measured, not that there is none."""

    window_start: datetime
    window_end: datetime
    model_version: str | None
    status: DriftStatus
    reason: str
    distances: dict[str, float]
    drifted: list[str]
    report: str | None  # name of the page in data/reports; earlier releases recorded its path
    measured_at: datetime

    @property
    def share(self) -> float:
        """The share of columns that have drifted, 0 to 1; NaN if unknown."""
        return len(self.drifted) / len(self.distances) if self.distances else float("nan")


_COLUMNS = tuple(Drift.__dataclass_fields__)


class Drifts:
    """The drift results, one per run of the monitor."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, drift: Drift) -> None:
        """Store the result."""
        changed = {
            "window_start": drift.window_start.isoformat(),
            "window_end": drift.window_end.isoformat(),
            "distances": json.dumps(drift.distances),
            "drifted": json.dumps(drift.drifted),
            "measured_at": utc_text(drift.measured_at),
        }
        values = vars(drift) | changed
        with self._connection.transaction() as transaction:
            transaction.execute(insertion("drift", _COLUMNS), [values[column] for column in _COLUMNS])

    def latest(self) -> Drift | None:
        """Returns the newest result; None if the monitor never ran."""
        return next(iter(self._found("order by measured_at desc limit 1")), None)

    def by_window(self) -> list[Drift]:
        """Returns the newest result of each window, the oldest window first."""
        found = {drift.window_start: drift for drift in self._found("order by measured_at")}
        return [found[start] for start in sorted(found)]

    def _found(self, order: str) -> list[Drift]:
        rows = self._connection.rows(f"select {', '.join(_COLUMNS)} from drift {order}")
        return [_drift(dict(zip(_COLUMNS, row, strict=True))) for row in rows]


def _drift(row: dict[str, Any]) -> Drift:
    moments = {name: datetime.fromisoformat(row[name]) for name in ("window_start", "window_end", "measured_at")}
    return Drift(**row | moments | {name: json.loads(row[name]) for name in ("distances", "drifted")})
