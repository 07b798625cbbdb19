"""A rule means the same to datacontract-cli, the standard's own checker, as to Groundwork."""

import copy
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import pytest
import yaml
from groundwork.data.rules import REASONS, broken_by_window, stale, with_broken_rules
from groundwork.documents.contract.contract import Contract
from pilots import ROOT
from validators import python_tool

CLI = ("datacontract-cli[duckdb]==1.2.8",)
CREATE = """create table orders as select 'o-' || i as order_id, i as customer,
now()::timestamp - to_hours(1) - to_minutes(i::int) as ordered_at, 'DE' as country, i::double as amount,
true as express, 2.5 as kilograms, false as returned from range(1, 11) t(i)"""
COUNTRY, AMOUNT, CUSTOMER = (f"schema.0.properties.{place}" for place in (3, 4, 1))


class Case(NamedTuple):
    """A rule in the contract, and what is done to ten sound rows."""

    path: str
    value: Any
    change: str
    broken: bool
    to_the_cli: bool | None = None  # where it is of another opinion


def options(place: str, **limits: Any) -> tuple[str, Any]:
    return f"{place}.logicalTypeOptions", limits


def sql(query: str, **bound: Any) -> tuple[str, Any]:
    return "schema.0.quality", [{"name": "the rule", "type": "sql", "query": query} | bound]


def counted(condition: str) -> tuple[str, Any]:
    return sql(f"SELECT COUNT(*) FROM ${{object}} WHERE {condition}", mustBe=0)


def put(column: str, value: str) -> str:
    return f"update orders set {column} = {value} where customer = 3"


REQUIRED, UNIQUE = (f"{COUNTRY}.required", True), (f"{CUSTOMER}.unique", True)
VALID = (
    f"{COUNTRY}.quality",
    [{"metric": "invalidValues", "arguments": {"validValues": ["DE", "FR"]}, "mustBe": 0}],
)
ENUM = (f"{COUNTRY}.enum", [{"value": "DE"}, {"value": "FR"}])
ROWS = ("schema.0.quality", [{"metric": "rowCount", "mustBeBetween": [8, 12]}])
FRESH = ("slaProperties", [{"property": "freshness", "value": 2, "unit": "h", "element": "orders.ordered_at"}])
MORE = (
    "insert into orders select order_id || '-' || i, customer + i, ordered_at, country, amount, express, kilograms, "
    "returned from orders, range(100, 103) t(i)"
)

CASES = [
    Case("name", "Orders", put("country", "'FR'"), broken=False),
    Case("name", "Orders", put("order_id", "NULL"), broken=True),
    Case("name", "Orders", put("order_id", "'o-4'"), broken=True),
    Case("name", "Orders", put("ordered_at", "NULL"), broken=True),
    Case("name", "Orders", put("amount", "-1"), broken=True),
    Case("name", "Orders", put("returned", "NULL"), broken=False),
    Case(*REQUIRED, put("country", "NULL"), broken=True),
    Case(*REQUIRED, put("country", "''"), broken=False),
    Case(*UNIQUE, put("customer", "4"), broken=True),
    Case(*options(AMOUNT, minimum=1, maximum=10), put("amount", "10"), broken=False),
    Case(*options(AMOUNT, minimum=1, maximum=10), put("amount", "10.5"), broken=True),
    Case(*options(AMOUNT, minimum=1, maximum=10), put("amount", "0.5"), broken=True),
    Case(*options(COUNTRY, minLength=2, maxLength=3), put("country", "'äöü'"), broken=False),
    Case(*options(COUNTRY, minLength=2, maxLength=3), put("country", "'DEUT'"), broken=True),
    Case(*options(COUNTRY, minLength=2, maxLength=3), put("country", "'D'"), broken=True),
    Case(*options(COUNTRY, minLength=2, maxLength=3), put("country", "NULL"), broken=False),
    Case(*options(COUNTRY, pattern="^[A-Z]{2}$"), put("country", "'FR'"), broken=False),
    Case(*options(COUNTRY, pattern="^[A-Z]{2}$"), put("country", "'fr'"), broken=True),
    Case(*options(COUNTRY, pattern="^[A-Z]{2}$"), put("country", "NULL"), broken=False),
    Case(*options(COUNTRY, pattern="E"), put("country", "'DE'"), broken=False),
    Case(*VALID, put("country", "'FR'"), broken=False),
    Case(*VALID, put("country", "'IT'"), broken=True),
    Case(*VALID, put("country", "NULL"), broken=False),
    Case(*ENUM, put("country", "'FR'"), broken=False),
    Case(*ENUM, put("country", "'IT'"), broken=True),
    Case(*ENUM, put("country", "NULL"), broken=False),
    Case(*counted("amount > 10"), put("amount", "11"), broken=True),
    Case(*counted("amount > 10"), put("amount", "10"), broken=False),
    Case(*counted("country <> 'DE'"), put("country", "NULL"), broken=False),
    Case(*counted("NOT (country = 'DE' AND amount BETWEEN 1 AND 10)"), put("amount", "11"), broken=True),
    Case(*counted("country IN ('FR', 'IT') OR country IS NULL"), put("country", "NULL"), broken=True),
    Case(*counted("LENGTH(country) <> 2"), put("country", "'DEU'"), broken=True),
    Case(*counted("ABS(amount) / customer > 1"), put("amount", "4"), broken=True),
    Case(*counted("customer / 2 = 1"), put("country", "'DE'"), broken=True),
    # Divided by zero: no value here, in any engine; infinity in DuckDB.
    Case(*counted("amount / (customer - 3) > 9"), put("country", "'DE'"), broken=False, to_the_cli=True),
    Case(*sql("SELECT AVG(amount) FROM ${object}", mustBeBetween=[5, 6]), put("amount", "5"), broken=False),
    Case(*sql("SELECT AVG(amount) FROM ${object}", mustBeBetween=[5, 6]), put("amount", "30"), broken=True),
    Case(*sql("SELECT MAX(amount) FROM ${object}", mustBeLessThan=10.5), put("amount", "10.5"), broken=True),
    Case(*sql("SELECT SUM(amount) FROM ${object}", mustBeGreaterOrEqualTo=55), put("amount", "2"), broken=True),
    Case(*sql("SELECT COUNT(DISTINCT country) FROM ${object}", mustBe=1), put("country", "'FR'"), broken=True),
    Case(*sql("SELECT COUNT(country) FROM ${object}", mustNotBe=9), put("country", "NULL"), broken=True),
    Case(*sql("SELECT COUNT(*) FROM ${object}", mustNotBeBetween=[9, 11]), put("country", "NULL"), broken=True),
    Case(*sql("SELECT COUNT(*) FROM ${object}", mustNotBeBetween=[11, 12]), put("country", "NULL"), broken=False),
    Case(*ROWS, put("country", "NULL"), broken=False),
    Case(*ROWS, MORE, broken=True),
    Case(*ROWS, "delete from orders where customer > 5", broken=True),
    Case(*FRESH, put("country", "NULL"), broken=False),
    Case(*FRESH, "update orders set ordered_at = ordered_at - interval 3 hour", broken=True),
]  # fmt: skip

