"""Types of the source: a value comes in as it is, or its column is named with the cast to write."""

import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import psycopg
import pytest
from groundwork.core.errors import SourceError, SourceUnavailable
from groundwork.core.windows import Window
from groundwork.data.reading import read_windows
from groundwork.data.source import source_error
from groundwork.pipeline.flows import may_pass
from pilots import visits
from use_case import source

JANUARY = Window(datetime(2026, 1, 1), datetime(2026, 2, 1))
NOON = "timestamp '2026-01-05 12:00:00'"
LARGE = 2**53 + 1  # no floating-point number is this integer

on_duckdb = pytest.mark.parametrize("engine", ["duckdb"], indirect=True)
on_postgresql = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)


class NobodyErased:
    def without(self, rows: Any) -> Any:
        return rows


Reader = Callable[..., list[Any]]


@pytest.fixture
def read(engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """Ingest's reading of rows whose column `n` has these SQL values; returns what it came to, in order."""

    def run(kind: str, *values: str, at: str = NOON, query: Callable[[Any], Any] = lambda rows: rows) -> list[Any]:
        rows = " union all ".join(
            f"select 'r{number}' as id, {at} as at, {value} as n, 1 as one, true as back"
            for number, value in enumerate(values)
        )
        engine.raw_sql("drop table if exists visits")
        engine.raw_sql(f"create table visits as {rows}")
        monkeypatch.setattr(source, "rows", lambda backend, *_: query(backend.table("visits")))
        dataset = visits({"name": "n", "logicalType": kind, "examples": [""]}, name="one")
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        read = read_windows(engine, dataset, [JANUARY], folder, NobodyErased())[JANUARY]  # type: ignore[arg-type]
        assert not read.broken.num_rows
        found = read.sound.to_dataset().to_table().sort_by("id")
        return found["n" if at == NOON else "at"].to_pylist()

    return run


def test_an_integer_comes_in_as_it_is(read: Reader) -> None:
    """Also beside a missing one, which pandas would turn into floating-point numbers."""
    found = read("integer", str(LARGE), "null", str(2**63 - 1), str(1 - 2**63))
    assert found == [LARGE, None, 2**63 - 1, 1 - 2**63]


@on_duckdb
@pytest.mark.parametrize(
    ("kind", "value", "found"),
    [
        ("integer", f"{LARGE}::ubigint", LARGE),
        ("integer", "7::utinyint", 7),
        ("number", "1.25::decimal(9, 2)", 1.25),
        ("number", "7::hugeint", 7.0),
        ("number", "7::float", 7.0),
        ("number", f"{2**53}::bigint", 2.0**53),
        ("string", "'a'::enum('a', 'b')", "a"),
        ("timestamp", "timestamp_ns '2026-01-05 10:00:00.000001'", datetime(2026, 1, 5, 10, 0, 0, 1)),
        ("timestamp", "timestamp_s '2026-01-05 10:00:00'", datetime(2026, 1, 5, 10)),
    ],
)
def test_another_type_with_the_same_values_comes_in(kind: str, value: str, found: Any, read: Reader) -> None:
    assert read(kind, value) == [found]


@on_duckdb
def test_a_sum_of_integers_comes_in_as_an_integer(read: Reader) -> None:
    """DuckDB makes it a number of 128 bits, which Ibis does not know."""

    def summed(rows: Any) -> Any:
        return rows.group_by([name for name in rows.columns if name != "n"]).aggregate(n=rows.n.sum())

    assert read("integer", f"{LARGE}::bigint", query=summed) == [LARGE]
    with pytest.raises(SourceError, match=r"n: is decimal128\(38, 0\) in the source, with a value beyond the 64 bits"):
        read("integer", f"{2**62}::bigint", query=lambda rows: summed(rows.union(rows)))


MISFITS = {
    "huge unsigned integers": ("integer", f"{2**63}::ubigint", "uint64", "make it a string", "n=rows.n.cast('string')"),
    "128 bits": ("integer", "7::hugeint", r"decimal\(38, 0\)", "n=rows.n.cast('int64')"),
    "128 bits unsigned": ("integer", "7::uhugeint", "UINT128", "n=rows.n.cast('int64')"),
    "fractions for an integer": ("integer", "2.7::double", "float64", "n=rows.n.cast('int64'), which rounds", "number"),
    "decimals for an integer": ("integer", "2.7::decimal(9, 2)", r"decimal\(9, 2\)", "number in contract.yaml"),
    "a text for an integer": ("integer", "'7'", "string", "n=rows.n.cast('int64')"),
    "a large integer for a number": ("number", f"{LARGE}::bigint", "int64", "make it an integer", "cast('float64')"),
    "parts of a microsecond": (
        "timestamp", "timestamp_ns '2026-01-05 10:00:00.123456789'",
        r"timestamp\[ns\]", "parts of a microsecond", r"cast('timestamp(6)'), which rounds",
    ),
    "a date": ("timestamp", "date '2026-01-05'", "date", "n=rows.n.cast('timestamp(6)')"),
    "a time of day": ("timestamp", "time '10:00:00'", "time", "derive a timestamp from it"),
    "an interval": ("number", "interval 1 day", r"interval\('us'\)", "derive a number from it"),
    "a UUID": ("string", "uuid()", "uuid", "n=rows.n.cast('string')"),
    "JSON": ("string", "'{}'::json", "json", "n=rows.n.str"),
    "a blob": ("string", "'a'::blob", "binary", "derive a string from it"),
    "a list": ("string", "[1]", "array<int32>", "derive a string from it"),
    "a struct": ("number", "{'a': 1}", "struct<a: int32>", "derive a number from it"),
    "a union": ("string", "union_value(a := 1)", "UNION<a INT>", "n=rows.n.cast('string')"),
    "an integer for a boolean": ("boolean", "1", "int32", "n=rows.n.cast('boolean')"),
}  # fmt: skip


@on_duckdb
@pytest.mark.parametrize("misfit", MISFITS)
def test_a_type_that_does_not_fit_is_named_with_the_cast_and_not_tried_again(misfit: str, read: Reader) -> None:
    kind, value, *said = MISFITS[misfit]
    with pytest.raises(SourceError, match=rf"\bn: is .*{said[0]} in the source") as stopped:
        read(kind, value)
    for each in said[1:]:
        assert each in str(stopped.value)
    assert len(str(stopped.value).splitlines()) <= 2
    assert not may_pass(stopped.value)


@on_duckdb
def test_an_event_time_with_parts_of_a_microsecond_is_named(read: Reader) -> None:
    assert read("integer", "1", at="timestamp_ns '2026-01-05 10:00:00.000001'") == [datetime(2026, 1, 5, 10, 0, 0, 1)]
    named = r"\bat: is timestamp\[ns\] in the source.*at=rows.at.cast\('timestamp\(6\)'\)"
    with pytest.raises(SourceError, match=named):
        read("integer", "1", at="timestamp_ns '2026-01-05 10:00:00.000000001'")


def test_a_value_that_a_cast_of_the_query_cannot_take_is_not_tried_again(read: Reader) -> None:
    with pytest.raises(SourceError) as stopped:
        read("integer", "'seven'", query=lambda rows: rows.mutate(n=rows.n.cast("int64")))
    assert "use_case/source.py" in str(stopped.value)
    assert "seven" in str(stopped.value)
    assert not may_pass(stopped.value)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_an_integer_stays_exact_where_ibis_reads_through_pandas(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From SQLite as from Spark and MySQL; pandas has no missing integers."""
    engine.raw_sql("create table visits (id text, at timestamp, n bigint, one bigint, back boolean)")
    values = ", ".join(
        f"('r{place}', '2026-01-05 12:00:00', {value}, 1, true)"
        for place, value in enumerate((LARGE, "null", LARGE + 1))
    )
    engine.raw_sql(f"insert into visits values {values}")
    engine.con.commit()
    monkeypatch.setattr(source, "rows", lambda backend, *_: backend.table("visits"))
    dataset = visits({"name": "n", "logicalType": "integer", "examples": [1]}, name="one")
    read = read_windows(engine, dataset, [JANUARY], tmp_path, NobodyErased())[JANUARY]  # type: ignore[arg-type]
    assert read.sound.to_dataset().to_table().sort_by("id")["n"].to_pylist() == [LARGE, None, LARGE + 1]


@on_postgresql
def test_numerics_of_any_length_come_in_as_numbers(read: Reader) -> None:
    assert read("number", "1.5::numeric", "null", str(10**31)) == [1.5, None, 1e31]


@on_postgresql
def test_a_sum_beyond_64_bits_is_not_tried_again(read: Reader) -> None:
    def summed(rows: Any) -> Any:
        return rows.group_by(["id", "at", "one", "back"]).aggregate(n=rows.n.sum())

    with pytest.raises(SourceError) as stopped:
        read("integer", f"{2**63 - 1}::bigint", query=lambda rows: summed(rows.union(rows)))
    assert not may_pass(stopped.value)


@pytest.mark.parametrize(
    "outage", [duckdb.IOException("gone"), psycopg.OperationalError("gone"), ConnectionError("gone"), OSError("gone")]
)
def test_an_outage_is_tried_again(outage: Exception) -> None:
    error = source_error(visits(name="n"), "the source cannot be read", outage)
    assert isinstance(error, SourceUnavailable)
    assert may_pass(error)
    assert str(error) == "the source cannot be read: gone"
