"""Ingest: rows of a window go from the source into the snapshots, rows that break the contract into quarantine."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE

from groundwork.contract import Dataset
from groundwork.erasure import Erased
from groundwork.errors import ContractBreach, ErasureError, NotEnoughData, SourceError, SourceUnavailable
from groundwork.pipeline import artifacts
from groundwork.pipeline.fingerprint import can_hash, fingerprint, in_source, row_hash, text_hash
from groundwork.pipeline.flows import pipeline_flow
from groundwork.progress import tell
from groundwork.readiness.proofs import Finding, keep
from groundwork.rules import REASONS, broken_by_window, stale, with_broken_rules
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.spool import Spool, forget_spools, spool_folder
from groundwork.store import FlowRun, Store, without_password
from groundwork.windows import Window, window_of, windows
from use_case import source as use_case_source

TIMES, ROW_HASH, HASH_OF = "delivered_times", "row_hash", "hash_of_"
BATCH_ROWS = 100_000
READ_TOGETHER = 12  # windows in one scan: more would scan the source less often, and need more of the disk meanwhile
BEGINNING, END = datetime(1900, 1, 1), datetime(2200, 1, 1)

_ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}


@dataclass(frozen=True)
class Ingested:
    """What a run brought in."""

    window: Window
    rows_in: int
    rows_quarantined: int
    version: int | None
    fingerprint: str | None = None  # of the rows as they were read; None from an engine that tells none


@contextmanager
def connected(settings: Settings) -> Iterator[ibis.BaseBackend]:
    """The operational system. Raises SourceError when it cannot be reached."""
    url = settings.source
    if url.startswith("duckdb://") and "read_only" not in url:
        url += "?read_only=True"
    try:
        backend = ibis.connect(url)
    except ImportError as error:
        raise SourceError(
            f"the source {without_password(url)} needs a driver that is not installed: {str(error).splitlines()[0]}\n"
            "Run `uv sync --group postgres` or `uv sync --group spark`; for other engines, "
            "`uv add --group pipeline 'ibis-framework[NAME]'`."
        ) from error
    except Exception as error:
        raise SourceUnavailable(
            f"the source {without_password(settings.source)} cannot be opened: {error}\n"
            "Check GROUNDWORK_SOURCE_URL; for the example data, run `groundwork seed` first."
        ) from error
    try:
        yield backend
    finally:
        backend.disconnect()


def expression(backend: ibis.BaseBackend, dataset: Dataset, window: Window) -> ibis.Table:
    """The use case's rows for a window, with the contract's columns. Raises SourceError where they do not fit it."""
    try:
        rows = use_case_source.rows(backend, window.start, window.end)
    except Exception as error:
        told, cause = dataset.told(error)
        raise SourceError(f"use_case/source.py cannot be read from the source: {told}") from cause
    types = rows.schema()
    mistakes = []
    for column in dataset.columns:
        if column.name not in types:
            mistakes.append(f"{column.name}: the contract has this column, the source does not")
        elif not _is_of_type(types[column.name], column.logical_type):
            mistakes.append(
                f"{column.name}: the contract says {column.logical_type}, the source gives {types[column.name]}"
            )
    if mistakes:
        raise SourceError("the source does not fit contract.yaml:\n" + "\n".join(mistakes))
    return rows.select(*[column.name for column in dataset.columns])


@dataclass
class Read:
    """What was read of one window: its sound and its broken rows, in files."""

    sound: Spool
    broken: Spool
    unique: bool  # as far as the hashes tell
    fingerprint: str | None
    broken_as_a_whole: Sequence[str] = ()


def read_windows(
    backend: ibis.BaseBackend,
    dataset: Dataset,
    due: Sequence[Window],
    folder: Path,
    erased: Erased,
    newest: Window | None = None,
) -> dict[Window, Read]:
    """Read windows that follow each other, the sound and the broken rows of each apart. Raises SourceError.

    One scan of the source reads all of them, where its engine tells by hashes that no value is repeated. Rows that are
    equal in every column are one row: a source may deliver it twice. Of rows that are not equal and have one key, the
    same one is let in whatever the order they come in. `newest` is the last window of the source, if that is known.
    """
    try:
        reads, again = {}, list(due)
        if can_hash(backend):
            rows = expression(backend, dataset, Window(due[0].start, due[-1].end))
            checked = with_broken_rules(rows, dataset, repeated=False)
            reads = _spooled(backend, checked, dataset, due, folder / "once", erased)
            again = [window for window, read in reads.items() if not read.unique]
        for window in again:  # to look for repeated values in the engine costs far more
            rows = expression(backend, dataset, window)
            once = rows.group_by(list(rows.columns)).aggregate(**{TIMES: lambda each: each.count()})
            checked = with_broken_rules(once, dataset)
            reads |= _spooled(backend, checked, dataset, [window], folder / "repeated", erased)
        if dataset.window_rules:
            last = max((window for window, read in reads.items() if read.sound.num_rows), default=None)
            if last and (last < newest if newest else _is_anything_after(backend, dataset, last)):
                last = None
            for window, read in reads.items():
                rows = ibis.memtable(read.sound.to_dataset())
                read.broken_as_a_whole = broken_by_window(rows, dataset, growing=window == last)
    except (SourceError, ErasureError):
        raise
    except Exception as error:
        told, cause = dataset.told(error)
        raise SourceUnavailable(f"the source cannot be read for {Window(due[0].start, due[-1].end)}: {told}") from cause
    return reads


def let_in(settings: Settings, window: Window, read: Read) -> Ingested:
    """Commit what was read of a window. Raises ContractBreach when too many of its rows are broken.

    Broken rows are kept in quarantine either way; the snapshots change only if the window is let in. A source that
    gives no rows at all changes nothing: that is an outage more often than an empty month.
    """
    dataset = settings.contract.dataset
    snapshots = Snapshots(settings.snapshots, dataset)
    rows, quarantined = read.sound.num_rows + read.broken.num_rows, read.broken.num_rows
    if not rows and not read.broken_as_a_whole:
        return Ingested(window, 0, 0, snapshots.version)
    quarantine = Snapshots(settings.quarantine, dataset)
    if quarantined or quarantine.exists:
        quarantine.replace(read.broken, *window)
    if quarantined > dataset.max_quarantined_share * rows:
        raise _breach(
            settings,
            f"{quarantined:,} of {rows:,} rows of {window} break contract.yaml, more than the "
            f"{dataset.max_quarantined_share:.0%} it tolerates. Most often: {_most_frequent(read.broken)}.\n"
            f"The rows are in {settings.quarantine}; the snapshots were left as they were.",
        )
    if read.broken_as_a_whole:
        raise _breach(
            settings,
            f"{window} as a whole breaks contract.yaml: {'; '.join(read.broken_as_a_whole)}.\n"
            "The snapshots were left as they were.",
        )
    version = snapshots.replace(read.sound, *window)
    return Ingested(window, rows, quarantined, version, read.fingerprint)


def check_freshness(backend: ibis.BaseBackend, settings: Settings, now: datetime) -> None:
    """Raises ContractBreach where the newest data in the source is older than the contract promises; `now` in UTC."""
    rows = expression(backend, settings.contract.dataset, Window(BEGINNING, END))
    if broken := stale(rows, settings.contract, now):
        raise _breach(settings, f"the source breaks contract.yaml: {'; '.join(broken)}.\nWhat there is was let in.")


def due_windows(backend: ibis.BaseBackend, settings: Settings, known: Mapping[Window, str]) -> list[Window]:
    """The windows of the source that are not `known` by their fingerprint, and the newest one always."""
    dataset = settings.contract.dataset
    rows = expression(backend, dataset, Window(BEGINNING, END))
    try:
        found = in_source(backend, rows, dataset, settings.charter.monitoring.window, hashed=bool(known))
    except Exception as error:
        told, cause = dataset.told(error)
        raise SourceUnavailable(f"the source cannot be read: {told}") from cause
    if not found:
        raise NotEnoughData(f"the source {without_password(settings.source)} holds no rows yet")
    newest = max(found)
    return [window for window, now in found.items() if now is None or now != known.get(window) or window == newest]


@task(name="let-in", cache_policy=NO_CACHE)
def _let_in(settings: Settings, window: Window, read: Read) -> Ingested:
    return let_in(settings, window, read)


@pipeline_flow(artifacts.of_ingest, log_prints=True)
def ingest(start: datetime | None = None, end: datetime | None = None) -> list[Ingested]:
    """Bring in what has changed in the source, or every window that [start, end) touches, window by window.

    Raises Busy where an ingest is under way.
    """
    settings = Settings()
    snapshots = Snapshots(settings.snapshots, settings.contract.dataset)
    step = settings.charter.monitoring.window
    with (
        Store(settings.store) as store,
        store.recorded("ingest") as run,
        _told_whose_it_is(settings),
        connected(settings) as backend,
        _proven(settings, store, run),
    ):
        forget_spools(settings.data_folder)
        newest = None
        if start and end:
            last = window_of(end - timedelta(microseconds=1), step)
            due = list(windows(window_of(start, step).start, last.end, step))
        else:
            due = due_windows(backend, settings, store.windows_read(snapshots.table_id, snapshots.version))
            newest = due[-1]
        ingested: list[Ingested] = []
        tell("windows", 0, len(due))
        for together in _consecutive(due):
            with spool_folder(settings.data_folder) as folder:
                reads = read_windows(backend, settings.contract.dataset, together, folder, Erased(settings), newest)
                for window in together:
                    result = _let_in(settings, window, reads[window])
                    if result.fingerprint and result.version is not None:
                        store.record_window(window, result.fingerprint, str(snapshots.table_id), result.version)
                    ingested.append(result)
                    tell("windows", len(ingested), len(due))
                    run.rows_in = sum(each.rows_in for each in ingested)
                    run.rows_quarantined = sum(each.rows_quarantined for each in ingested)
                    print(
                        f"{len(ingested)} of {len(due)}, {window}: {result.rows_in:,} rows in, "
                        f"{result.rows_quarantined:,} quarantined"
                    )
        if not run.rows_in:
            raise NotEnoughData(f"the source {without_password(settings.source)} holds no rows from {start} to {end}")
        if not (start and end):  # whoever asks for certain days may ask for old ones
            check_freshness(backend, settings, datetime.now(UTC).replace(tzinfo=None))
    return ingested


def _consecutive(due: Sequence[Window]) -> Iterator[list[Window]]:
    """The windows in groups of those that follow each other."""
    group: list[Window] = []
    for window in due:
        if group and (len(group) == READ_TOGETHER or group[-1].end != window.start):
            yield group
            group = []
        group.append(window)
    if group:
        yield group


def _is_anything_after(backend: ibis.BaseBackend, dataset: Dataset, window: Window) -> bool:
    later = expression(backend, dataset, Window(window.end, END))
    return bool(later.limit(1).count().to_pyarrow().as_py())


@contextmanager
def _proven(settings: Settings, store: Store, run: FlowRun) -> Iterator[None]:
    """Keep whether the rows fitted the contract; of a source that does not answer, nothing is known."""
    began = time.monotonic()

    def found(passed: bool, seen: str) -> None:
        keep(settings, store, "groundwork ingest", [Finding("data-schema", passed, seen)], began)

    try:
        yield
    except SourceUnavailable:
        raise
    except (ContractBreach, SourceError) as error:
        found(False, str(error))
        raise
    found(True, f"{run.rows_in:,} rows were held against contract.yaml, {run.rows_quarantined:,} broke it")


def _breach(settings: Settings, said: str) -> ContractBreach:
    return ContractBreach(f"{said} {_whose(settings)}")


@contextmanager
def _told_whose_it_is(settings: Settings) -> Iterator[None]:
    """What is wrong with the source is somebody's to mend."""
    try:
        yield
    except SourceError as error:
        raise type(error)(f"{error}\n{_whose(settings)}") from error


