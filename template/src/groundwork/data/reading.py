"""Reads windows from the source into files: one scan for consecutive windows, valid and broken rows separately."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path

import duckdb
import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from groundwork.core.errors import ErasureError, SourceError
from groundwork.core.windows import Window, instant
from groundwork.data.column_types import ARROW_TYPES, arrow_time, exactly, kept_exact
from groundwork.data.erasure import Erased
from groundwork.data.rules import REASONS, broken_by_window, with_broken_rules
from groundwork.data.source import (
    END,
    RowSum,
    as_instants,
    can_hash,
    expression,
    local_times,
    row_hash,
    source_error,
    text_hash,
)
from groundwork.data.spool import Spool
from groundwork.documents.contract.contract import Dataset

TIMES, ROW_HASH, ROW_DAY, HASH_OF = "delivered_times", "row_hash", "row_day", "hash_of_"
BATCH_ROWS = 100_000


@dataclass
class Read:
    """The rows read for one window, in two files: valid rows and broken rows."""

    sound: Spool
    broken: Spool
    days: Mapping[datetime, RowSum] | None  # with rows; None if the source's engine cannot compute hashes
    hashes: Mapping[str, NDArray[np.uint64]]  # of the values that must be unique, per column
    repeats: bool = False  # whether one of these values may occur in another window of the same scan
    depends: bool = False  # whether valid rows are among the broken ones, because of rows in another window


def read_windows(
    backend: ibis.BaseBackend, dataset: Dataset, due: Sequence[Window], folder: Path, erased: Erased
) -> dict[Window, Read]:
    """Read consecutive windows in one scan of the source; returns the valid and broken rows of each, in files.

    A window that repeats a unique value is read again by itself. Rows that are equal in every column count as one row,
    because a source may deliver a row twice. Of different rows with the same key, one is chosen independently of their
    order. Files are written below `folder`; rows of `erased` subjects are left out. Raises SourceError.
    """
    with _translate_errors(dataset, due):
        rows = expression(backend, dataset, Window(due[0].start, due[-1].end))
        checked = with_broken_rules(rows, dataset, repeated=False)
        reads = _spooled(backend, checked, dataset, due, folder / "once", erased)
        if _any_twice(reads.values()):
            for window in [window for window, read in reads.items() if _any_twice([read])]:
                rows = expression(backend, dataset, window)
                once = rows.group_by(list(rows.columns)).aggregate(**{TIMES: lambda each: each.count()})
                checked = with_broken_rules(once, dataset)  # finds repeated values in the engine, which is expensive
                reads |= _spooled(backend, checked, dataset, [window], folder / "repeated", erased)
                reads[window].hashes = {name: np.unique(hashes) for name, hashes in reads[window].hashes.items()}
            repeats = _any_twice(reads.values())
            for read in reads.values():
                read.repeats = repeats
    return reads


def _any_twice(reads: Collection[Read]) -> bool:
    """Whether a unique value may occur twice in the rows read: true can be a hash collision, false is certain."""

    def repeats(values: NDArray[np.uint64]) -> bool:
        values.sort()
        return bool((values[1:] == values[:-1]).any())

    with ThreadPoolExecutor() as threads:  # sorting releases the GIL
        for columns in zip(*(read.hashes.values() for read in reads), strict=True):
            hashes = np.concatenate(columns)
            middle = len(hashes) // 2
            if middle:
                hashes.partition(middle)  # puts every value of the lower half before every value of the upper half
                if any(threads.map(repeats, (hashes[:middle], hashes[middle:]))):
                    return True
                if hashes[middle - 1] == hashes[middle]:
                    return True
    return False


def broken_as_a_whole(
    backend: ibis.BaseBackend, dataset: Dataset, reads: Mapping[Window, Read], newest: Window | None
) -> dict[Window, list[str]]:
    """Returns, per window, the window rules that it breaks. `newest` is the source's newest window, None if unknown."""
    if not dataset.window_rules:
        return {}
    with _translate_errors(dataset, list(reads)):
        last = max((window for window, read in reads.items() if read.sound.num_rows), default=None)
        if last and (last < newest if newest else _is_anything_after(backend, dataset, last)):
            last = None
        return {
            window: broken_by_window(ibis.memtable(read.sound.to_dataset()), dataset, growing=window == last)
            for window, read in reads.items()
        }


@contextmanager
def _translate_errors(dataset: Dataset, due: Sequence[Window]) -> Iterator[None]:
    """Turn an engine's error into a SourceError."""
    try:
        yield
    except (SourceError, ErasureError):
        raise
    except Exception as error:
        said = f"the source cannot be read for {Window(due[0].start, due[-1].end)}"
        raise source_error(dataset, said, error) from dataset.safe_text(error)[1]


def _is_anything_after(backend: ibis.BaseBackend, dataset: Dataset, window: Window) -> bool:
    later = expression(backend, dataset, Window(window.end, END))
    return bool(later.limit(1).count().to_pyarrow().as_py())


