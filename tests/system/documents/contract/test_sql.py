"""A rule in SQL means the same in every engine, and in a request."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import ibis
import pytest
from groundwork.documents.contract.sql import parse

SUBSET = (("low", "number"), ("high", "number"), ("name", "string"), ("sure", "boolean"), ("at", "timestamp"))


ROWS = [
    {"low": 1.0, "high": 2.0, "name": "ab", "sure": True, "at": datetime(2013, 1, 1)},
    {"low": 3.0, "high": 2.0, "name": "b", "sure": False, "at": datetime(2013, 1, 2)},
    {"low": None, "high": 0.0, "name": None, "sure": None, "at": None},
    {"low": 0.0, "high": None, "name": "", "sure": True, "at": datetime(2013, 1, 3)},
    {"low": -4.0, "high": 0.0, "name": "ab", "sure": None, "at": None},
]


# A condition, and for each of the rows whether it is met; None where nobody can tell.
CONDITIONS: list[tuple[str, list[bool | None]]] = [
    ("low > high", [False, True, None, None, False]),
    ("low > high OR sure", [True, True, None, True, None]),
    ("low > high AND NOT sure", [False, True, None, False, False]),
    ("NOT (low <= high)", [False, True, None, None, False]),
    ("low + 1 = high * 1 - 0", [True, False, None, None, False]),
    ("low / high > 1", [False, True, None, None, None]),
    ("-low BETWEEN 1 AND 4", [False, False, None, False, True]),
    ("ABS(low) >= 3", [False, True, None, False, True]),
    ("name IN ('ab', 'c')", [True, False, None, False, True]),
    ("LENGTH(name) < 2 AND name <> ''", [False, True, None, False, False]),
    ("high IS NULL", [False, False, False, True, False]),
    ("high IS NOT NULL AND sure = TRUE", [True, False, None, False, None]),
    ("at >= at", [True, True, None, True, None]),
]


def test_a_condition_means_the_same_in_every_engine(engine: Any) -> None:
    types = {"row": "int64", "low": "float64", "high": "float64", "name": "string", "sure": "bool", "at": "timestamp"}
    rows = ibis.memtable([{"row": row} | values for row, values in enumerate(ROWS)], schema=types)
    table = engine.create_table("rules", rows.to_pyarrow(), temp=True)
    queries = [parse(f"select count(*) from t where {condition}", "t", SUBSET) for condition, _ in CONDITIONS]
    found = table.mutate(**{f"c{number}": query.met_by(table) for number, query in enumerate(queries)}).order_by("row")
    columns = found.to_pyarrow().to_pydict()
    for number, (condition, expected) in enumerate(CONDITIONS):
        assert columns[f"c{number}"] == expected, condition
    average = parse("select avg(low) / count(*) from t where high < 5", "t", SUBSET)
    assert average.evaluated(table).to_pyarrow().as_py() == pytest.approx(0)


@pytest.mark.parametrize("dialect", ["databricks", "snowflake", "bigquery", "trino"])
def test_every_condition_can_be_written_for_other_engines(dialect: str) -> None:
    """Written, not run: none of them is here. Databricks stands for Spark, whose own dialect needs Spark installed."""
    types = {"low": "float64", "high": "float64", "name": "string", "sure": "bool", "at": "timestamp"}
    table = ibis.table(types, name="t")
    for condition, _ in CONDITIONS:
        query = parse(f"select avg(low) / count(*) from t where {condition}", "t", SUBSET)
        assert ibis.to_sql(table.filter(query.met_by(table)), dialect=dialect)
        assert ibis.to_sql(query.evaluated(table), dialect=dialect)


@pytest.mark.parametrize(("condition", "expected"), CONDITIONS)
def test_a_condition_means_the_same_in_a_request(condition: str, expected: list[bool | None]) -> None:
    met = parse(f"SELECT COUNT(*) FROM t WHERE {condition}", "t", SUBSET).met()
    assert [met(SimpleNamespace(**row)) for row in ROWS] == expected
