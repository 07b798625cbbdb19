"""However rows arrive, late, twice or in disorder, and whatever befalls a run, they end in the same table."""

import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import ibis
import pyarrow as pa
import pytest
from groundwork.core.errors import Busy
from groundwork.core.windows import Window
from groundwork.data.erasure import Erased
from groundwork.data.reading import read_windows
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import BEGINNING, END, days_in_source, row_hash
from groundwork.documents.pilot import Pilot
from groundwork.models.training.history import Examples, read_history
from groundwork.pipeline import by_hand
from groundwork.store.database import Store

JANUARY, FEBRUARY, MARCH = (Window(datetime(2013, month, 1), datetime(2013, month + 1, 1)) for month in (1, 2, 3))


def table(path: Path, pilot: Pilot) -> pa.Table | None:
    found = Snapshots(path, pilot.contract.dataset)
    return found.read() if found.exists else None


def training_digest(pilot: Pilot) -> str:
    history = read_history(pilot)

    def content(examples: Examples) -> bytes:
        return examples.outcomes.tobytes() + b"".join(
            "\0".join(values).encode() if values.dtype == object else values.tobytes()
            for values in examples.columns.values()
        )

    return hashlib.sha256(content(history.training) + content(history.evaluation)).hexdigest()


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(4))
def test_any_order_and_repetition_of_arrival_ends_in_the_same_table(
    seed: int, plain: Pilot, sql: Callable, tmp_path: Path
) -> None:
    """Every row comes at least once, some come again, and some again with another outcome, or in another month."""
    chance = random.Random(seed)
    again = "insert into deliveries select * replace ({}) from all_rows where hash(flight_id) % 160 = {}"
    sql(
        plain,
        "create table deliveries as from all_rows",
        again.format("not late as late", 0),
        again.format("null as late", 1),
        again.format("scheduled_departure + to_months(1) as scheduled_departure", 2)
        + " and month(scheduled_departure) < 3",
        again.format("scheduled_departure - to_months(1) as scheduled_departure", 3)
        + " and month(scheduled_departure) > 1",
        "alter table deliveries add column id bigint",
        "update deliveries set id = rowid",
    )
    [(count,)] = sql(plain, "select count(*) from deliveries")
    order = [*range(count), *chance.choices(range(count), k=count // 5)]
    chance.shuffle(order)
    cuts = sorted(chance.sample(range(1, len(order)), chance.randint(1, 4)))
    for first, last in zip([0, *cuts], [*cuts, len(order)], strict=True):
        arrived = ", ".join(f"({place}, {row})" for place, row in enumerate(order[first:last]))
        sql(
            plain,
            "insert into rows select deliveries.* exclude (id) from deliveries"
            f" join (values {arrived}) as arrived (place, row) on row = id order by place",
        )
        by_hand.ingest(Pilot.here())
    by_hand.ingest(Pilot.here(), everything=True)
    found = [table(plain.snapshots, plain), table(plain.quarantine, plain), training_digest(plain)]

    (plain.settings.data_folder / "groundwork.db").unlink()
    shutil.rmtree(plain.snapshots)
    shutil.rmtree(plain.quarantine)
    sql(plain, "delete from rows", "insert into rows select * exclude (id) from deliveries")
    by_hand.ingest(Pilot.here())
    assert found == [table(plain.snapshots, plain), table(plain.quarantine, plain), training_digest(plain)]
    assert table(plain.snapshots, plain).num_rows == sql(plain, "select count(*) from all_rows")[0][0]


def test_only_windows_that_changed_and_the_newest_are_read_again(plain: Pilot, sql: Callable) -> None:
    sql(plain, "insert into rows from all_rows")
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [JANUARY, FEBRUARY, MARCH]
    for change in (
        "delete from rows where flight_id = (select min(flight_id) from rows)",
        "insert into rows from all_rows where flight_id = (select min(flight_id) from all_rows)",
        "insert into rows from all_rows where flight_id = (select min(flight_id) from all_rows)",
        "update rows set late = not late where flight_id = (select min(flight_id) from rows where late is not null)",
    ):
        assert [each.window for each in by_hand.ingest(Pilot.here())] == [MARCH]
        sql(plain, change)
        assert [each.window for each in by_hand.ingest(Pilot.here())] == [JANUARY, MARCH], change


def test_another_contract_reads_everything_again(plain: Pilot, sql: Callable, set_in: Callable) -> None:
    sql(plain, "insert into rows from all_rows")
    by_hand.ingest(Pilot.here())
    version = Snapshots(plain.snapshots, plain.contract.dataset).version
    set_in(plain.settings.home / "contract.yaml", "schema.0.customProperties.0.value", 0.04)
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [JANUARY, FEBRUARY, MARCH]
    assert Snapshots(plain.snapshots, plain.contract.dataset).version == version


def test_what_was_read_into_a_table_that_is_gone_counts_for_nothing(plain: Pilot, sql: Callable) -> None:
    sql(plain, "insert into rows from all_rows")
    by_hand.ingest(Pilot.here())
    before = table(plain.snapshots, plain)
    shutil.rmtree(plain.snapshots)
    assert len(by_hand.ingest(Pilot.here())) == 3
    assert table(plain.snapshots, plain).equals(before)


def test_a_backfill_brings_what_the_ordinary_run_would(plain: Pilot, sql: Callable) -> None:
    """Of every window that it touches, all: a rule may look at the whole of it."""
    sql(plain, "insert into rows from all_rows")
    assert [each.window for each in by_hand.ingest(Pilot.here(), datetime(2013, 1, 3), datetime(2013, 2, 1))] == [
        JANUARY
    ]
    assert [each.window for each in by_hand.ingest(Pilot.here(), datetime(2013, 2, 5), datetime(2013, 3, 2))] == [
        FEBRUARY,
        MARCH,
    ]
    backfilled = table(plain.snapshots, plain)
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [MARCH]
    shutil.rmtree(plain.snapshots)
    by_hand.ingest(Pilot.here())
    assert table(plain.snapshots, plain).equals(backfilled)


def test_windows_of_another_length_forget_what_was_known(plain: Pilot, sql: Callable, set_in: Callable) -> None:
    """Or a change, and its undoing, would be missed by who asks month, day, month."""
    sql(plain, "insert into rows from all_rows")
    by_hand.ingest(Pilot.here())
    before = table(plain.snapshots, plain)
    flip = "update rows set late = not late where flight_id = (select min(flight_id) from rows where late is not null)"
    set_in(plain.settings.home / "charter.yaml", "monitoring.window", "week")
    sql(plain, flip)
    by_hand.ingest(Pilot.here())
    assert not table(plain.snapshots, plain).equals(before)
    set_in(plain.settings.home / "charter.yaml", "monitoring.window", "month")
    sql(plain, flip)
    by_hand.ingest(Pilot.here())
    assert table(plain.snapshots, plain).equals(before)


def test_an_engine_without_a_proven_hash_has_windows_read_instead_of_compared(
    plain: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    sql(plain, "insert into rows from all_rows", "insert into rows from all_rows limit 9")
    by_hand.ingest(Pilot.here())
    hashed = table(plain.snapshots, plain)
    version = Snapshots(plain.snapshots, plain.contract.dataset).version
    for module in ("reading", "due"):
        monkeypatch.setattr(f"groundwork.data.{module}.can_hash", lambda backend: False)
    assert [each.window for each in by_hand.ingest(Pilot.here(), everything=True)] == [JANUARY, FEBRUARY, MARCH]
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [JANUARY, MARCH]
    assert [each.window for each in by_hand.ingest(Pilot.here())] == [FEBRUARY, MARCH]
    assert Snapshots(plain.snapshots, plain.contract.dataset).version == version
    shutil.rmtree(plain.snapshots)
    by_hand.ingest(Pilot.here())
    assert table(plain.snapshots, plain).equals(hashed)


def test_the_hash_tells_rows_apart_that_the_engines_own_does_not() -> None:
    """Keys of which DuckDB 2 hashes some to one value; and texts that read the same when they are joined."""
    backend = ibis.duckdb.connect()
    keys = [f"201301{day:02}-EV-{number}-EWR" for day in range(1, 29) for number in range(44300, 45300)]
    rows = ibis.memtable({"key": [*keys, "a", "ab", "a", None], "text": [*keys, "bc", "c", None, "a"]})
    hashes = backend.to_pyarrow(rows.select(hash=row_hash(backend, rows, ["key", "text"])))["hash"]
    assert len(hashes.unique()) == len(keys) + 4


@pytest.mark.parametrize("engine", ["duckdb", "postgresql"])
def test_a_window_as_it_is_read_has_the_fingerprint_that_the_scan_tells(
    engine: str, plain: Pilot, sql: Callable, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """Or it would be read again for ever. Rows that come twice, and missing values, count too."""
    dataset = plain.contract.dataset
    with duckdb.connect(str(plain.settings.data_folder / "operational.duckdb")) as connection:
        rows = connection.sql("from all_rows union all (from all_rows limit 99)").to_arrow_table()
    backend = ibis.duckdb.connect() if engine == "duckdb" else ibis.connect(request.getfixturevalue("postgres").url)
    backend.create_table("rows", rows, overwrite=True)
    try:
        told, _ = days_in_source(backend, dataset, Window(BEGINNING, END), hashed=True)
        reads = read_windows(backend, dataset, [JANUARY, FEBRUARY, MARCH], tmp_path, Erased(plain))
        for window, read in reads.items():
            assert read.days == {day: sums for day, sums in told.items() if window.start <= day < window.end} != {}
            assert (
                pa.table(read.sound.to_reader())["flight_id"]
                .combine_chunks()
                .unique()
                .sort()
                .equals(pa.array(sorted(set(_month(rows, window)["flight_id"].to_pylist()))))
            )
        assert [day.month for day in told] == sorted([1, 2, 3] * 7)
    finally:
        backend.drop_table("rows")
        backend.disconnect()


HOLD = """
import sys, time
from groundwork.store.database import Store
with Store(sys.argv[1]).alone("ingest"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_of_two_runs_at_once_one_says_so_and_changes_nothing(plain: Pilot, sql: Callable) -> None:
    """And a run that died stands in nobody's way."""
    sql(plain, "insert into rows from all_rows")
    with subprocess.Popen([sys.executable, "-c", HOLD, plain.settings.store], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == b"held\n"
            with pytest.raises(Busy, match="another ingest is running; this one changed nothing"):
                by_hand.ingest(Pilot.here())
            assert not Path(plain.snapshots).exists()
            assert Store(plain.settings.store).runs.latest(succeeded=False) == []
        finally:
            other.kill()
    assert len(by_hand.ingest(Pilot.here())) == 3


@pytest.mark.parametrize("kills", [3, pytest.param(100, marks=[pytest.mark.soak, pytest.mark.night])])
def test_a_killed_run_leaves_whole_windows_and_the_next_one_ends_as_if_nothing_had_been(
    kills: int, plain: Pilot, sql: Callable, tmp_path: Path
) -> None:
    """Killed at random moments, again and again; whichever run gets through has to have brought in all."""
    sql(
        plain,
        "insert into rows from all_rows",
        "update rows set origin = 'LHR' where hash(flight_id) % 100 = 0",
        "insert into rows from all_rows where hash(flight_id) % 50 = 1",
    )
    chance = random.Random(0)
    with subprocess.Popen(
        [sys.executable, "-c", FORKING],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as server:

        def run(home: Path, patience: float) -> tuple[int, float]:
            """Ingest in a process of its own, killed after so many seconds; its exit status and its seconds."""
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{home}\t{patience}\n")
            server.stdin.flush()
            status, seconds = server.stdout.readline().split()
            return int(status), float(seconds)

        def fresh(name: str) -> Path:
            shutil.rmtree(tmp_path / name, ignore_errors=True)
            shutil.copytree(plain.settings.home, tmp_path / name)
            return tmp_path / name

        whole = fresh("whole")
        assert run(whole, 600)[0] == 0
        expected = {kind: table(whole / "data" / kind / "flights", plain) for kind in ("snapshots", "quarantine")}
        took = run(fresh("again"), 600)[1]  # the first one had everything to warm up
        months = {window.start.month: _month(expected["snapshots"], window) for window in (JANUARY, FEBRUARY, MARCH)}
        killed, home, deadline = 0, fresh("killed"), time.monotonic() + 1500
        while killed < kills:
            assert time.monotonic() < deadline
            status, _ = run(home, chance.uniform(0, 1.1 * took))
            there = table(home / "data/snapshots/flights", plain)
            for window in (JANUARY, FEBRUARY, MARCH):
                month = None if there is None else _month(there, window)
                assert month is None or not month.num_rows or month.equals(months[window.start.month])
            if status == -signal.SIGKILL:
                killed += 1
                if killed < kills:
                    continue
                status, _ = run(home, 600)
            assert status == 0
            assert list((home / "data").glob("spool-*")) == []
            for kind, rows in expected.items():
                assert table(home / "data" / kind / "flights", plain).equals(rows), kind
            home = fresh("killed")
        server.stdin.close()


def _month(rows: pa.Table, window: Window) -> pa.Table:
    new_york = ZoneInfo("America/New_York")
    moments = [moment.astimezone(new_york).replace(tzinfo=None) for moment in rows["scheduled_departure"].to_pylist()]
    return rows.filter(pa.array([window.start <= moment < window.end for moment in moments]))


# Everything is imported once; each run is a fork of that, so that a hundred of them take no hundred starts.
FORKING = """
import os, sys, time
import deltalake, duckdb, ibis, numpy, pandas, pyarrow
import groundwork.data.ingest
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from use_case import source
source.rows = lambda backend, start, end: backend.table("rows").filter(
    lambda t: (t.scheduled_departure >= start) & (t.scheduled_departure < end))
for line in sys.stdin:
    home, patience = line.rstrip().split("\\t")
    started = time.monotonic()
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.environ["GROUNDWORK_HOME"] = home
        status = 1
        try:
            by_hand.ingest(Pilot.here())
            status = 0
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(status)
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - started > float(patience):
            os.kill(child, 9)
            _, status = os.waitpid(child, 0)
            break
        time.sleep(0.005)
    print(os.waitstatus_to_exitcode(status), time.monotonic() - started, flush=True)
"""