def _spooled(
    backend: ibis.BaseBackend,
    checked: ibis.Table,
    dataset: Dataset,
    due: Sequence[Window],
    folder: Path,
    erased: Erased,
) -> dict[Window, Read]:
    """Read the checked rows into files per window; the column TIMES, if present, counts equal rows delivered."""
    kinds = ARROW_TYPES | {"timestamp": arrow_time(dataset)}
    types = pa.schema([(column.name, kinds[column.logical_type]) for column in dataset.columns])
    hashed = can_hash(backend)
    if hashed:
        hashes = {f"{HASH_OF}{name}": text_hash(backend, checked[name].cast("string")) for name in dataset.unique}
        day = local_times(checked, dataset).date()
        checked = checked.mutate(**{ROW_HASH: row_hash(backend, checked, types.names), ROW_DAY: day}, **hashes)
    spools = {window: _Spooling(dataset, types, folder / f"{window.start:%Y-%m-%d}", hashed) for window in due}
    with duckdb.connect() as engine:
        for batch in _batches(backend, checked):
            rows = as_instants(exactly(pa.table(batch), dataset), dataset)
            rows = rows if hashed else _with_hashes(engine, rows, dataset.unique)
            for window, part in _by_window(rows, dataset, due):
                spools[window].take(part, erased)
    with ThreadPoolExecutor() as threads:  # writing files releases the GIL
        return dict(zip(spools, threads.map(_Spooling.read, spools.values()), strict=True))


def _with_hashes(engine: duckdb.DuckDBPyConnection, rows: pa.Table, names: Sequence[str]) -> pa.Table:
    """Add the hashes of unique values, for a source whose engine cannot compute them."""
    engine.register("batch", rows)
    hashes = ", ".join(f'hash(md5_number(cast("{name}" as varchar))) as "{HASH_OF}{name}"' for name in names)
    return engine.sql(f"select *, {hashes} from batch").to_arrow_table()


def _by_window(rows: pa.Table, dataset: Dataset, due: Sequence[Window]) -> Iterator[tuple[Window, pa.Table]]:
    """Yields the rows of each window. Raises SourceError if a row is in no window: it would be lost silently."""
    moments = rows[dataset.event_time.name]
    first, last = pc.min_max(moments).as_py().values()
    found = 0
    for window in due:
        start, end = (instant(border, dataset.zone) for border in window)
        if first is None or first >= end or last < start:
            continue
        if first >= start and last < end and not moments.null_count:
            yield window, rows
            return
        within = pc.and_(pc.greater_equal(moments, start), pc.less(moments, end)).fill_null(False)
        found += pc.sum(within).as_py()
        yield window, rows.filter(within)
    if found == rows.num_rows:
        return
    raise SourceError(
        f"use_case/source.py returns {rows.num_rows - found:,} rows whose {dataset.event_time.name} is not in "
        f"{Window(due[0].start, due[-1].end)}: filter the rows by `start` and `end`"
    )


class _Spooling:
    """Writes the rows of one window to its two files, and sums their hashes."""

    def __init__(self, dataset: Dataset, types: pa.Schema, folder: Path, hashed: bool) -> None:
        folder.mkdir(parents=True)
        self._sound = Spool(folder / "sound.parquet", types, dataset)
        self._broken = Spool(folder / "broken.parquet", types.append(pa.field(REASONS, pa.string())), dataset)
        self._hashed = hashed
        self._days: dict[datetime, RowSum] = {}
        self._seen: dict[str, list[NDArray[np.uint64]]] = {name: [] for name in dataset.unique}

    def take(self, rows: pa.Table, erased: Erased) -> None:
        for name, values in self._seen.items():
            values.append(_bits(rows[f"{HASH_OF}{name}"].drop_null()))
        if self._hashed:
            hashes, times = _bits(rows[ROW_HASH]), np.ones(rows.num_rows, np.uint64)
            if TIMES in rows.column_names:
                times = _bits(rows[TIMES])
            sums = pa.table({"day": rows[ROW_DAY], "rows": times, "hashes": hashes * times})  # modulo 2**64
            for each in sums.group_by("day").aggregate([("rows", "sum"), ("hashes", "sum")]).to_pylist():
                day = datetime.combine(each["day"], time.min)
                found = RowSum(each["rows_sum"], each["hashes_sum"])
                self._days[day] = self._days.get(day, RowSum(0, 0)).plus(found)
        rows = erased.without(rows)
        if rows[REASONS].null_count < rows.num_rows:
            self._broken.write(rows.filter(rows[REASONS].is_valid()))
            rows = rows.filter(rows[REASONS].is_null())
        self._sound.write(rows)

    def read(self) -> Read:
        """Close the files and return what was read."""
        self._sound.close()
        self._broken.close()
        hashes = {name: np.concatenate([np.empty(0, np.uint64), *values]) for name, values in self._seen.items()}
        return Read(sound=self._sound, broken=self._broken, days=self._days if self._hashed else None, hashes=hashes)


def _batches(backend: ibis.BaseBackend, rows: ibis.Table) -> Iterator[pa.RecordBatch]:
    if backend.name == "duckdb":  # Ibis 12 calls a method that DuckDB 2 no longer has
        yield from backend.con.sql(str(backend.compile(rows))).to_arrow_reader(BATCH_ROWS)
    else:
        yield from kept_exact(backend, rows).to_pyarrow_batches(chunk_size=BATCH_ROWS)


def _bits(whole_numbers: pa.ChunkedArray) -> NDArray[np.uint64]:
    return whole_numbers.to_numpy().astype(np.uint64)  # a copy, so that the whole batch can be freed
