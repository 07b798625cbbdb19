"""Ingest: rows of a window go from the source into the snapshots, rows that break the contract into quarantine."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
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
from groundwork.pipeline.spool import Spool, forget_spools, spool_folder
from groundwork.rules import REASONS, broken_by_window, stale, with_broken_rules
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Store, without_password
from groundwork.windows import Window, window_of, windows
from use_case import source as use_case_source

TIMES, ROW_HASH, HASH_OF = "delivered_times", "row_hash", "hash_of_"
BATCH_ROWS = 100_000
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


def read_window(backend: ibis.BaseBackend, dataset: Dataset, window: Window, folder: Path, erased: Erased) -> Read:
    """Read one window in batches, its sound and its broken rows apart. Raises SourceError where that fails.

    Rows that are equal in every column are one row: a source may deliver it twice. Of rows that are not equal and have
    one key, the same one is let in whatever the order they come in.
    """
    try:
        rows = expression(backend, dataset, window)
        checked = with_broken_rules(rows, dataset, repeated=False).mutate(**{TIMES: 1})
        read = _spooled(backend, checked, dataset, folder / "once", erased) if can_hash(backend) else None
        if read is None or not read.unique:  # the hashes tell; to look for repeated values in the engine costs far more
            once = rows.group_by(list(rows.columns)).aggregate(**{TIMES: lambda each: each.count()})
            checked = with_broken_rules(once, dataset)
            read = _spooled(backend, checked, dataset, folder / "repeated", erased)
        read.broken_as_a_whole = _broken_by_window(backend, checked, dataset, window)
    except (SourceError, ErasureError):
        raise
    except Exception as error:
        told, cause = dataset.told(error)
        raise SourceUnavailable(f"the source cannot be read for {window}: {told}") from cause
    return read


def ingest_window(backend: ibis.BaseBackend, settings: Settings, window: Window) -> Ingested:
    """Read one window and commit it. Raises ContractBreach when too many of its rows are broken.

    Broken rows are kept in quarantine either way; the snapshots change only if the window is let in. A source that
    gives no rows at all changes nothing: that is an outage more often than an empty month.
    """
    dataset = settings.contract.dataset
    snapshots = Snapshots(settings.snapshots, dataset)
    with spool_folder(settings.data_folder) as folder:
        read = read_window(backend, dataset, window, folder, Erased(settings))
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


@task(name="ingest-window", cache_policy=NO_CACHE)
def _ingest_window(backend: ibis.BaseBackend, settings: Settings, window: Window) -> Ingested:
    return ingest_window(backend, settings, window)


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
        store.alone("ingest"),
        store.recorded("ingest") as run,
        connected(settings) as backend,
    ):
        forget_spools(settings.data_folder)
        if start and end:
            last = window_of(end - timedelta(microseconds=1), step)
            due = list(windows(window_of(start, step).start, last.end, step))
        else:
            due = due_windows(backend, settings, store.windows_read(snapshots.table_id, snapshots.version))
        ingested = []
        for number, window in enumerate(due, 1):
            result = _ingest_window(backend, settings, window)
            if result.fingerprint and result.version is not None:
                store.record_window(window, result.fingerprint, str(snapshots.table_id), result.version)
            ingested.append(result)
            run.rows_in = sum(each.rows_in for each in ingested)
            run.rows_quarantined = sum(each.rows_quarantined for each in ingested)
            print(
                f"{number} of {len(due)}, {window}: {result.rows_in:,} rows in, {result.rows_quarantined:,} quarantined"
            )
        if not run.rows_in:
            raise NotEnoughData(f"the source {without_password(settings.source)} holds no rows from {start} to {end}")
        if not (start and end):  # whoever asks for certain days may ask for old ones
            check_freshness(backend, settings, datetime.now(UTC).replace(tzinfo=None))
    return ingested


def _broken_by_window(backend: ibis.BaseBackend, checked: ibis.Table, dataset: Dataset, window: Window) -> list[str]:
    if not dataset.window_rules:
        return []
    later = expression(backend, dataset, Window(window.end, END)).limit(1).count().to_pyarrow().as_py()
    return broken_by_window(checked.filter(checked[REASONS] == ""), dataset, growing=not later)


def _breach(settings: Settings, said: str) -> ContractBreach:
    name = settings.contract.dataset.name
    owner = settings.owners.accountable.data[name]
    return ContractBreach(f"{said} {owner.name} (@{owner.handle}) answers for the data set {name}.")


def _is_of_type(found: ibis.expr.datatypes.DataType, wanted: str) -> bool:
    return {
        "string": found.is_string,
        "integer": found.is_integer,
        "number": found.is_numeric,
        "boolean": found.is_boolean,
        "timestamp": found.is_timestamp,
    }[wanted]()


def _spooled(backend: ibis.BaseBackend, checked: ibis.Table, dataset: Dataset, file: Path, erased: Erased) -> Read:
    """Read rows that have their reasons and how often each was delivered, with their hashes where there are any."""
    types = [(column.name, _ARROW_TYPES[column.logical_type]) for column in dataset.columns]
    sound = Spool(file.with_suffix(".sound"), pa.schema(types))
    broken = Spool(file.with_suffix(".broken"), pa.schema([*types, (REASONS, pa.string())]))
    unique = [column.name for column in dataset.columns if column.unique or column.primary_key]
    hashed = can_hash(backend)
    if hashed:
        hashes = {f"{HASH_OF}{name}": text_hash(backend, checked[name].cast("string")) for name in unique}
        checked = checked.mutate(**{ROW_HASH: row_hash(backend, checked, sound.schema.names)}, **hashes)
    delivered, total = 0, 0
    seen: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in unique}
    for batch in _batches(backend, checked):
        rows = pa.table(batch)
        if hashed:
            times = rows[TIMES].to_numpy().astype(np.uint64)
            delivered += int(times.sum())
            total += int((_bits(rows[ROW_HASH]) * times).sum())  # modulo 2**64, both
            for name, values in seen.items():
                values.append(_bits(rows[f"{HASH_OF}{name}"].drop_null()))
        rows = erased.without(rows)
        is_broken = pc.not_equal(rows[REASONS], "")
        broken.write(rows.filter(is_broken))
        sound.write(rows.filter(pc.invert(is_broken)))
    sound.close()
    broken.close()
    return Read(
        sound,
        broken,
        hashed and not any(_repeats(values) for values in seen.values()),
        fingerprint(dataset, delivered, total) if hashed else None,
    )


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