JUDGE = """
import json, sys
from pathlib import Path
from datacontract.data_contract import DataContract

for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
    run = DataContract(data_contract_file=str(file)).test()
    seen = [f"{check.name}: {check.result}: {check.reason}" for check in run.checks if check.result != "passed"]
    print("JUDGED " + json.dumps([file.stem, run.result.value, seen]))
"""


def contract_of(case: Case, database: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "tests/orders/contract.yaml").read_text(encoding="utf-8"))
    content |= {
        "apiVersion": "v3.2.0",
        "servers": [{"server": "here", "type": "duckdb", "database": str(database), "schema": "main"}],
    }
    content["schema"][0]["quality"] = []
    part: Any = content
    *steps, last = [int(step) if step.isdigit() else step for step in case.path.split(".")]
    for step in steps:
        part = part[step]
    part[last] = copy.deepcopy(case.value)
    return content


def broken_here(contract: Contract, database: Path) -> list[str]:
    engine = ibis.duckdb.connect(str(database))
    rows = with_broken_rules(engine.table("orders"), contract.dataset)
    found = [row[REASONS] for row in rows.to_pyarrow().to_pylist() if row[REASONS]]
    found += broken_by_window(rows.filter(rows[REASONS].isnull()), contract.dataset, growing=False)
    found += stale(engine.table("orders"), contract, datetime.now(UTC))
    engine.disconnect()
    return found


@pytest.mark.soak
def test_datacontract_cli_finds_the_same_rows_and_windows_broken(tmp_path: Path) -> None:
    import duckdb

    expected: dict[str, Case] = {}
    for number, case in enumerate(CASES):
        database = tmp_path / f"{number:02}.duckdb"
        with duckdb.connect() as engine:  # datacontract-cli brings an older DuckDB
            engine.execute(f"attach '{database}' as old (storage_version 'v1.0.0')")
            engine.execute("use old; set timezone = 'UTC'")
            engine.execute(CREATE)
            engine.execute(case.change)
        text = yaml.safe_dump(contract_of(case, database), sort_keys=False)
        database.with_suffix(".yaml").write_text(text, encoding="utf-8")
        contract = Contract.parse(text, "contract.yaml")
        assert contract.left_alone == []
        found = broken_here(contract, database)
        assert bool(found) == case.broken, (case, found)
        expected[database.stem] = case
    (tmp_path / "judge.py").write_text(JUDGE, encoding="utf-8")
    said = python_tool(CLI, "python", tmp_path / "judge.py", tmp_path, folder=tmp_path)
    judged = [json.loads(line.removeprefix("JUDGED ")) for line in said.splitlines() if line.startswith("JUDGED ")]
    assert len(judged) == len(CASES)
    wrong = []
    for stem, result, seen in judged:
        case = expected[stem]
        broken = case.broken if case.to_the_cli is None else case.to_the_cli
        if result != ("failed" if broken else "passed"):
            wrong.append((case, result, seen))
    assert wrong == []
