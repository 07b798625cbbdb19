"""A key that stands in two windows is let in once: in the earliest of them, whichever came in first."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime

import pytest
from groundwork.core.windows import Window
from groundwork.data.quarantine import replay
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand

JANUARY, FEBRUARY, MARCH = (Window(datetime(2013, month, 1), datetime(2013, month + 1, 1)) for month in (1, 2, 3))
ARRIVES_IN = "insert into rows select * replace (timestamp '2013-{:02}-15' as scheduled_departure) from one"


@pytest.fixture
def twice(plain: Pilot, sql: Callable, set_in: Callable) -> Pilot:
    """All rows are ingested, but `one` of February has not arrived. Each run compares all, for any row may be late."""
    late = {"property": "latency", "value": 366, "unit": "d"}
    set_in(plain.settings.home / "contract.yaml", "slaProperties", [late])
    sql(
        plain,
        "create table one as from all_rows where month(scheduled_departure) = 2 order by flight_id limit 1",
        "insert into rows from all_rows where flight_id not in (select flight_id from one)",
    )
    by_hand.ingest(Pilot.here())
    return plain


def where(pilot: Pilot, sql: Callable) -> tuple[list[int], list[tuple[int, str]]]:
    """The months in which the row stands in the snapshots; those in quarantine, with the reasons."""
    dataset = pilot.contract.dataset
    [(key,)] = sql(pilot, "select flight_id from one")
    sound, broken = (
        [row for row in table.read().to_pylist() if row["flight_id"] == key] if table.exists else []
        for table in (Snapshots(path, dataset) for path in (pilot.snapshots, pilot.quarantine))
    )
    months = [row["scheduled_departure"].month for row in sound]
    return months, [(row["scheduled_departure"].month, row["broken_rules"]) for row in broken]


ALREADY = "flight_id: is there already"


def test_the_earliest_is_let_in_whichever_came_first(twice: Pilot, sql: Callable) -> None:
    """What came first and is later in time is read again, and taken out."""
    sql(twice, ARRIVES_IN.format(2))
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [FEBRUARY, MARCH]
    assert where(twice, sql) == ([2], [])
    sql(twice, ARRIVES_IN.format(3))
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [MARCH]
    assert where(twice, sql) == ([2], [(3, ALREADY)])
    sql(twice, ARRIVES_IN.format(1))
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [JANUARY, FEBRUARY, MARCH]
    assert where(twice, sql) == ([1], [(2, ALREADY), (3, ALREADY)])


def test_the_next_one_is_let_in_once_the_earliest_is_gone(twice: Pilot, sql: Callable) -> None:
    for month in (1, 2, 3):
        sql(twice, ARRIVES_IN.format(month))
    by_hand.ingest(Pilot.here())
    sql(twice, "delete from rows where scheduled_departure = '2013-01-15'")
    by_hand.ingest(Pilot.here())
    assert where(twice, sql) == ([2], [(3, ALREADY)])
    sql(twice, "delete from rows where scheduled_departure = '2013-02-15'")
    by_hand.ingest(Pilot.here())
    assert where(twice, sql) == ([3], [])
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [MARCH]  # nothing depends on anything any more


def test_a_backfill_takes_out_of_later_windows_what_it_brings(twice: Pilot, sql: Callable) -> None:
    sql(twice, ARRIVES_IN.format(3))
    by_hand.ingest(Pilot.here())
    sql(twice, ARRIVES_IN.format(1))
    assert [each.window for each in by_hand.ingest(Pilot.here(), *JANUARY)] == [JANUARY, MARCH]
    assert where(twice, sql) == ([1], [(3, ALREADY)])


def test_an_engine_that_tells_no_hashes_comes_to_the_same(
    twice: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("reading", "due"):
        monkeypatch.setattr(f"groundwork.data.{name}.can_hash", lambda backend: False)
    for month in (3, 1, 2):
        sql(twice, ARRIVES_IN.format(month))
        by_hand.ingest(Pilot.here())
    assert where(twice, sql) == ([1], [(2, ALREADY), (3, ALREADY)])


def test_another_unique_column_counts_as_the_key_does(twice: Pilot, sql: Callable, set_in: Callable) -> None:
    """And what is taken out for its key takes its other values along."""
    set_in(twice.settings.home / "contract.yaml", "schema.0.properties.9.unique", True)

    def arrives(key: str, month: int, share: float | None) -> str:
        return (
            f"insert into rows select * replace ({key} as flight_id, {share or 'null'} as origin_late_share_yesterday,"
            f" timestamp '2013-{month:02}-15' as scheduled_departure) from one"
        )

    sql(
        twice,
        "update rows set origin_late_share_yesterday = null",
        arrives("flight_id", 1, None),
        arrives("flight_id", 2, 0.5),
        arrives("'20130215-B6-1-JFK'", 2, 0.7),
        arrives("'20130315-B6-2-JFK'", 3, 0.5),
        arrives("'20130315-B6-3-JFK'", 3, 0.7),
    )
    for _ in range(2):
        by_hand.ingest(Pilot.here())
        assert where(twice, sql) == ([1], [(2, ALREADY)])
        dataset = twice.contract.dataset
        march = Snapshots(twice.snapshots, dataset).read(*MARCH)["flight_id"].to_pylist()
        assert {"20130315-B6-2-JFK", "20130315-B6-3-JFK"}.intersection(march) == {"20130315-B6-2-JFK"}
        [broken] = Snapshots(twice.quarantine, dataset).read(*MARCH).to_pylist()
        assert broken["broken_rules"] == "origin_late_share_yesterday: is there already"


def test_what_is_missing_is_no_copy(twice: Pilot, sql: Callable, set_in: Callable) -> None:
    """Not in another window either, where rows share their key."""
    set_in(twice.settings.home / "contract.yaml", "schema.0.properties.9.unique", True)
    sql(twice, "update one set origin_late_share_yesterday = null", *(ARRIVES_IN.format(month) for month in (1, 2)))
    sql(
        twice,
        "update rows set origin_late_share_yesterday = null",
        "insert into rows select * replace ('20130215-B6-1-JFK' as flight_id) from rows"
        " where flight_id in (select flight_id from one)",
    )
    by_hand.ingest(Pilot.here())
    january = Snapshots(twice.snapshots, twice.contract.dataset).read(*JANUARY)["flight_id"].to_pylist()
    [(key,)] = sql(twice, "select flight_id from one")
    assert {key, "20130215-B6-1-JFK"} <= set(january)
    assert where(twice, sql) == ([1], [(2, ALREADY)])


BROKEN = ARRIVES_IN.replace("15", "01").replace(") from", ", -1 as departure_minute) from")


@pytest.mark.parametrize("month", [1, 2])
def test_a_broken_row_holds_no_key(month: int, twice: Pilot, sql: Callable) -> None:
    """It may be the earlier one, in the window of the sound row or in another."""
    sql(twice, BROKEN.format(month), ARRIVES_IN.format(2))
    by_hand.ingest(Pilot.here())
    reasons = ["departure_minute: is below 0", *([ALREADY] if month == 2 else [])]
    assert where(twice, sql) == ([2], [(month, "; ".join(reasons))])


def test_a_replay_lets_no_copy_in(twice: Pilot, sql: Callable) -> None:
    sql(twice, ARRIVES_IN.format(1), ARRIVES_IN.format(2))
    by_hand.ingest(Pilot.here())
    with connected(twice) as backend:
        done = replay(backend, Pilot.here())
    assert (done.let_in, done.remaining) == (0, 1)
    assert where(twice, sql) == ([1], [(2, ALREADY)])


KILLED = """
import os, signal
from groundwork.data import ingest
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from use_case import source
source.rows = lambda backend, start, end: backend.table("rows").filter(
    lambda t: (t.scheduled_departure >= start) & (t.scheduled_departure < end))

let_in = ingest.let_in

def only_january(pilot, window, *rest):
    if window.start.month > 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return let_in(pilot, window, *rest)

ingest.let_in = only_january
by_hand.ingest(Pilot.here())
"""


def test_a_run_that_is_killed_between_the_two_is_mended_by_the_next(twice: Pilot, sql: Callable) -> None:
    sql(twice, ARRIVES_IN.format(2))
    by_hand.ingest(Pilot.here())
    sql(twice, ARRIVES_IN.format(1))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    killed = subprocess.run([sys.executable, "-c", KILLED], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert where(twice, sql) == ([1, 2], [])
    by_hand.ingest(Pilot.here())
    assert where(twice, sql) == ([1], [(2, ALREADY)])