def _whose(settings: Settings) -> str:
    name = settings.contract.dataset.name
    owner = settings.owners.accountable.data[name]
    return f"{owner.name} (@{owner.handle}) answers for the data set {name}."


def _is_of_type(found: ibis.expr.datatypes.DataType, wanted: str) -> bool:
    return {
        "string": found.is_string,
        "integer": found.is_integer,
        "number": found.is_numeric,
        "boolean": found.is_boolean,
        "timestamp": found.is_timestamp,
    }[wanted]()


def _spooled(
    backend: ibis.BaseBackend,
    checked: ibis.Table,
    dataset: Dataset,
    due: Sequence[Window],
    folder: Path,
    erased: Erased,
) -> dict[Window, Read]:
    """Read rows that have their reasons and how often each was delivered, with their hashes where there are any."""
    types = pa.schema([(column.name, _ARROW_TYPES[column.logical_type]) for column in dataset.columns])
    hashed = can_hash(backend)
    if hashed:
        hashes = {f"{HASH_OF}{name}": text_hash(backend, checked[name].cast("string")) for name in _unique(dataset)}
        checked = checked.mutate(**{ROW_HASH: row_hash(backend, checked, types.names)}, **hashes)
    spools = {window: _Spooling(dataset, types, folder / f"{window.start:%Y-%m-%d}", hashed) for window in due}
    for batch in _batches(backend, checked):
        for window, rows in _by_window(pa.table(batch), dataset, due):
            spools[window].take(rows, erased)
    with ThreadPoolExecutor() as threads:  # to sort hashes and to finish files leaves Python to the others
        return dict(zip(spools, threads.map(_Spooling.read, spools.values()), strict=True))


