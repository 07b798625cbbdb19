"""The operational store: the prediction log, late outcomes, how flows ended, what the monitor found, and promotions.

SQLite (WAL) on a laptop, PostgreSQL beyond it; the same statements run on both.
"""

import fcntl
import json
import re
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from groundwork.core.errors import Busy, StoreError
from groundwork.core.windows import Window

DriftStatus = Literal["ok", "drift", "unknown"]
SILENCE = timedelta(minutes=10)  # twenty times what a run lets pass between two signs of life
LOST = "its process was killed, or the machine went down, before it could say how it ended"
Role = Literal["champion", "canary", "shadow", "batch", "no-model"]

_TABLES = (
    """
    create table if not exists predictions (
      prediction_id text primary key,
      answered_at text not null,      -- UTC
      role text not null,             -- who answered: champion, canary, shadow, batch or no-model
      entity_key text not null,
      event_time text not null,
      model_version text not null,    -- empty for the no-model rule
      score double precision,         -- null for the no-model rule, and where there is one per class
      decision text not null,
      record text not null,           -- JSON object: the record as it was asked
      class_scores text               -- JSON object: class to score; null unless the outcome is one of several classes
    )
    """,
    "create index if not exists predictions_by_event_time on predictions (event_time)",
    """
    create table if not exists outcomes (
      prediction_id text primary key,
      outcome double precision,       -- 0 or 1 of no or yes, or the quantity; null where it is a class
      received_at text not null,      -- UTC
      outcome_class text              -- the class; null where it is a number
    )
    """,
    """
    create table if not exists shadow (
      measured_at text not null,      -- UTC
      model_version text not null,
      rows_compared integer not null,
      agreement double precision not null
    )
    """,
    """
    create table if not exists flow_runs (
      flow text not null,
      started_at text not null,       -- UTC
      seconds double precision not null,
      succeeded integer not null,     -- 0 or 1
      rows_in integer,
      rows_quarantined integer,
      message text not null
    )
    """,
    """
    create table if not exists schedules (
      flow text primary key,
      since text not null             -- UTC
    )
    """,
    """
    create table if not exists runs_under_way (
      run_id text primary key,        -- Prefect's
      flow text not null,
      started_at text not null,       -- UTC
      heard_at text not null          -- UTC: when its process last said that it lives
    )
    """,
    """
    create table if not exists windows_read (
      window_start text primary key,
      window_end text not null,
      fingerprint text not null,      -- of the source's rows, as they were read
      table_id text not null,         -- the snapshots that they went into
      table_version integer not null  -- the version from which on they are in there
    )
    """,
    """
    create table if not exists drift (
      measured_at text not null,      -- UTC
      window_start text not null,
      window_end text not null,
      model_version text,
      status text not null,
      distances text not null,        -- JSON object: column to distance
      drifted text not null,          -- JSON array of columns
      reason text not null,
      report text
    )
    """,
    """
    create table if not exists proofs (
      check_id text not null,
      proven_at text not null,        -- UTC
      command text not null,
      exit_code integer not null,     -- 0 passed, 1 failed, 2 unknown
      digest text not null,           -- SHA-256 of the evidence
      seconds double precision not null,
      own_data integer not null,      -- 0 if it was shown on the example's data
      on_schedule integer not null,   -- 0 if somebody ran it by hand
      seen text not null
    )
    """,
    """
    create table if not exists promotions (
      model text not null,
      number integer not null,        -- 1, 2, 3, …: who writes n + 1 has seen n
      promoted_at text not null,      -- UTC
      promoted_by text not null,
      from_version text not null,     -- empty for the first
      to_version text not null,
      why text not null,
      evidence_sha256 text not null,  -- of the gate's verdict on to_version; empty if it has none
      bundle_sha256 text not null,    -- of its serving bundle
      primary key (model, number)
    )
    """,
)

# What is in the promotion log stays there. `insert or replace` would delete too, and tell no trigger of it.
_APPEND_ONLY = {
    "sqlite": (
        """
        create trigger if not exists promotions_are_not_updated before update on promotions
        begin select raise(abort, 'the promotion log is append-only'); end
        """,
        """
        create trigger if not exists promotions_are_not_deleted before delete on promotions
        begin select raise(abort, 'the promotion log is append-only'); end
        """,
        """
        create trigger if not exists promotions_are_not_replaced before insert on promotions
        when exists (select 1 from promotions where model = new.model and number = new.number)
        begin select raise(ignore); end
        """,
    ),
    "postgresql": (
        """
        do $$ begin
          if not exists (select from pg_trigger
                         where tgname = 'promotions_are_kept' and tgrelid = 'promotions'::regclass) then
            create or replace function groundwork_append_only() returns trigger language plpgsql as
              'begin raise exception ''the promotion log is append-only''; end';
            create trigger promotions_are_kept before update or delete or truncate on promotions
              for each statement execute function groundwork_append_only();
          end if;
        end $$
        """,
    ),
}


