"""Ingest lets in what fits the contract, keeps the rest with its reasons, and ends in the same table every time."""

import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import ibis
import pytest
from deltalake import DeltaTable
from groundwork.core.errors import ContractBreach, NotEnoughData, SourceError
from groundwork.core.windows import Window, local_time
from groundwork.data.rules import REASONS
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from use_case import source

JANUARY = Window(datetime(2013, 1, 1), datetime(2013, 2, 1))
FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))

# What befalls a flight in the operational system, and the reason that quarantine gives for it.
MISFORTUNES = [
    ("distance = 5", "distance_miles: is below 10"),
    ("distance = 7000", "distance_miles: is above 6000"),
    ("distance = 'inf'", "distance_miles: is above 6000; distance_miles: is not a finite number"),
    ("distance = 'nan'", "distance_miles: is above 6000; distance_miles: is not a finite number"),
    ("distance = null", "distance_miles: is missing"),
    ("sched_dep_time = 2500", "departure_minute: is above 1439"),
    ("sched_arr_time = -100", "arrival_minute: is below 0"),
    ("origin = 'LHR'", "origin: is none of EWR, JFK, LGA"),
    ("dest = 'Bos'", "destination: does not match ^[A-Z]{3}$"),
    ("dest = null", "destination: is missing"),
    ("flight = null", "flight_id: is missing"),
    ("carrier = 'AVERYLONGNAMEOFANAIRLINE'", "flight_id: is longer than 40; carrier: does not match ^[0-9A-Z]{2}$"),
]
JUST_RIGHT = ["distance = 10", "distance = 6000", "sched_dep_time = 2359", "sched_arr_time = 0", "arr_delay = null"]


def snapshots(pilot: Pilot) -> Snapshots:
    return Snapshots(pilot.snapshots, pilot.contract.dataset)


def quarantine(pilot: Pilot) -> list[dict]:
    return Snapshots(pilot.quarantine, pilot.contract.dataset).read().to_pylist()


def test_every_kind_of_broken_row_is_quarantined_with_its_reason(new_pilot: Pilot, sql: Callable) -> None:
    """One flight of a day for each misfortune, and some that just pass."""
    when = "month = 1 and day = 2 and rank = {}"
    sql(
        new_pilot,
        "alter table flights alter distance type double",
        "alter table flights add column rank bigint",
        "update flights set rank = r from (select rowid as id, row_number() over (order by carrier, flight, origin) r"
        " from flights where month = 1 and day = 2) where flights.rowid = id",
        *(f"update flights set {change} where {when.format(rank + 1)}" for rank, (change, _) in enumerate(MISFORTUNES)),
        *(f"update flights set {change} where {when.format(rank + 101)}" for rank, change in enumerate(JUST_RIGHT)),
        f"insert into flights from flights where {when.format(200)}",
        f"update flights set hour = 23 where {when.format(200)} and rowid = (select max(rowid) from flights)",
    )
    [(total,)] = sql(new_pilot, "select count(*) from flights where month = 1")
    [done] = by_hand.ingest(Pilot.here(), *JANUARY)
    expected = sorted([*(reason for _, reason in MISFORTUNES), "flight_id: is there already"])
    assert sorted(row[REASONS] for row in quarantine(new_pilot)) == expected
    assert (done.rows_in, done.rows_quarantined) == (total, len(expected))
    let_in = snapshots(new_pilot).read()
    assert let_in.num_rows == total - len(expected)
    assert len(set(let_in["flight_id"].to_pylist())) == let_in.num_rows


@pytest.mark.parametrize("share", ["rowid % 10 = 0", "true"])
def test_too_many_broken_rows_change_nothing_but_the_quarantine(share: str, pilot_copy: Pilot, sql: Callable) -> None:
    champion, version = Registry(pilot_copy).champion(), snapshots(pilot_copy).version
    sql(pilot_copy, f"update flights set origin = 'LHR' where {share}")
    with pytest.raises(ContractBreach) as stopped:
        by_hand.ingest(Pilot.here())
    said = str(stopped.value)
    assert "at most 5% are tolerated (maxQuarantinedShare). Most frequent: origin: is none of EWR, JFK, LGA" in said
    assert "Grace Hopper (@grace) answers for the data set flights" in said
    assert snapshots(pilot_copy).version == version
    assert Registry(pilot_copy).champion() == champion
    assert {row["origin"] for row in quarantine(pilot_copy)} == {"LHR"}
    [failed] = Store(pilot_copy.settings.store).runs.latest(succeeded=False)
    assert (failed.flow, failed.message.startswith("ContractBreach: ")) == ("ingest", True)


