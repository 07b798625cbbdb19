"""An ingest compares a part of the history, and finds every change within the number of runs that it states."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from groundwork.core.errors import ContractBreach
from groundwork.core.windows import Window
from groundwork.data import due
from groundwork.data.ingest import told
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import RowSum
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from groundwork.store.ingested import Piece
from stores import change
from use_case import source

FIRST = datetime(2013, 1, 1)
ADD = """
insert into rows select * exclude (number) replace (
  'flight-' || number as flight_id, timestamp '{}' + to_days(number::int) as scheduled_departure, false as late
) from range({}, {}) days (number), (
  from all_rows where distance_miles between 900 and 1200 and departure_minute between 650 and 950 limit 1
)
"""
TURN = "update rows set late = true where flight_id[8:]::int in ({})"  # the days of these numbers


@pytest.fixture
def late_by_days(set_in: Callable) -> Callable:
    """Let the contract say how many days a row may be late."""

    def promise(pilot: Pilot, days: float) -> None:
        levels = [{"property": "latency", "value": days, "unit": "d"}]
        set_in(pilot.settings.home / "contract.yaml", "slaProperties", levels)

    return promise


@pytest.fixture
def long(plain: Pilot, sql: Callable, late_by_days: Callable) -> Pilot:
    """A pilot with a row a day for a hundred days, all of it ingested; rows may be two days late."""
    late_by_days(plain, 2)
    sql(plain, ADD.format(FIRST, 0, 100))
    by_hand.ingest(Pilot.here())
    return plain


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Window]:
    """The times for which the source was asked since."""
    spans: list[Window] = []
    rows = source.rows
    monkeypatch.setattr(source, "rows", lambda backend, *span: spans.append(Window(*span)) or rows(backend, *span))
    return spans


def turned(pilot: Pilot) -> set[int]:
    rows = Snapshots(pilot.snapshots, pilot.contract.dataset).read()
    return {int(row["flight_id"].removeprefix("flight-")) for row in rows.to_pylist() if row["late"]}


def stated(pilot: Pilot) -> int:
    [sentence] = told(pilot)
    found = re.search(r"found within (\d+) runs", sentence)
    assert found, sentence
    return int(found[1])


def runs_until(done: Callable[[], bool], most: int) -> int:
    for number in range(1, most + 1):
        by_hand.ingest(Pilot.here())
        if done():
            return number
    raise AssertionError(f"not after {most} runs")


@pytest.mark.parametrize("days", [100, 400])
def test_what_is_compared_does_not_grow_with_the_history(
    days: int, long: Pilot, sql: Callable, asked: list[Window]
) -> None:
    sql(long, ADD.format(FIRST, 100, days))
    by_hand.ingest(Pilot.here())
    last = FIRST + timedelta(days=days)
    for _ in range(3):
        asked.clear()
        assert [each.read for each in by_hand.ingest(Pilot.here())] == [False]
        compared = sum((min(end, last) - max(start, FIRST - timedelta(days=1))).days for start, end in asked)
        assert len(asked) == 2
        assert 14 <= compared <= 14 + 3
    assert stated(long) == -(-(days - 1) // 14)


@pytest.mark.parametrize("engine", ["hashes", "none"])
def test_a_change_of_any_age_is_found_within_the_stated_runs_or_at_once(
    engine: str, long: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    if engine == "none":
        for module in ("reading", "due"):
            monkeypatch.setattr(f"groundwork.data.{module}.can_hash", lambda backend: False)
        by_hand.ingest(Pilot.here(), everything=True)
    changed = {0, 13, 14, 55, 96, 97, 99}
    by_hand.ingest(Pilot.here())
    sql(long, TURN.format("99, 97"))
    by_hand.ingest(Pilot.here())
    assert turned(long) >= {99}
    within = stated(long)
    sql(long, TURN.format(", ".join(map(str, changed))))
    assert 1 < runs_until(lambda: turned(long) == changed, within) <= within
    sql(long, "update rows set late = false")
    by_hand.ingest(Pilot.here(), everything=True)
    assert turned(long) == set()
    assert told(long) == []


def test_a_time_that_had_no_rows_is_compared_too(long: Pilot, sql: Callable) -> None:
    """Before the oldest row, and between others; a backfill of years is found in one run, and read."""
    sql(long, "delete from rows where flight_id in ('flight-40', 'flight-41')")
    by_hand.ingest(Pilot.here(), everything=True)
    by_hand.ingest(Pilot.here())
    [(hole,)] = sql(long, "select count(*) from rows")
    sql(long, ADD.format(FIRST, 40, 42), ADD.format("2008-01-01", 1000, 1400))

    def all_there() -> bool:
        return Snapshots(long.snapshots, long.contract.dataset).read().num_rows == hole + 402

    runs_until(all_there, stated(long))


def test_what_was_never_looked_at_is_compared_at_once(plain: Pilot, sql: Callable, late_by_days: Callable) -> None:
    """As when a first ingest was of given days, or was killed."""
    late_by_days(plain, 0)
    sql(plain, ADD.format(FIRST, 0, 100))
    by_hand.ingest(Pilot.here(), datetime(2013, 3, 1), datetime(2013, 4, 1))
    assert {1, 2, 4} <= {each.window.start.month for each in by_hand.ingest(Pilot.here()) if each.read}
    assert [each.read for each in by_hand.ingest(Pilot.here())] == [False]


def test_a_row_that_may_be_late_is_found_by_the_next_run(
    long: Pilot, sql: Callable, late_by_days: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    late_by_days(long, 30)
    monkeypatch.setattr(due, "DAYS_A_RUN", 1)
    sql(long, TURN.format("70, 50"))
    by_hand.ingest(Pilot.here())
    assert turned(long) == {70}


def test_a_contract_in_utc_is_compared_in_the_same_way(
    plain: Pilot, sql: Callable, set_in: Callable, late_by_days: Callable
) -> None:
    late_by_days(plain, 2)
    set_in(plain.settings.home / "contract.yaml", "schema.0.properties.1.logicalTypeOptions", {})
    sql(plain, ADD.format(FIRST, 0, 40))
    by_hand.ingest(Pilot.here())
    sql(plain, TURN.format("39, 25"))
    by_hand.ingest(Pilot.here())
    assert turned(plain) == {39}


def test_days_that_were_last_compared_before_their_rows_had_to_be_there_are_compared_again(
    long: Pilot, sql: Callable
) -> None:
    """Also if newer rows have come long since, because no run was made for weeks."""
    sql(long, TURN.format("30"))
    change(long.settings.store, "update windows_read set compared_at = '2013-02-01T00:00:00.000+00:00' "
           "where window_start >= '2013-01-30'")  # fmt: skip
    by_hand.ingest(Pilot.here())
    assert turned(long) == {30}


def test_other_code_or_another_source_has_everything_compared(
    long: Pilot, sql: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(long, TURN.format("55, 20, 90"))
    (tmp_path / "source.py").write_text("# other code")
    monkeypatch.setattr(source, "__file__", str(tmp_path / "source.py"))
    by_hand.ingest(Pilot.here())
    assert turned(long) == {55, 20, 90}


def test_a_window_that_is_refused_is_read_again_and_holds_no_other_up(
    long: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_hand.ingest(Pilot.here())
    sql(long, "update rows set origin = 'LHR' where flight_id in ('flight-3', 'flight-4')", TURN.format("60"))
    runs = stated(long)
    for _ in range(runs):
        with suppress(ContractBreach):
            by_hand.ingest(Pilot.here())
    with pytest.raises(ContractBreach, match="2013-01-01 to 2013-01-31"):
        by_hand.ingest(Pilot.here())
    assert turned(long) == {60}
    sql(long, "update rows set origin = 'JFK' where origin = 'LHR'")
    assert [each.window.start for each in by_hand.ingest(Pilot.here()) if each.read] == [FIRST]


def test_a_window_that_was_refused_when_it_was_asked_for_is_read_by_the_next_run(
    long: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "DAYS_A_RUN", 1)
    sql(long, "update rows set origin = 'LHR' where month(scheduled_departure) = 2")
    with pytest.raises(ContractBreach):
        by_hand.ingest(Pilot.here(), datetime(2013, 2, 1), datetime(2013, 3, 1))
    sql(long, "update rows set origin = 'JFK' where origin = 'LHR'", TURN.format("40"))
    by_hand.ingest(Pilot.here())
    assert turned(long) == {40}


def test_a_window_that_stops_growing_has_all_its_rules_checked(plain: Pilot, sql: Callable, set_in: Callable) -> None:
    rule = {"metric": "rowCount", "mustBeGreaterOrEqualTo": 25}
    set_in(plain.settings.home / "contract.yaml", "schema.0.quality", [rule])
    sql(plain, ADD.format(FIRST, 0, 20))
    by_hand.ingest(Pilot.here())
    sql(plain, ADD.format(FIRST, 31, 60))
    with pytest.raises(ContractBreach, match="2013-01-01 to 2013-01-31"):
        by_hand.ingest(Pilot.here())


def test_the_windows_of_a_release_before_are_known_and_nothing_is_read_again(long: Pilot, sql: Callable) -> None:
    """It knew whole windows, and not when they were compared: so they are compared at once."""
    dataset = long.contract.dataset
    snapshots = Snapshots(long.snapshots, dataset)
    with Store(long.settings.store) as store:
        pieces = store.ingested.pieces(snapshots.table_id, snapshots.version)
        known = due.Known(long, pieces, datetime.now().astimezone())
        whole = {}
        for month in range(1, 5):
            window = Window(datetime(2013, month, 1), datetime(2013, month + 1, 1))
            total = RowSum(0, 0)
            for fingerprint in known.within(window).values():
                rows, hashes = (fingerprint.split("-") if fingerprint != due.EMPTY else ["0", "0"])[:2]
                total = total.plus(RowSum(int(rows), int(hashes, 16)))
            whole[window] = Piece(known.fingerprint(window, total), None, "")
        change(long.settings.store, "delete from windows_read")
        store.ingested.record(whole, str(snapshots.table_id), snapshots.version or 0)
    sql(long, TURN.format("40"))
    done = by_hand.ingest(Pilot.here())
    assert [each.window.start.month for each in done if each.read] == [2]
    assert turned(long) == {40}
    assert [each.read for each in by_hand.ingest(Pilot.here())] == [False]
    assert stated(long) == 8


KILLED_BEFORE_IT_READS = """
import os, signal
from groundwork.data import ingest
from groundwork.documents.pilot import Pilot

ingest.read_windows = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
ingest.ingest(Pilot.here())
"""


def test_what_a_killed_run_found_is_read_by_the_next_one(
    pilot_copy: Pilot, sql: Callable, late_by_days: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though its turn is over by then."""
    late_by_days(pilot_copy, 0)
    by_hand.ingest(Pilot.here())
    sql(pilot_copy, "update flights set arr_delay = 60 where month = 1 and day = 2")
    killed = subprocess.run([sys.executable, "-c", KILLED_BEFORE_IT_READS], check=False)
    assert killed.returncode == -signal.SIGKILL
    monkeypatch.setattr(due, "DAYS_A_RUN", 1)
    assert [each.window.start for each in by_hand.ingest(Pilot.here()) if each.read] == [FIRST]
    assert {row["late"] for row in Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset).read(
        datetime(2013, 1, 2, 6), datetime(2013, 1, 2, 22)).to_pylist()} == {True}  # fmt: skip
