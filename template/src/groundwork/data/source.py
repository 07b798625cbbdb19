"""Reads the operational system through Ibis, with the contract's columns."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa
import pyarrow.compute as pc

from groundwork.core.errors import SourceError, SourceUnavailable, place
from groundwork.core.windows import Window, end_of_day, instant
from groundwork.data.column_types import mismatch
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.store.connection import without_password
from use_case import source as use_case_source

BEGINNING, END = datetime(1900, 1, 1), datetime(2200, 1, 1)
MICROSECOND = pa.scalar(timedelta(microseconds=1))


@contextmanager
def connected(pilot: Pilot) -> Iterator[ibis.BaseBackend]:
    """Provide a connection to the operational system. Raises SourceError if it cannot be opened."""
    url = pilot.settings.source
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
            f"the source {without_password(pilot.settings.source)} cannot be opened: {error}\n"
            "Check GROUNDWORK_SOURCE_URL; for the example data, run `groundwork seed` first."
        ) from error
    try:
        _set_zone(backend, pilot.contract.dataset)
        yield backend
    finally:
        backend.disconnect()


# How an engine is told the time zone of its session: the zone of times without one, and of days and hours.
_SESSION_ZONE = {
    "duckdb": ("SET TimeZone = '{0}'", "SET GLOBAL TimeZone = '{0}'"),  # GLOBAL for the cursors, which Ibis also uses
    "postgres": ("SET TIME ZONE '{0}'",),
    "pyspark": ("SET TIME ZONE '{0}'",),
}


def _set_zone(backend: ibis.BaseBackend, dataset: Dataset) -> None:
    """Let the engine compare and cut times in the contract's zone; Ibis has set UTC."""
    if dataset.zone is not UTC:
        for statement in _SESSION_ZONE.get(backend.name, ()):
            backend.raw_sql(statement.format(dataset.zone))


def expression(backend: ibis.BaseBackend, dataset: Dataset, window: Window, *, any_time: bool = False) -> ibis.Table:
    """Returns the use case's rows for a window, with the contract's columns.

    Rows further ahead than the contract allows (`maxDaysAhead`) are left out, unless `any_time` asks for them.
    Raises SourceError if the rows cannot be read, or a column is missing or has another type than in the contract.
    """
    if not any_time:
        last = end_of_day(dataset.max_days_ahead, dataset.zone)
        window = Window(min(window.start, last), min(window.end, last))
    try:
        rows = use_case_source.rows(backend, *_distinct(window, dataset.zone))
    except Exception as error:
        text, cause = dataset.safe_text(error)
        where = place(error) or "src/use_case/source.py"
        raise SourceError(f"{where}: rows() cannot build its query on the source: {text}") from cause
    if not isinstance(rows, ibis.Table):
        raise SourceError(
            f"src/use_case/source.py: rows() returns {type(rows).__name__}: return an Ibis table, such as "
            'source.table("NAME").filter(…).select(…), without to_pandas() or execute()'
        )
    types = rows.schema()
    mistakes = []
    for column in dataset.columns:
        if column.name not in types:
            mistakes.append(f"{column.name}: the contract has this column, but the source does not")
        elif mistake := mismatch(column, types[column.name]):
            mistakes.append(mistake)
        elif column.logical_type_options.timezone and types[column.name].timezone is None:
            mistakes.append(f"{column.name}: has timezone: true in the contract, but no time zone in the source")
        elif _is_zoned(types[column.name]) and dataset.zone is not UTC and backend.name not in _SESSION_ZONE:
            mistakes.append(
                f"{column.name}: has a time zone, which {backend.name} cannot convert here: let source.py return local "
                f"time of {dataset.zone}, without a zone"
            )
    if mistakes:
        raise SourceError("the source does not match contract.yaml:\n" + "\n".join(mistakes))
    columns = {column.name: rows[column.name] for column in dataset.columns}
    for name, value in columns.items():
        if value.type().is_decimal() and value.type().precision is None:
            # PostgreSQL's numeric: pyarrow refuses values of different lengths in one column.
            columns[name] = value.cast("float64")
    rows = rows.select(**columns)
    at = rows[dataset.event_time.name]
    if _distinct(window, dataset.zone) != window and _is_zoned(at.type()):
        start, end = (instant(border, dataset.zone) for border in window)
        rows = rows.filter((at >= start) & (at < end))
    return rows


def _distinct(window: Window, zone: tzinfo) -> Window:
    """Returns the window, with an earlier start if clocks show its start twice: engines take the second time."""
    twice = window.start.replace(tzinfo=zone).utcoffset() != window.start.replace(tzinfo=zone, fold=1).utcoffset()
    return Window(window.start - timedelta(hours=2), window.end) if twice else window


def local_times(rows: ibis.Table, dataset: Dataset) -> ibis.expr.types.TimestampColumn:
    """Returns the event times as local times of the contract's zone, without a zone."""
    at = rows[dataset.event_time.name]
    return at.cast("timestamp") if _is_zoned(at.type()) and dataset.zone is not UTC else at


def as_instants(rows: pa.Table, dataset: Dataset) -> pa.Table:
    """Returns the rows with the local times of the contract's zone as instants, by the rules of `with_offset`.

    Times in UTC stay without a zone.
    """
    if dataset.zone is UTC:
        return rows
    for column in dataset.timestamps:
        place, times = rows.schema.get_field_index(column.name), rows[column.name]
        if times.type.tz is None:
            rows = rows.set_column(place, column.name, _instants(times.cast(pa.timestamp("us")), str(dataset.zone)))
    return rows