@pytest.mark.parametrize("change", ["origin = 'LHR'", "distance = 4000"])
def test_a_window_that_breaks_the_contract_keeps_no_other_out(change: str, new_pilot: Pilot, sql: Callable) -> None:
    """By its rows or as a whole; it is told, and read again until it is right."""
    sql(new_pilot, "create table before as from flights", f"update flights set {change} where month = 1")
    with pytest.raises(ContractBreach) as stopped:
        by_hand.ingest(Pilot.here())
    said = str(stopped.value)
    assert "2013-01-01 to 2013-01-31" in said
    assert "The other windows were let in (1)." in said
    assert said.count("answers for the data set") == 1
    assert snapshots(new_pilot).newest() > FEBRUARY.start
    assert not snapshots(new_pilot).read(*JANUARY).num_rows
    with pytest.raises(ContractBreach):
        by_hand.ingest(Pilot.here())
    sql(new_pilot, "drop table flights", "alter table before rename to flights")
    assert {JANUARY} <= {done.window for done in by_hand.ingest(Pilot.here())}
    assert snapshots(new_pilot).read(*JANUARY).num_rows


def later(sql: Callable, pilot: Pilot, at: datetime) -> None:
    """Add a flight at that time."""
    sql(
        pilot,
        "insert into flights select * replace (1000 as distance, 9999 as flight, 12 as hour, 1200 as sched_dep_time, "
        f"{at.year} as year, {at.month} as month, {at.day} as day) from flights limit 1",
    )


def test_a_row_of_a_wrong_year_is_told_and_not_read(new_pilot: Pilot, sql: Callable, set_in: Callable) -> None:
    later(sql, new_pilot, datetime(2146, 1, 5))
    done = by_hand.ingest(Pilot.here())
    assert [(str(each.window), each.rows_ahead) for each in done[-2:]] == [
        ("2013-02-01 to 2013-02-28", 0),
        ("2146-01-05 to 2146-01-05", 1),
    ]
    assert snapshots(new_pilot).read(start=FEBRUARY.end).num_rows == 0
    with Store(new_pilot.settings.store) as store:
        [run] = store.runs.latest(succeeded=True)
    assert run.message.startswith(
        "rows not read: 1, with a scheduled_departure of 2146-01-05 to 2146-01-05; contract.yaml allows it up to 20"
    )
    sql(new_pilot, "update flights set year = 2046 where year = 2146")  # within a hundred years
    set_in(
        new_pilot.settings.home / "contract.yaml",
        "schema.0.customProperties",
        [{"property": "maxDaysAhead", "value": 36_500}],
    )
    assert str(by_hand.ingest(Pilot.here())[-1].window) == "2046-01-01 to 2046-01-31"


def test_a_departure_of_tomorrow_is_read_and_one_of_the_day_after_waits(new_pilot: Pilot, sql: Callable) -> None:
    today = local_time(datetime.now(UTC), new_pilot.contract.dataset.zone)
    for days in (1, 2):
        later(sql, new_pilot, today + timedelta(days=days))
    assert sum(done.rows_ahead for done in by_hand.ingest(Pilot.here())) == 1
    newest = snapshots(new_pilot).newest()
    assert newest is not None
    assert newest.date() == (today + timedelta(days=1)).date()


def test_rows_that_were_mended_leave_quarantine(new_pilot: Pilot, sql: Callable) -> None:
    sql(new_pilot, "update flights set origin = 'jfk' where origin = 'JFK' and month = 2 and flight < 50")
    assert by_hand.ingest(Pilot.here())[-1].rows_quarantined == len(quarantine(new_pilot)) > 0
    sql(new_pilot, "update flights set origin = 'JFK' where origin = 'jfk'")
    assert by_hand.ingest(Pilot.here())[-1].rows_quarantined == len(quarantine(new_pilot)) == 0


