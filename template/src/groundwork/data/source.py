"""Reads the operational system through Ibis, with the contract's columns."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa

from groundwork.core.errors import SourceError, SourceUnavailable
from groundwork.core.windows import Step, Window, window_of
from groundwork.data.column_types import mismatch
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.store.connection import without_password
from use_case import source as use_case_source

BEGINNING, END = datetime(1900, 1, 1), datetime(2200, 1, 1)


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
        yield backend
    finally:
        backend.disconnect()


def expression(backend: ibis.BaseBackend, dataset: Dataset, window: Window) -> ibis.Table:
    """Returns the use case's rows for a window, with the contract's columns.

    Raises SourceError if the rows cannot be read, or a column is missing or has another type than in the contract.
    """
    try:
        rows = use_case_source.rows(backend, window.start, window.end)
    except Exception as error:
        text, cause = dataset.safe_text(error)
        raise SourceError(f"use_case/source.py cannot build its query on the source: {text}") from cause
    types = rows.schema()
    mistakes = []
    for column in dataset.columns:
        if column.name not in types:
            mistakes.append(f"{column.name}: the contract has this column, but the source does not")
        elif mistake := mismatch(column, types[column.name]):
            mistakes.append(mistake)
    if mistakes:
        raise SourceError("the source does not match contract.yaml:\n" + "\n".join(mistakes))
    columns = {column.name: rows[column.name] for column in dataset.columns}
    for name, value in columns.items():
        if value.type().is_decimal() and value.type().precision is None:
            # PostgreSQL's numeric: pyarrow refuses values of different lengths in one column.
            columns[name] = value.cast("float64")
    return rows.select(**columns)


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


def in_source(
    backend: ibis.BaseBackend, rows: ibis.Table, dataset: Dataset, step: Step, hashed: bool
) -> dict[Window, str | None]:
    """Returns the windows with rows in the source, in order, from one scan; with their fingerprints if `hashed`."""
    hashed = hashed and can_hash(backend)
    hashes = row_hash(backend, rows, rows.columns) if hashed else ibis.literal(0, "int64")
    # Grouped by day, because engines define weeks differently. The two 32-bit halves are summed separately, so that the
    # sums cannot overflow.
    days = (
        rows.select(day=rows[dataset.event_time.name].truncate("D"), hash=hashes)
        .group_by("day")
        .aggregate(rows=lambda t: t.count(), low=(lambda t: (t.hash & 0xFFFFFFFF).sum()), high=_high)
    )
    windows: dict[Window, tuple[int, int]] = {}
    for day, count, low, high in sorted(_values(days.to_pyarrow())):
        window = window_of(day, step)
        rows_before, sum_before = windows.get(window, (0, 0))
        windows[window] = rows_before + count, (sum_before + low + (high << 32)) % BITS
    return {
        window: fingerprint(dataset, count, total) if hashed else None for window, (count, total) in windows.items()
    }


def fingerprint(dataset: Dataset, rows: int, hashes: int) -> str:
    """Returns a window's fingerprint: number of rows, sum of row hashes, and digest of the contract's data set."""
    contract = hashlib.sha256(dataset.model_dump_json().encode()).hexdigest()
    return f"{rows}-{hashes % BITS:016x}-{contract[:16]}"


def _high(rows: ibis.Table) -> ibis.expr.types.IntegerScalar:
    return (rows.hash >> 32).sum()


def _values(days: pa.Table) -> Iterator[tuple[datetime, int, int, int]]:
    columns = [
        days["day"].cast(pa.timestamp("us")).to_pylist(),
        *([int(value) for value in days[name].to_pylist()] for name in ("rows", "low", "high")),
    ]
    return zip(*columns, strict=True)
