"""Flow runs: how they ended, and which are running."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from groundwork.store.connection import Connection, Transaction, insertion, utc_text

SILENCE = timedelta(minutes=10)  # without a heartbeat, a run is lost; twenty heartbeat intervals
LOST = "its process was killed, or the machine went down, before the run ended"


@dataclass
class FlowRun:
    """How a flow run ended; the flow sets the row counts."""

    flow: str
    started_at: datetime
    seconds: float = 0.0
    succeeded: bool = False
    rows_in: int | None = None
    rows_quarantined: int | None = None
    message: str = ""


class UnderWay(NamedTuple):
    """A flow run that has started and not ended; its fields are the table's columns."""

    run_id: str  # Prefect's flow run id, or a UUID without Prefect
    flow: str
    started_at: datetime
    heard_at: datetime  # the last heartbeat

    @property
    def lost_at(self) -> datetime:
        """The time from which the run counts as lost."""
        return self.heard_at + SILENCE

    @property
    def as_lost(self) -> FlowRun:
        """The failed run to record once the run is lost."""
        seconds = (self.lost_at - self.started_at).total_seconds()
        return FlowRun(flow=self.flow, started_at=self.started_at, seconds=seconds, message=LOST)


_ENDED = ("flow", "started_at", "seconds", "succeeded", "rows_in", "rows_quarantined", "message")
_INSERT_ENDED = insertion("flow_runs", _ENDED)
_INSERT_UNDER_WAY = insertion("runs_under_way", UnderWay._fields)


class Runs:
    """The flow runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @contextmanager
    def recorded(self, flow: str) -> Iterator[FlowRun]:
        """Record how the block ends: success, or the error's type and message."""
        run = FlowRun(flow=flow, started_at=datetime.now(UTC))
        try:
            yield run
            run.succeeded = True
        except BaseException as error:
            run.message = f"{type(error).__name__}: {error}"
            raise
        finally:
            run.seconds = (datetime.now(UTC) - run.started_at).total_seconds()
            self.record(run)

    def record(self, run: FlowRun) -> None:
        """Store how the run ended."""
        with self._connection.transaction() as transaction:
            _insert(transaction, run)

    def keep_alive(self, run: UnderWay) -> None:
        """Store a heartbeat: the run has started, or still runs."""
        with self._connection.transaction() as transaction:
            transaction.execute(
                f"{_INSERT_UNDER_WAY} on conflict (run_id) do update set heard_at = excluded.heard_at",
                (run.run_id, run.flow, utc_text(run.started_at), utc_text(run.heard_at)),
            )

    def end(self, run_id: str, lost: FlowRun | None = None) -> bool:
        """Remove the run from the running ones, and store `lost` if the run was lost.

        Returns False if another process has already removed it.
        """
        with self._connection.transaction() as transaction:
            known = transaction.execute("delete from runs_under_way where run_id = ?", (run_id,)) == 1
            if known and lost:
                _insert(transaction, lost)
        return known

    def under_way(self) -> list[UnderWay]:
        """Returns the runs that have started and not ended, oldest first; some of them may be lost."""
        rows = self._connection.rows(
            "select run_id, flow, started_at, heard_at from runs_under_way order by started_at"
        )
        return [UnderWay(run_id, flow, *map(datetime.fromisoformat, times)) for run_id, flow, *times in rows]

    def latest(self, succeeded: bool) -> list[FlowRun]:
        """Returns, per flow, the latest run that succeeded, or that failed. Lost runs count as failed."""
        rows = self._connection.rows(
            f"select {', '.join(_ENDED)} from flow_runs where succeeded = ? order by started_at", (int(succeeded),)
        )
        runs = [_ended(dict(zip(_ENDED, row, strict=True))) for row in rows]
        if not succeeded:
            now = datetime.now(UTC)
            runs += [run.as_lost for run in self.under_way() if run.lost_at < now]
            runs.sort(key=lambda run: run.started_at)
        return list({run.flow: run for run in runs}.values())


def _ended(row: dict[str, Any]) -> FlowRun:
    changed = {"started_at": datetime.fromisoformat(row["started_at"]), "succeeded": bool(row["succeeded"])}
    return FlowRun(**row | changed)


def _insert(transaction: Transaction, run: FlowRun) -> None:
    changed = {"started_at": utc_text(run.started_at), "succeeded": int(run.succeeded)}
    transaction.execute(_INSERT_ENDED, [(vars(run) | changed)[column] for column in _ENDED])