def _instants(times: pa.ChunkedArray, zone: str) -> pa.ChunkedArray:
    before, after = (
        pc.assume_timezone(times, zone, ambiguous="earliest", nonexistent=side) for side in ("earliest", "latest")
    )
    # A skipped time: `before` is the last microsecond before the change, `after` the first after it.
    skipped = pc.add(after, pc.add(pc.subtract(times, pc.local_timestamp(before)), -MICROSECOND))
    return pc.if_else(pc.equal(before, after), after, skipped)


def _is_zoned(found: dt.DataType) -> bool:
    return isinstance(found, dt.Timestamp) and found.timezone is not None


# Classes of PEP 249, from which the errors of all drivers inherit. Others, such as OperationalError, may be outages.
_MISTAKES = frozenset({"DataError", "ProgrammingError", "NotSupportedError"})


def source_error(dataset: Dataset, said: str, error: Exception) -> SourceError:
    """Returns the error to raise from an engine's error, without sensitive values in its text.

    It is SourceUnavailable, which a schedule retries, unless it comes from the query or from the values that it reads.
    """
    text, _ = dataset.safe_text(error)
    is_mistake = isinstance(error, pa.ArrowInvalid | pa.ArrowNotImplementedError | pa.ArrowTypeError | OverflowError)
    if is_mistake or _MISTAKES & {kind.__name__ for kind in type(error).__mro__}:
        return SourceError(f"{said}: {text}\nCorrect the query in use_case/source.py, or the values in the source.")
    return SourceUnavailable(f"{said}: {text}")


BITS = 2**64


@ibis.udf.scalar.builtin(name="md5_number")  # type: ignore[untyped-decorator]
def _md5(text: str) -> dt.decimal: ...


@ibis.udf.scalar.builtin(name="hash")  # type: ignore[untyped-decorator]
def _hash(value) -> dt.uint64: ...  # type: ignore[no-untyped-def]


def can_hash(backend: ibis.BaseBackend) -> bool:
    """Whether the engine has a 64-bit hash that is tested here."""
    return backend.name in ("duckdb", "postgres")


def text_hash(backend: ibis.BaseBackend, text: ibis.expr.types.StringValue) -> ibis.Value:
    """Returns a 64-bit hash of a text."""
    if backend.name == "duckdb":
        return _hash(
            _md5(text)
        )  # DuckDB's hash of the text itself is often equal for long texts that differ in two places
    return text.hash()


def row_hash(backend: ibis.BaseBackend, rows: ibis.Table, names: Sequence[str]) -> ibis.Value:
    """Returns a 64-bit hash of each row's values in these columns."""
    if backend.name == "duckdb":
        return _hash(
            ibis.struct({name: _md5(rows[name]) if rows[name].type().is_string() else rows[name] for name in names})
        )
    texts = [rows[name].cast("string") for name in names]
    # The length before each text makes the joined text unique.
    return text_hash(
        backend, ibis.literal("").join([(text.length().cast("string") + ":" + text).fill_null("-") for text in texts])
    )


class Ahead(NamedTuple):
    """The rows of the source that are further ahead than the contract allows; they are not read."""

    rows: int
    days: Window  # from the first of them to the last


class RowSum(NamedTuple):
    """The number of rows, and the sum of their hashes modulo 2**64."""

    rows: int
    hashes: int

    def plus(self, other: "RowSum") -> "RowSum":
        return RowSum(self.rows + other.rows, (self.hashes + other.hashes) % BITS)


def days_in_source(
    backend: ibis.BaseBackend, dataset: Dataset, span: Window, hashed: bool
) -> tuple[dict[datetime, RowSum], Ahead | None]:
    """Returns the days in the span with rows in the source, in order, from one scan; hashes are 0 unless `hashed`.

    Rows that are too far ahead are in no day, and are returned as `Ahead`.
    """
    rows = expression(backend, dataset, span, any_time=True)
    hashes = row_hash(backend, rows, rows.columns) if hashed else ibis.literal(0, "int64")
    # Grouped by day, because engines define weeks differently. The two 32-bit halves are summed separately, so that the
    # sums cannot overflow.
    sums = (
        rows.select(day=local_times(rows, dataset).truncate("D"), hash=hashes)
        .group_by("day")
        .aggregate(rows=lambda t: t.count(), low=(lambda t: (t.hash & 0xFFFFFFFF).sum()), high=_high)
    )
    found: dict[datetime, RowSum] = {}
    last, ahead = end_of_day(dataset.max_days_ahead, dataset.zone), None
    for day, count, low, high in sorted(_values(sums.to_pyarrow())):
        if day >= last:
            before, first = (ahead.rows, ahead.days.start) if ahead else (0, day)
            ahead = Ahead(before + count, Window(first, day + timedelta(days=1)))
        elif span.start <= day < span.end:
            found[day] = RowSum(count, (low + (high << 32)) % BITS)
    return found, ahead


def _high(rows: ibis.Table) -> ibis.expr.types.IntegerScalar:
    return (rows.hash >> 32).sum()


def _values(days: pa.Table) -> Iterator[tuple[datetime, int, int, int]]:
    columns = [
        days["day"].cast(pa.timestamp("us")).to_pylist(),
        *([int(value) for value in days[name].to_pylist()] for name in ("rows", "low", "high")),
    ]
    return zip(*columns, strict=True)
