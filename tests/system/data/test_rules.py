"""The rules of contract.yaml over several columns and whole windows, in every engine and in an ingest."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import ibis
import msgspec
import pytest
from groundwork.core.errors import ContractBreach, GroundworkError
from groundwork.core.windows import Window
from groundwork.data.ingest import check_freshness
from groundwork.data.rules import REASONS, with_broken_rules
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from groundwork.service.request_schema import BadRequest, RequestReader
from groundwork.store.database import Store
from pilots import visits

JANUARY = Window(datetime(2013, 1, 1), datetime(2013, 2, 1))
FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))
DATASET = "schema.0.quality"


def rule(query: str, **bounds: Any) -> dict[str, Any]:
    return {"name": "the rule", "type": "sql", "query": query} | bounds


def counted(condition: str) -> dict[str, Any]:
    return rule(f"SELECT COUNT(*) FROM ${{object}} WHERE {condition}", mustBe=0)


HELD = visits(name="age", required=True, logicalTypeOptions={"minimum": 0, "maximum": 100})


@pytest.mark.parametrize("engine", ["duckdb", "postgresql", "sqlite"], indirect=True)
def test_a_row_breaks_the_same_rules_in_every_engine(engine: Any) -> None:
    """Of rows that share a key the earliest sound one is let in; a broken one has all its reasons."""
    ages = [("a", -5), ("a", 5), ("a", 6), ("b", None), ("c", 500), ("d", 100)]
    rows = [
        {"id": key, "at": datetime(2013, 1, 1 + row), "age": age, "back": None} for row, (key, age) in enumerate(ages)
    ]
    types = {"id": "string", "at": "timestamp", "age": "int64", "back": "bool"}
    table = engine.create_table("held", ibis.memtable(rows, schema=types).to_pyarrow(), temp=True)
    found = with_broken_rules(table, HELD).order_by("at").to_pyarrow()
    assert found[REASONS].to_pylist() == [
        "age: is below 0; id: is there already",
        None,
        "id: is there already",
        "age: is missing",
        "age: is above 100",
        None,
    ]


def promised(pilot: Pilot, set_in: Callable, *levels: dict[str, Any]) -> None:
    set_in(pilot.settings.home / "contract.yaml", "slaProperties", list(levels))


def test_rows_that_break_a_rule_over_columns_are_quarantined_with_it(
    new_pilot: Pilot, sql: Callable, set_in: Callable
) -> None:
    """One whose values are missing breaks the rule that they are there, and no other."""
    sql(
        new_pilot,
        "update flights set dest = origin where month = 1 and day = 2 and flight < 10",
        "update flights set dest = null where month = 1 and day = 2 and flight between 10 and 20",
    )
    by_hand.ingest(Pilot.here(), *JANUARY)
    rows = Snapshots(new_pilot.quarantine, new_pilot.contract.dataset).read()
    assert set(rows[REASONS].to_pylist()) == {
        "flights: breaks the rule: a flight leaves for another airport",
        "destination: is missing",
    }


def test_a_request_that_breaks_a_rule_over_columns_is_refused(new_pilot: Pilot, set_in: Callable) -> None:
    """A rule that needs the outcome holds for tables alone."""
    set_in(
        new_pilot.settings.home / "contract.yaml",
        DATASET,
        [counted("origin = destination"), counted("late AND departure_minute < 0")],
    )
    reader = RequestReader(new_pilot.contract, max_records=10)
    [sound] = reader.example["records"]
    assert len(reader.read(msgspec.json.encode({"records": [sound]}))) == 1
    broken = sound | {"destination": sound["origin"]}
    with pytest.raises(BadRequest) as refused:
        reader.read(msgspec.json.encode({"records": [sound, broken]}))
    assert str(refused.value) == "Breaks the rule: the rule - at `$.records[1]`"


@pytest.mark.parametrize(
    ("quality", "found"),
    [
        ({"metric": "rowCount", "mustBeGreaterOrEqualTo": 9_000}, "rowCount is {rows:,}, and must be at least 9,000"),
        ({"metric": "rowCount", "mustBeBetween": [1, 2]}, "rowCount is {rows:,}, and must be from 1 to 2"),
        ({"metric": "rowCount", "mustBeLessThan": 2}, "rowCount is {rows:,}, and must be less than 2"),
        (rule("SELECT MIN(distance_miles) FROM ${object}", mustBe=5), "the rule is 80, and must be exactly 5"),
        (
            rule("SELECT COUNT(*) FROM ${object} WHERE distance_miles > 0", mustBeLessThan=2),
            "the rule is {rows:,}, and must be less than 2",
        ),
        (
            rule("SELECT COUNT(DISTINCT carrier) / COUNT(*) FROM ${object}", mustBeGreaterThan=1),
            "and must be more than 1",
        ),
    ],
)
def test_a_figure_out_of_bounds_stops_the_ingest(
    quality: dict[str, Any], found: str, new_pilot: Pilot, sql: Callable, set_in: Callable
) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", DATASET, [quality])
    [(rows,)] = sql(new_pilot, "select count(*) from flights where month = 1")
    with pytest.raises(ContractBreach) as stopped:
        by_hand.ingest(Pilot.here(), *JANUARY)
    said = str(stopped.value)
    assert "2013-01-01 to 2013-01-31 as a whole breaks contract.yaml: flights: " in said
    assert found.format(rows=rows) in said
    assert "Grace Hopper (@grace) answers for the data set flights" in said
    assert not Snapshots(new_pilot.snapshots, new_pilot.contract.dataset).exists


def test_the_newest_window_may_still_grow(new_pilot: Pilot, sql: Callable, set_in: Callable) -> None:
    """It need not have all its rows yet; a window that others follow must, and may not be empty."""
    set_in(
        new_pilot.settings.home / "contract.yaml", DATASET, [{"metric": "rowCount", "mustBeBetween": [5_000, 10_000]}]
    )
    sql(new_pilot, "delete from flights where month = 2 and day > 2")
    assert [done.window for done in by_hand.ingest(Pilot.here())] == [JANUARY, FEBRUARY]
    sql(new_pilot, "delete from flights where month = 1")
    with pytest.raises(ContractBreach, match=r"2013-01-01 to 2013-01-31 .* rowCount is 0, and must be from 5,000"):
        by_hand.ingest(Pilot.here(), JANUARY.start, FEBRUARY.end)


def test_data_that_is_too_old_fails_the_ingest(new_pilot: Pilot, set_in: Callable) -> None:
    """What there is comes in all the same, and whoever asks for old days gets them."""
    promised(
        new_pilot, set_in, {"property": "freshness", "value": 2, "unit": "d"}, {"property": "retention", "value": "1 y"}
    )
    with pytest.raises(ContractBreach) as stopped:
        by_hand.ingest(Pilot.here())
    said = str(stopped.value)
    assert "scheduled_departure: freshness: must not be older than 2 d, but the newest row is of 2013-02-07" in said
    assert "Grace Hopper (@grace) answers for the data set flights" in said
    newest = Snapshots(new_pilot.snapshots, new_pilot.contract.dataset).newest()
    assert newest is not None
    with Store(new_pilot.settings.store) as store:
        assert [run.flow for run in store.runs.latest(succeeded=False)] == ["ingest"]
    by_hand.ingest(Pilot.here(), JANUARY.start, FEBRUARY.end)
    with connected(new_pilot) as backend:
        read_at = newest.replace(tzinfo=new_pilot.contract.dataset.zone) + timedelta(days=2)
        check_freshness(backend, new_pilot, read_at)
        with pytest.raises(ContractBreach):
            check_freshness(backend, new_pilot, read_at + timedelta(minutes=1))


def test_a_row_of_the_future_does_not_make_old_data_fresh(new_pilot: Pilot, set_in: Callable, sql: Callable) -> None:
    promised(new_pilot, set_in, {"property": "freshness", "value": 48, "unit": "h"})
    sql(new_pilot, "insert into flights select * replace (2099 as year) from flights limit 1")
    with connected(new_pilot) as backend, pytest.raises(ContractBreach, match="the newest row is of 2013-02-07"):
        check_freshness(backend, new_pilot, datetime(2013, 3, 1, tzinfo=UTC))


# What a person upstream may do to the table, and what the ingest says of it.
CHANGES = {
    "a renamed column": (
        ["alter table flights rename carrier to airline"],
        "rows() cannot build its query on the source: 'Table' object has no attribute 'carrier'",
    ),
    "another type": (
        ["alter table flights alter distance type varchar using 'far'"],
        "far",
    ),
    "kilometres instead of miles": (
        ["alter table flights alter distance type double", "update flights set distance = distance * 1.609"],
        "flights: mean distance is 1,",
    ),
    "hours instead of minutes": (
        ["update flights set sched_dep_time = hour", "update flights set minute = 0"],
        "departure_minute: mean departure is 13.",
    ),
    "a new category": (
        ["update flights set origin = 'HPN' where rowid % 4 = 0"],
        "Most frequent: origin: is none of EWR, JFK, LGA",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_upstream_stops_the_ingest_and_says_what_it_is(change: str, pilot_copy: Pilot, sql: Callable) -> None:
    """Nothing is let in, so the next training has the data that was sound."""
    statements, said = CHANGES[change]
    before = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset).version
    sql(pilot_copy, *statements)
    with pytest.raises(GroundworkError) as stopped:
        by_hand.ingest(Pilot.here())
    assert said in str(stopped.value)
    assert Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset).version == before


def test_a_column_can_be_unique_without_being_the_key() -> None:
    """Then missing values are not copies of each other."""
    dataset = visits(name="badge", unique=True)
    moments = [datetime(2013, 1, day) for day in range(1, 6)]
    rows = ibis.memtable(
        {"id": list("abcde"), "at": moments, "badge": [1, 1, 2, None, None], "back": [None, True, None, None, None]}
    )
    found = with_broken_rules(rows, dataset).order_by("id").to_pyarrow()
    assert found[REASONS].to_pylist() == [None, "badge: is there already", None, None, None]


def test_limits_of_large_integers_are_exact(engine: Any) -> None:
    """As floating-point numbers, they would admit the neighbours."""
    only = 2**53 + 1
    dataset = visits(name="n", logicalTypeOptions={"minimum": only, "maximum": only})
    values = " union all ".join(
        f"select '{number}' as id, timestamp '2026-01-05' as at, {only + number}::bigint as n, true as back"
        for number in (-1, 0, 1)
    )
    engine.raw_sql("drop table if exists visits")
    engine.raw_sql(f"create table visits as {values}")
    rows = with_broken_rules(engine.table("visits"), dataset).order_by("n").to_pyarrow()
    assert rows[REASONS].to_pylist() == [f"n: is below {only}", None, f"n: is above {only}"]