def _by_window(rows: pa.Table, dataset: Dataset, due: Sequence[Window]) -> Iterator[tuple[Window, pa.Table]]:
    """The rows of each window. Raises SourceError where a row belongs to none: it would be lost without a word."""
    moments = rows[dataset.event_time.name].cast(_ARROW_TYPES["timestamp"])
    first, last = pc.min_max(moments).as_py().values()
    found = 0
    for window in due:
        if first is None or first >= window.end or last < window.start:
            continue
        if first >= window.start and last < window.end and not moments.null_count:
            yield window, rows
            return
        within = pc.and_(pc.greater_equal(moments, window.start), pc.less(moments, window.end)).fill_null(False)
        found += pc.sum(within).as_py()
        yield window, rows.filter(within)
    if found == rows.num_rows:
        return
    raise SourceError(
        f"use_case/source.py gives {rows.num_rows - found:,} rows whose {dataset.event_time.name} is not in "
        f"{Window(due[0].start, due[-1].end)}: let it filter by `start` and `end`"
    )


class _Spooling:
    """One window on its way into its files."""

    def __init__(self, dataset: Dataset, types: pa.Schema, folder: Path, hashed: bool) -> None:
        folder.mkdir(parents=True)
        clock = dataset.event_time.name
        self._dataset = dataset
        self._sound = Spool(folder / "sound.parquet", types, clock)
        self._broken = Spool(folder / "broken.parquet", types.append(pa.field(REASONS, pa.string())), clock)
        self._hashed = hashed
        self._delivered, self._total = 0, 0
        self._seen: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in _unique(dataset)}

    def take(self, rows: pa.Table, erased: Erased) -> None:
        if self._hashed:
            hashes = _bits(rows[ROW_HASH])
            times = rows[TIMES].to_numpy().astype(np.uint64) if TIMES in rows.column_names else np.ones_like(hashes)
            self._delivered += int(times.sum())
            self._total += int((hashes * times).sum())  # modulo 2**64
            for name, values in self._seen.items():
                values.append(_bits(rows[f"{HASH_OF}{name}"].drop_null()))
        rows = erased.without(rows)
        is_sound = pc.equal(rows[REASONS], "")
        if not pc.all(is_sound, min_count=0).as_py():
            self._broken.write(rows.filter(pc.invert(is_sound)))
            rows = rows.filter(is_sound)
        self._sound.write(rows)

    def read(self) -> Read:
        """What was read, once there are no more rows."""
        self._sound.close()
        self._broken.close()
        return Read(
            self._sound,
            self._broken,
            self._hashed and not any(_repeats(values) for values in self._seen.values()),
            fingerprint(self._dataset, self._delivered, self._total) if self._hashed else None,
        )


def _unique(dataset: Dataset) -> list[str]:
    return [column.name for column in dataset.columns if column.unique or column.primary_key]


def _batches(backend: ibis.BaseBackend, rows: ibis.Table) -> Iterator[pa.RecordBatch]:
    if backend.name == "duckdb":  # Ibis 12 asks DuckDB 2 for a method that it no longer has
        yield from backend.con.sql(str(backend.compile(rows))).to_arrow_reader(BATCH_ROWS)
    else:
        yield from rows.to_pyarrow_batches(chunk_size=BATCH_ROWS)


def _bits(hashes: pa.ChunkedArray) -> NDArray[np.uint64]:
    return hashes.to_numpy().astype(np.uint64)


def _repeats(parts: list[NDArray[np.uint64]]) -> bool:
    values = np.sort(np.concatenate([np.empty(0, np.uint64), *parts]))
    return bool((values[1:] == values[:-1]).any())


def _most_frequent(quarantined: Spool) -> str:
    counts: Counter[str] = Counter()
    for batch in quarantined.to_reader():
        counts.update({each["values"]: each["counts"] for each in batch[REASONS].value_counts().to_pylist()})
    [(reasons, rows)] = counts.most_common(1)
    return f"{reasons} ({rows:,} rows)"