def test_a_window_opens_the_table_once(new_pilot: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time, Delta Lake reads the table's whole log, which has an entry per window."""
    opened = []

    class Counted(DeltaTable):
        def __init__(self, *arguments: object, **options: object) -> None:
            opened.append(arguments)
            super().__init__(*arguments, **options)

    monkeypatch.setattr("groundwork.data.snapshots.DeltaTable", Counted)
    set_in(new_pilot.settings.home / "charter.yaml", "monitoring.window", "day")
    windows = len(by_hand.ingest(Pilot.here(), *JANUARY))
    assert windows == 31
    assert windows - 1 <= len(opened) < 1.5 * windows


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: rows.drop("carrier"), "carrier: the contract has this column, but the source does not"),
        (lambda rows: rows.rename(airline="carrier"), "carrier: the contract has this column, but the source does not"),
        (lambda rows: rows.mutate(carrier=7), "carrier: is string in the contract, but int8 in the source"),
        (
            lambda rows: rows.mutate(weekday=rows.weekday.cast("string")),
            "weekday: is integer in the contract, but string in the source",
        ),
        (
            lambda rows: rows.mutate(scheduled_departure=rows.scheduled_departure.cast("string")),
            "scheduled_departure: is timestamp in the contract, but string in the source",
        ),
    ],
)
def test_columns_that_do_not_fit_the_contract_are_named(
    change: Callable[[ibis.Table], ibis.Table], message: str, new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "rows", lambda *window, original=source.rows: change(original(*window)))
    with pytest.raises(SourceError) as stopped:
        by_hand.ingest(Pilot.here(), *JANUARY)
    assert message in str(stopped.value)
    assert "Grace Hopper (@grace) answers for the data set flights" in str(stopped.value)
    assert not snapshots(new_pilot).exists


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (lambda rows: None, "src/use_case/source.py: rows() returns NoneType: return an Ibis table"),
        (lambda rows: rows.limit(3).to_pyarrow(), "src/use_case/source.py: rows() returns Table: return an Ibis table"),
        (lambda rows: rows.carrier, "src/use_case/source.py: rows() returns StringColumn: return an Ibis table"),
    ],
)
def test_what_is_no_expression_is_refused(
    returned: Callable[[ibis.Table], object], message: str, new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "rows", lambda *window, original=source.rows: returned(original(*window)))
    with pytest.raises(SourceError) as stopped:
        by_hand.ingest(Pilot.here(), *JANUARY)
    assert str(stopped.value).startswith(message)


def test_rows_outside_the_window_are_not_lost_without_a_word(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "rows", lambda backend, *_, all_rows=source.rows: all_rows(backend, *JANUARY))
    with pytest.raises(SourceError, match="rows whose scheduled_departure is not in 2013-02-01 to 2013-02-28"):
        by_hand.ingest(Pilot.here(), *FEBRUARY)
    assert not snapshots(new_pilot).exists


def test_windows_that_follow_each_other_are_read_in_one_scan(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(
        source, "rows", lambda *window, original=source.rows: asked.append(window[1:]) or original(*window)
    )
    by_hand.ingest(Pilot.here(), JANUARY.start, FEBRUARY.end)
    assert asked.count((JANUARY.start, FEBRUARY.end)) == 1
    assert JANUARY not in asked
    assert FEBRUARY not in asked


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("alter table flights rename dest to destination", "dest"),
        ("alter table flights drop carrier", "carrier"),
        ("alter table flights rename to departures", "flights"),
        ("alter table flights alter distance type varchar using 'far'", "far"),
    ],
)
def test_a_changed_operational_system_is_said_to_be_the_cause(
    change: str, named: str, new_pilot: Pilot, sql: Callable
) -> None:
    sql(new_pilot, change)
    with pytest.raises(SourceError, match=named):
        by_hand.ingest(Pilot.here(), *JANUARY)