class Prediction(NamedTuple):
    """One answered prediction, in the order of the table's columns."""

    prediction_id: str
    answered_at: str  # UTC
    role: Role
    entity_key: str
    event_time: str
    model_version: str
    score: float | None
    decision: str
    record: str  # JSON
    class_scores: str | None = None  # JSON


class Promotion(NamedTuple):
    """One entry of the promotion log, in the order of the table's columns."""

    model: str
    number: int
    promoted_at: str  # UTC
    promoted_by: str
    from_version: str
    to_version: str
    why: str
    evidence_sha256: str
    bundle_sha256: str


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


class UnderWay(NamedTuple):
    """A flow that has begun and not ended, in the order of the table's columns."""

    run_id: str
    flow: str
    started_at: datetime
    heard_at: datetime

    @property
    def lost_at(self) -> datetime:
        """From when on nobody believes that it still runs."""
        return self.heard_at + SILENCE

    @property
    def as_lost(self) -> FlowRun:
        """How it ended, once it is lost."""
        return FlowRun(
            flow=self.flow,
            started_at=self.started_at,
            seconds=(self.lost_at - self.started_at).total_seconds(),
            message=LOST,
        )


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
        """The share of columns that have drifted; NaN when unknown."""
        return len(self.drifted) / len(self.distances) if self.distances else float("nan")


class Proof(NamedTuple):
    """One run of what proves a check of the scorecard, in the order of the table's columns."""

    check_id: str
    proven_at: str  # UTC
    command: str
    exit_code: int
    digest: str
    seconds: float
    own_data: bool
    on_schedule: bool
    seen: str


