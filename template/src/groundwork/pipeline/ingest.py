"""Ingest: rows of a window go from the source into the snapshots, rows that break the contract into quarantine."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import ibis
import pyarrow as pa
import pyarrow.compute as pc
from prefect import task
from prefect.cache_policies import NO_CACHE

from groundwork.contract import Dataset
from groundwork.erasure import Erased
from groundwork.errors import ContractBreach, ErasureError, NotEnoughData, SourceError, SourceUnavailable
from groundwork.pipeline import artifacts
from groundwork.pipeline.flows import pipeline_flow
from groundwork.rules import REASONS, broken_by_window, stale, with_broken_rules
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Store
from groundwork.windows import Window, window_of, windows
from use_case import source as use_case_source

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


@contextmanager
def connected(settings: Settings) -> Iterator[ibis.BaseBackend]:
    """The operational system. Raises SourceError when it cannot be reached."""
    url = settings.source
    if url.startswith("duckdb://") and "read_only" not in url:
        url += "?read_only=True"
    try:
        backend = ibis.connect(url)
    except Exception as error:
        raise SourceUnavailable(
            f"the source {settings.source} cannot be opened: {error}\n"
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


def ingest_window(backend: ibis.BaseBackend, settings: Settings, window: Window) -> Ingested:
    """Read one window and commit it. Raises ContractBreach when too many of its rows are broken.

    Broken rows are kept in quarantine either way; the snapshots change only if the window is let in. A source that
    gives no rows at all changes nothing: that is an outage more often than an empty month.
    """
    dataset = settings.contract.dataset
    try:
        checked = with_broken_rules(expression(backend, dataset, window), dataset)
        rows = Erased(settings).without(checked.to_pyarrow())
        broken_as_a_whole = _broken_by_window(backend, checked, dataset, window)
    except (SourceError, ErasureError):
        raise
    except Exception as error:
        told, cause = dataset.told(error)
        raise SourceUnavailable(f"the source cannot be read for {window}: {told}") from cause
    snapshots = Snapshots(settings.snapshots, dataset)
    if not rows.num_rows and not broken_as_a_whole:
        return Ingested(window, 0, 0, snapshots.version)
    broken = pc.not_equal(rows[REASONS], "")
    sound = rows.filter(pc.invert(broken)).drop_columns([REASONS])
    quarantined = rows.filter(broken)
    quarantine = Snapshots(settings.quarantine, dataset)
    if quarantined.num_rows or quarantine.exists:
        quarantine.replace(_typed(quarantined, dataset, (REASONS,)), *window)
    if quarantined.num_rows > dataset.max_quarantined_share * rows.num_rows:
        raise _breach(
            settings,
            f"{quarantined.num_rows:,} of {rows.num_rows:,} rows of {window} break contract.yaml, more than the "
            f"{dataset.max_quarantined_share:.0%} it tolerates. Most often: {_most_frequent(quarantined)}.\n"
            f"The rows are in {settings.quarantine}; the snapshots were left as they were.",
        )
    if broken_as_a_whole:
        raise _breach(
            settings,
            f"{window} as a whole breaks contract.yaml: {'; '.join(broken_as_a_whole)}.\n"
            "The snapshots were left as they were.",
        )
    version = snapshots.replace(_typed(sound, dataset), *window)
    return Ingested(window, rows.num_rows, quarantined.num_rows, version)


def check_freshness(backend: ibis.BaseBackend, settings: Settings, now: datetime) -> None:
    """Raises ContractBreach where the newest data in the source is older than the contract promises; `now` in UTC."""
    rows = expression(backend, settings.contract.dataset, Window(BEGINNING, END))
    if broken := stale(rows, settings.contract, now):
        raise _breach(settings, f"the source breaks contract.yaml: {'; '.join(broken)}.\nWhat there is was let in.")


def due_windows(backend: ibis.BaseBackend, settings: Settings) -> list[Window]:
    """The windows from the newest one in the snapshots, which may have grown, to the newest one in the source."""
    dataset = settings.contract.dataset
    step = settings.charter.monitoring.window
    event_time = expression(backend, dataset, Window(BEGINNING, END))[dataset.event_time.name]
    span = event_time.as_table().aggregate(oldest=event_time.min(), newest=event_time.max())
    [bounds] = span.to_pyarrow().to_pylist()
    if bounds["newest"] is None:
        raise NotEnoughData(f"the source {settings.source} holds no rows yet")
    start = Snapshots(settings.snapshots, dataset).newest() or bounds["oldest"]
    return list(windows(window_of(start, step).start, window_of(bounds["newest"], step).end, step))


@task(name="ingest-window", cache_policy=NO_CACHE)
def _ingest_window(backend: ibis.BaseBackend, settings: Settings, window: Window) -> Ingested:
    return ingest_window(backend, settings, window)


@pipeline_flow(artifacts.of_ingest)
def ingest(start: datetime | None = None, end: datetime | None = None) -> list[Ingested]:
    """Bring in what is due, or everything in [start, end), window by window."""
    settings = Settings()
    with Store(settings.store) as store, store.recorded("ingest") as run, connected(settings) as backend:
        step = settings.charter.monitoring.window
        due = list(windows(start, end, step)) if start and end else due_windows(backend, settings)
        ingested = []
        for window in due:
            result = _ingest_window(backend, settings, window)
            ingested.append(result)
            run.rows_in = sum(each.rows_in for each in ingested)
            run.rows_quarantined = sum(each.rows_quarantined for each in ingested)
            print(f"{window}: {result.rows_in:,} rows in, {result.rows_quarantined:,} quarantined")
        if not run.rows_in:
            raise NotEnoughData(f"the source {settings.source} holds no rows from {start} to {end}")
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


def _typed(rows: pa.Table, dataset: Dataset, texts: tuple[str, ...] = ()) -> pa.Table:
    fields = [(column.name, _ARROW_TYPES[column.logical_type]) for column in dataset.columns]
    return rows.cast(pa.schema(fields + [(name, pa.string()) for name in texts]))


def _most_frequent(quarantined: pa.Table) -> str:
    counts = quarantined[REASONS].value_counts().to_pylist()
    top = max(counts, key=lambda entry: entry["counts"])
    return f"{top['values']} ({top['counts']:,} rows)"
