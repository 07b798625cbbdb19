"""The contract's types in Ibis and Arrow, and what to write in use_case/source.py where the source has other types."""

from datetime import UTC

import ibis
import ibis.expr.datatypes as dt
import pyarrow as pa

from groundwork.core.errors import SourceError
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Dataset

ARROW_TYPES = {
    "string": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": pa.timestamp("us"),
}
_CASTS = {
    "string": "string",
    "integer": "int64",
    "number": "float64",
    "boolean": "boolean",
    "timestamp": "timestamp(6)",
}


def arrow_time(dataset: Dataset) -> pa.DataType:
    """Returns the type of times: instants in UTC, which have no zone if the contract's zone is UTC."""
    return pa.timestamp("us") if dataset.zone is UTC else pa.timestamp("us", "UTC")


def mismatch(column: Column, found: dt.DataType) -> str:
    """Returns what is wrong with the column's type in the source, and the remedy; "" if the type is right."""
    wanted = column.logical_type
    right = {
        "string": found.is_string,
        "integer": found.is_integer,
        "number": found.is_numeric,
        "boolean": found.is_boolean,
        "timestamp": found.is_timestamp,
    }
    if right[wanted]():
        return ""
    raw = getattr(found, "raw_type", found)  # of a type that Ibis does not know
    return (
        f"{column.name}: is {wanted} in the contract, but {raw.sql() if hasattr(raw, 'sql') else raw} in the source; "
        f"{_remedy(column, found)}"
    )


def _remedy(column: Column, found: dt.DataType) -> str:
    wanted = column.logical_type
    if wanted == "string" and found.is_json():
        name = column.name  # a cast keeps the quotes, and makes the text "null" of a JSON null
        return f"take it out of its quotes in use_case/source.py: {name}=rows.{name}.str, null for a JSON number"
    if wanted == "string":
        can_be_cast = not (found.is_nested() or found.is_binary())
    elif wanted == "timestamp":
        can_be_cast = found.is_date() or found.is_string()
    else:
        can_be_cast = found.is_numeric() or found.is_boolean() or found.is_string() or found.is_unknown()
    if not can_be_cast:
        return f"derive a {wanted} from it in use_case/source.py, or remove the column from contract.yaml"
    if wanted == "integer" and (found.is_decimal() or found.is_floating()):
        return f"{_cast(column)}, which rounds fractions, or make it a number in contract.yaml"
    return _cast(column)


def _cast(column: Column, to: str = "") -> str:
    name, to = column.name, to or _CASTS[column.logical_type]
    return f"cast it in use_case/source.py: {name}=rows.{name}.cast('{to}')"


def kept_exact(backend: ibis.BaseBackend, rows: ibis.Table) -> ibis.Table:
    """Returns the rows with integers as text if Ibis reads through pandas; `exactly` turns them back.

    In pandas, integers beside a missing value become floating-point numbers, so those above 2^53 would be rounded.
    """
    if backend.name in ("duckdb", "postgres"):
        return rows
    return rows.mutate(**{name: rows[name].cast("string") for name, kind in rows.schema().items() if kind.is_integer()})


def exactly(rows: pa.Table, dataset: Dataset) -> pa.Table:
    """Returns the rows with the contract's types. Raises SourceError if a value would not stay the same.

    Times without a zone stay so. The engine may deliver another type than Ibis expects: DuckDB's sum of integers is a
    decimal of 38 digits.
    """
    for column in dataset.columns:
        place, wanted = rows.schema.get_field_index(column.name), ARROW_TYPES[column.logical_type]
        found = rows.schema.field(place).type
        if pa.types.is_timestamp(found) and found.tz and column.logical_type == "timestamp":
            wanted = arrow_time(dataset)
        if found != wanted:
            try:
                fitted = rows.column(place).cast(wanted)
            except pa.ArrowException:
                # Without the cause, because its text has the value, which may be sensitive.
                raise SourceError(f"{column.name}: {_misfit(column, found)}") from None
            rows = rows.set_column(place, column.name, fitted)
    return rows


def _misfit(column: Column, found: pa.DataType) -> str:
    return {
        "integer": f"is {found} in the source, with a value beyond the 64 bits of an integer; "
        f"make it a string in contract.yaml, and {_cast(column, 'string')}",
        "number": f"is {found} in the source, with a value beyond 2^53, where a number is not exact; "
        f"make it an integer in contract.yaml, or {_cast(column)}, which rounds",
        "timestamp": f"is {found} in the source, with a value that has parts of a microsecond, or that no timestamp of "
        f"microseconds can be; {_cast(column)}, which rounds",
    }.get(
        column.logical_type, f"is {found} in the source, with a value that is no {column.logical_type}; {_cast(column)}"
    )