@pytest.mark.parametrize("url", ["duckdb:///nowhere/at/all.duckdb", "no-such-system://host/db", "garbage"])
def test_a_source_that_cannot_be_reached_is_named(url: str, new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROUNDWORK_SOURCE_URL", url)
    with pytest.raises(SourceError, match=f"the source {url} cannot be opened"):
        by_hand.ingest(Pilot.here())


def test_windows_without_rows(pilot_copy: Pilot, sql: Callable) -> None:
    """They change nothing, and a run that finds only such says so."""
    version = snapshots(pilot_copy).version
    with pytest.raises(NotEnoughData, match="has no rows from 2020-01-01"):
        by_hand.ingest(Pilot.here(), datetime(2020, 1, 1), datetime(2020, 2, 1))
    sql(pilot_copy, "delete from flights")
    with pytest.raises(NotEnoughData, match="has no rows yet"):
        by_hand.ingest(Pilot.here())
    assert snapshots(pilot_copy).version == version


def test_a_window_that_the_source_has_no_more_is_told_and_kept(pilot_copy: Pilot, sql: Callable) -> None:
    before = snapshots(pilot_copy).read()
    sql(pilot_copy, "delete from flights where month = 1")
    assert [(done.window, done.rows_in > 0) for done in by_hand.ingest(Pilot.here())] == [
        (FEBRUARY, True),
        (JANUARY, False),
    ]
    assert snapshots(pilot_copy).read().equals(before)
    with Store(pilot_copy.settings.store) as store:
        message = {run.flow: run.message for run in store.runs.latest(succeeded=True)}["ingest"]
    assert message == (
        "the source has no rows any more for 2013-01-01 to 2013-01-31: the snapshots keep the rows they have"
    )


@pytest.mark.parametrize("kind", ["integer", "decimal(9, 2)"])
def test_a_number_need_not_be_a_float_in_the_source(kind: str, plain: Pilot, sql: Callable) -> None:
    sql(plain, "insert into rows from all_rows", f"alter table rows alter distance_miles type {kind}")
    by_hand.ingest(Pilot.here())
    [(total,)] = sql(plain, "select sum(distance_miles)::bigint from rows")
    assert sum(snapshots(plain).read()["distance_miles"].to_pylist()) == total


def test_ingesting_again_changes_nothing(pilot_copy: Pilot) -> None:
    version, table = snapshots(pilot_copy).version, snapshots(pilot_copy).read()
    by_hand.ingest(Pilot.here())
    by_hand.ingest(Pilot.here(), JANUARY.start, FEBRUARY.end)
    assert snapshots(pilot_copy).version == version
    assert snapshots(pilot_copy).read().equals(table)


def test_the_newest_window_is_read_again_as_it_grows(new_pilot: Pilot, sql: Callable) -> None:
    """And outcomes that became known since take their place."""
    sql(
        new_pilot,
        "create table later as from flights where month = 2 and day > 3",
        "delete from flights where month = 2 and day > 3",
        "update flights set arr_delay = null where month = 2 and day = 3",
    )
    assert [done.window for done in by_hand.ingest(Pilot.here())] == [JANUARY, FEBRUARY]
    early = snapshots(new_pilot).read(*FEBRUARY)
    sql(new_pilot, "insert into flights from later", "update flights set arr_delay = 60 where month = 2 and day = 3")
    assert [done.window for done in by_hand.ingest(Pilot.here())] == [FEBRUARY]
    late = snapshots(new_pilot).read(*FEBRUARY)
    assert late.num_rows > early.num_rows
    third = [row["late"] for row in late.to_pylist() if row["flight_id"].startswith("20130203")]
    assert set(third) == {True}


KILLED_HALFWAY = """
import os, signal
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand

replace, commits = Snapshots.replace, 0

def replace_once(self, *window):
    global commits
    if commits:
        os.kill(os.getpid(), signal.SIGKILL)
    commits += 1
    return replace(self, *window)

Snapshots.replace = replace_once
by_hand.ingest(Pilot.here())
"""


def test_a_run_that_was_killed_and_is_run_again_ends_in_the_same_table(pilot: Pilot, new_pilot: Pilot) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED_HALFWAY], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert snapshots(new_pilot).newest() < FEBRUARY.start
    by_hand.ingest(Pilot.here())
    assert snapshots(new_pilot).read().equals(snapshots(pilot).read())