class Store:
    """One connection, shared by threads; opened again after it broke. Raises StoreError when a statement fails."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///PATH` or `postgresql://…`, and make the tables that are missing."""
        self.url = url
        self._lock = threading.Lock()
        self._connection: Any = None
        local = url.startswith("sqlite:")
        with self._cursor() as cursor:
            if not local:  # two that make the same table at once would fail
                cursor.execute("select pg_advisory_xact_lock(hashtext('groundwork'))")
            for statement in (*_TABLES, *_APPEND_ONLY["sqlite" if local else "postgresql"]):
                cursor.execute(statement)

    def close(self) -> None:
        with self._lock:
            self._drop_connection()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def log_predictions(self, predictions: Iterable[Prediction]) -> None:
        """Commit the predictions in one transaction; one that is there already stays as it is."""
        with self._cursor() as cursor:
            cursor.executemany(
                self._sql("insert into predictions values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing"),
                list(predictions),
            )

    def predictions(self, start: datetime, end: datetime) -> list[Prediction]:
        """The logged predictions whose event time lies in [start, end)."""
        rows = self._all(
            "select * from predictions where event_time >= ? and event_time < ? order by event_time, prediction_id",
            (start.isoformat(), end.isoformat()),
        )
        return [Prediction(*row) for row in rows]

    def answered_with_outcome(self, since: str, until: str) -> list[tuple[str, str, float | str]]:
        """Record, decision and outcome of what the service answered in [since, until), where the outcome is known."""
        rows = self._all(
            "select p.record, p.decision, o.outcome, o.outcome_class"
            " from predictions p join outcomes o using (prediction_id)"
            " where p.role in ('champion', 'canary') and p.answered_at >= ? and p.answered_at < ?",
            (since, until),
        )
        return [(record, decided, number if name is None else name) for record, decided, number, name in rows]

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """The rows that a query of somebody else's gives; nothing that it writes stays."""
        with self._lock:
            try:
                with closing(_connect(self.url)) as connection:
                    cursor = connection.cursor()
                    cursor.execute("begin")
                    cursor.execute(query)
                    found = cursor.fetchall()
                    cursor.execute("rollback")
            except Exception as error:
                raise StoreError(f"the store {without_password(self.url)} refused the query: {error}") from error
        return list(found)

    def log_outcomes(self, outcomes: Sequence[tuple[str, bool | float | str]]) -> tuple[list[str], list[str]]:
        """Keep what turned out to be true, by prediction id, in one transaction.

        Returns the ids that no prediction has (kept all the same: it may arrive later), and those that had another
        outcome before (the first one stays).
        """
        now = utc_text(datetime.now(UTC))
        unknown, contradicting = [], []
        with self._cursor() as cursor:
            for prediction_id, told in outcomes:
                outcome, outcome_class = (None, told) if isinstance(told, str) else (float(told), None)
                cursor.execute(
                    self._sql("insert into outcomes values (?, ?, ?, ?) on conflict do nothing"),
                    (prediction_id, outcome, now, outcome_class),
                )
                cursor.execute(
                    self._sql("select outcome, outcome_class from outcomes where prediction_id = ?"), (prediction_id,)
                )
                if cursor.fetchone() != (outcome, outcome_class):
                    contradicting.append(prediction_id)
                cursor.execute(self._sql("select 1 from predictions where prediction_id = ?"), (prediction_id,))
                if cursor.fetchone() is None:
                    unknown.append(prediction_id)
        return unknown, contradicting

    def erase(self, keys: Collection[str], column: str, value: str | int) -> tuple[int, int]:
        """Remove the predictions with one of these keys, or with this value in their record, and their outcomes.

        Returns how many predictions and outcomes.
        """
        part = json.dumps({column: value}, ensure_ascii=False, separators=(",", ":"))[1:-1]
        pattern = re.sub(r"([!%_])", r"!\1", part)
        ids = set()
        with self._cursor() as cursor:
            if self.url.startswith("sqlite:"):
                cursor.execute("pragma secure_delete = on")  # not only forget where it was
            for key in keys:
                cursor.execute(self._sql("select prediction_id from predictions where entity_key = ?"), (key,))
                ids |= {prediction_id for (prediction_id,) in cursor.fetchall()}
            cursor.execute(
                self._sql("select prediction_id, record from predictions where record like ? escape '!'"),
                (f"%{pattern}%",),
            )
            ids |= {each for each, record in cursor.fetchall() if json.loads(record).get(column) == value}
            removed = []
            for table in ("predictions", "outcomes"):
                removed.append(0)
                for prediction_id in ids:
                    cursor.execute(self._sql(f"delete from {table} where prediction_id = ?"), (prediction_id,))
                    removed[-1] += cursor.rowcount
        if self.url.startswith("sqlite:"):
            with self._lock:
                self._connection.execute("pragma wal_checkpoint(truncate)")
        predictions, outcomes = removed
        return predictions, outcomes

    @contextmanager
    def recorded(self, flow: str) -> Iterator[FlowRun]:
        """Record how the flow in this block ends, whichever way."""
        run = FlowRun(flow=flow, started_at=datetime.now(UTC))
        try:
            yield run
            run.succeeded = True
        except BaseException as error:
            run.message = f"{type(error).__name__}: {error}"
            raise
        finally:
            run.seconds = (datetime.now(UTC) - run.started_at).total_seconds()
            self.record_run(run)

    def record_run(self, run: FlowRun) -> None:
        with self._cursor() as cursor:
            self._insert_run(cursor, run)

    def _insert_run(self, cursor: Any, run: FlowRun) -> None:
        cursor.execute(
            self._sql("insert into flow_runs values (?, ?, ?, ?, ?, ?, ?)"),
            (
                run.flow,
                utc_text(run.started_at),
                run.seconds,
                int(run.succeeded),
                run.rows_in,
                run.rows_quarantined,
                run.message,
            ),
        )

    def keep_alive(self, run: UnderWay) -> None:
        """Note that the run is under way, or was heard of once more."""
        with self._cursor() as cursor:
            cursor.execute(
                self._sql(
                    "insert into runs_under_way values (?, ?, ?, ?)"
                    " on conflict (run_id) do update set heard_at = excluded.heard_at"
                ),
                (run.run_id, run.flow, *map(utc_text, run[2:])),
            )

    def end_run(self, run_id: str, lost: FlowRun | None = None) -> bool:
        """The run is under way no more; if it was lost, keep how it ended. False if somebody else has said so."""
        with self._cursor() as cursor:
            cursor.execute(self._sql("delete from runs_under_way where run_id = ?"), (run_id,))
            known = bool(cursor.rowcount == 1)
            if known and lost:
                self._insert_run(cursor, lost)
        return known

    def under_way(self) -> list[UnderWay]:
        """The runs that have begun and not ended, oldest first; some of them may be lost."""
        rows = self._all("select * from runs_under_way order by started_at")
        return [UnderWay(run_id, flow, *map(datetime.fromisoformat, times)) for run_id, flow, *times in rows]

    def latest_runs(self, succeeded: bool) -> list[FlowRun]:
        """Per flow, its latest run that succeeded, or failed. One that was lost has failed, whoever has noticed."""
        rows = self._all(
            "select flow, started_at, seconds, succeeded, rows_in, rows_quarantined, message from flow_runs"
            " where succeeded = ? order by started_at",
            (int(succeeded),),
        )
        runs = [
            FlowRun(
                flow=flow,
                started_at=datetime.fromisoformat(at),
                seconds=seconds,
                succeeded=bool(ok),
                rows_in=rows_in,
                rows_quarantined=quarantined,
                message=message,
            )
            for flow, at, seconds, ok, rows_in, quarantined, message in rows
        ]
        if not succeeded:
            now = datetime.now(UTC)
            runs += [run.as_lost for run in self.under_way() if run.lost_at < now]
            runs.sort(key=lambda run: run.started_at)
        return list({run.flow: run for run in runs}.values())

    def keep_schedules(self, flows: Collection[str]) -> None:
        """Note which flows have a schedule, each since it was first noted; what any other had is forgotten."""
        now = utc_text(datetime.now(UTC))
        with self._cursor() as cursor:
            cursor.execute("select flow from schedules")
            gone = {flow for (flow,) in cursor.fetchall()} - set(flows)
            cursor.executemany(self._sql("delete from schedules where flow = ?"), [(flow,) for flow in gone])
            cursor.executemany(
                self._sql("insert into schedules values (?, ?) on conflict do nothing"),
                [(flow, now) for flow in flows],
            )

    def schedules(self) -> dict[str, datetime]:
        """Since when each flow has a schedule, where a worker or a work pool was ever told to run it."""
        return {flow: datetime.fromisoformat(since) for flow, since in self._all("select * from schedules")}

    @contextmanager
    def alone(self, flow: str) -> Iterator[None]:
        """Let no other process run the flow until this block ends. Raises Busy where one does already.

        The lock is the operating system's or the server's own, so that a process that dies leaves none behind.
        """
        with ExitStack() as held:
            try:
                free = _lock(self.url, flow, held)
            except Exception as error:
                raise StoreError(f"the store {without_password(self.url)} cannot be locked: {error}") from error
            if not free:
                raise Busy(f"another {flow} is under way; this one changed nothing. Run it again once that ended.")
            yield

    def windows_read(self, table_id: str | None, table_version: int | None) -> dict[Window, str]:
        """The fingerprint of each window as it was last read into this table, at this version or an earlier one."""
        rows = self._all(
            "select window_start, window_end, fingerprint from windows_read where table_id = ? and table_version <= ?",
            (table_id, table_version),
        )
        return {
            Window(datetime.fromisoformat(start), datetime.fromisoformat(end)): fingerprint
            for start, end, fingerprint in rows
        }

    def record_window(self, window: Window, fingerprint: str, table_id: str, table_version: int) -> None:
        """Keep what was read for the window; what was known of others that overlap it is forgotten."""
        start, end = window.start.isoformat(), window.end.isoformat()
        with self._cursor() as cursor:
            cursor.execute(
                self._sql("delete from windows_read where window_start < ? and window_end > ?"), (end, start)
            )
            cursor.execute(
                self._sql("insert into windows_read values (?, ?, ?, ?, ?)"),
                (start, end, fingerprint, table_id, table_version),
            )

    def record_drift(self, drift: Drift) -> None:
        with self._cursor() as cursor:
            cursor.execute(
                self._sql("insert into drift values (?, ?, ?, ?, ?, ?, ?, ?, ?)"),
                (
                    utc_text(drift.measured_at),
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
        return next(iter(self._drifts("order by measured_at desc limit 1")), None)

    def drifts(self) -> list[Drift]:
        """What was found last for each window, the oldest window first."""
        found = {drift.window_start: drift for drift in self._drifts("order by measured_at")}
        return [found[start] for start in sorted(found)]

    def _drifts(self, which: str) -> list[Drift]:
        rows = self._all(
            "select window_start, window_end, model_version, status, reason, distances, drifted, report, measured_at"
            f" from drift {which}"
        )
        return [
            Drift(
                window_start=datetime.fromisoformat(start),
                window_end=datetime.fromisoformat(end),
                model_version=version,
                status=status,
                reason=reason,
                distances=json.loads(distances),
                drifted=json.loads(drifted),
                report=report,
                measured_at=datetime.fromisoformat(measured_at),
            )
            for start, end, version, status, reason, distances, drifted, report, measured_at in rows
        ]

    def record_shadow(self, model_version: str, rows: int, agreement: float) -> None:
        """Keep over how many records, and how often, a challenger would have decided as it was decided."""
        with self._cursor() as cursor:
            cursor.execute(
                self._sql("insert into shadow values (?, ?, ?, ?)"),
                (utc_text(datetime.now(UTC)), model_version, rows, agreement),
            )

    def latest_shadows(self) -> dict[str, tuple[int, float]]:
        """Per challenger, rows compared and agreement when it was last looked at."""
        rows = self._all("select model_version, rows_compared, agreement from shadow order by measured_at")
        return {version: (compared, agreement) for version, compared, agreement in rows}

    def record_proofs(self, proofs: Iterable[Proof]) -> None:
        with self._cursor() as cursor:
            cursor.executemany(
                self._sql("insert into proofs values (?, ?, ?, ?, ?, ?, ?, ?, ?)"),
                [(*proof[:6], int(proof.own_data), int(proof.on_schedule), proof.seen) for proof in proofs],
            )

    def proofs(self) -> dict[str, list[Proof]]:
        """Every run of each check's proof, oldest first."""
        found: dict[str, list[Proof]] = {}
        for row in self._all("select * from proofs order by proven_at"):
            proof = Proof(*row)
            kept = proof._replace(own_data=bool(proof.own_data), on_schedule=bool(proof.on_schedule))
            found.setdefault(proof.check_id, []).append(kept)
        return found

    def outcomes(self, start: datetime, end: datetime) -> dict[str, float | str]:
        """What came of the predictions whose event time lies in [start, end), by their ids, where it is known."""
        rows = self._all(
            "select prediction_id, o.outcome, o.outcome_class from predictions p join outcomes o using (prediction_id)"
            " where p.event_time >= ? and p.event_time < ?",
            (start.isoformat(), end.isoformat()),
        )
        return {identifier: number if name is None else name for identifier, number, name in rows}

    def promotions(self, model: str) -> list[Promotion]:
        """The model's promotion log, oldest first."""
        return [
            Promotion(*row) for row in self._all("select * from promotions where model = ? order by number", [model])
        ]

    def latest_promotion(self, model: str) -> Promotion | None:
        """The entry that says who is champion; None if nothing was promoted."""
        rows = self._all("select * from promotions where model = ? order by number desc limit 1", [model])
        return Promotion(*rows[0]) if rows else None

    def append_promotion(self, promotion: Promotion) -> bool:
        """Append the entry unless there is one with its number: somebody was quicker, and False is returned."""
        with self._cursor() as cursor:
            cursor.execute(
                self._sql("insert into promotions values (?, ?, ?, ?, ?, ?, ?, ?, ?) on conflict do nothing"), promotion
            )
            return bool(cursor.rowcount == 1)

    def _all(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with self._cursor() as cursor:
            cursor.execute(self._sql(query), tuple(values))
            return cursor.fetchall()

    def _sql(self, statement: str) -> str:
        return statement if self.url.startswith("sqlite:") else statement.replace("?", "%s")

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """One transaction. A connection that failed is dropped, so that the next transaction opens a new one."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _connect(self.url)
                cursor = self._connection.cursor()
                cursor.execute("begin")
                yield cursor
                cursor.execute("commit")
            except Exception as error:
                self._drop_connection()
                raise StoreError(f"the store {without_password(self.url)} failed: {error}") from error
            except BaseException:
                self._drop_connection()
                raise

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is broken already
                connection.rollback()  # or a lock would live as long as anybody remembers the error
            with suppress(Exception):
                connection.close()


def utc_text(moment: datetime) -> str:
    """The moment as the store writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def _connect(url: str) -> Any:
    """A connection in which transactions are begun and ended by hand."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")  # a commit outlives the process; only power can lose it
        return connection
    if url.startswith(("postgresql://", "postgres://")):
        import psycopg

        return psycopg.connect(url, autocommit=True, connect_timeout=5)
    raise ValueError("its address must begin with sqlite:/// or postgresql://")


def _lock(url: str, name: str, held: ExitStack) -> bool:
    """Take the lock of this name, until `held` is closed; false if somebody else has it."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        file = held.enter_context(path.with_name(f"{path.name}.{name}.lock").open("a"))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
    connection = _connect(url)
    held.callback(connection.close)
    row = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (f"groundwork {name}",)).fetchone()
    return bool(row[0])


def without_password(url: str) -> str:
    """The URL as it may be shown and logged: without user and password."""
    return re.sub("://[^/]*@", "://", url)
