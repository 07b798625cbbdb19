"""The source returns only values that are known the evening before departure."""

import shutil
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
import pytest

from groundwork.documents.contract.contract import Contract
from use_case import source

pytestmark = pytest.mark.proves("data-code")

PROJECT = Path(__file__).parents[2]

# Columns that are known only after the flight has departed or was cancelled.
AFTERWARDS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")


def read(database: Path, start: datetime, end: datetime) -> pa.Table:
    backend = ibis.duckdb.connect(database, read_only=True)
    try:
        return source.rows(backend, start, end).to_pyarrow().sort_by("flight_id")
    finally:
        backend.disconnect()


@pytest.mark.parametrize("day", [datetime(2013, 1, 4), datetime(2013, 2, 7)])
def test_features_do_not_know_what_happens_from_their_day_on(day: datetime, flights: Path, tmp_path: Path) -> None:
    """If the events of a day and later days change, only the outcome of that day's rows changes."""
    scrambled = tmp_path / "scrambled.duckdb"
    shutil.copy(flights, scrambled)
    other = ", ".join(f"{name} = case when flight % 3 = 0 then null else hash({name}) % 997 end" for name in AFTERWARDS)
    with duckdb.connect(str(scrambled)) as connection:
        connection.execute(f"update flights set {other} where make_date(year, month, day) >= '{day:%Y-%m-%d}'")
    before, after = (read(database, day, day + timedelta(days=1)) for database in (flights, scrambled))
    assert before.num_rows > 500
    assert before.drop_columns("late").equals(after.drop_columns("late"))
    assert not before["late"].equals(after["late"])


def test_the_day_before_is_known(flights: Path) -> None:
    """The feature is the share of late flights from the same airport on the day before."""
    day = datetime(2013, 1, 4)
    with duckdb.connect(str(flights), read_only=True) as connection:
        expected = dict(
            connection.execute(
                "select origin, avg((arr_delay >= 15)::int) from flights where month = 1 and day = 3 group by origin"
            ).fetchall()
        )
    rows = read(flights, day, day + timedelta(days=1)).select(["origin", "origin_late_share_yesterday"]).to_pylist()
    found = {row["origin"]: row["origin_late_share_yesterday"] for row in rows}
    assert found == pytest.approx(expected)


def test_windows_are_half_open(flights: Path) -> None:
    """Adjacent windows share no rows and lose none, even if their border is the time of a departure."""
    start, end = datetime(2013, 1, 2), datetime(2013, 1, 4)
    border = read(flights, start, end)["scheduled_departure"][1000].as_py()
    whole, left, right = read(flights, start, end), read(flights, start, border), read(flights, border, end)
    assert max(left["scheduled_departure"].to_pylist()) < border == min(right["scheduled_departure"].to_pylist())
    assert sorted(left["flight_id"].to_pylist() + right["flight_id"].to_pylist()) == whole["flight_id"].to_pylist()


def test_a_rows_features_do_not_depend_on_the_window(flights: Path) -> None:
    """The rows of a day are the same when the day is read alone and when the month is read."""
    day, next_day = datetime(2013, 1, 4), datetime(2013, 1, 5)
    month = read(flights, datetime(2013, 1, 1), datetime(2013, 2, 1))
    that_day = [row for row in month.to_pylist() if day <= row["scheduled_departure"] < next_day]
    assert read(flights, day, next_day).to_pylist() == that_day


def test_rows_are_the_contracts(flights: Path) -> None:
    """The source returns every column of the contract, and one row per key."""
    rows = read(flights, datetime(2013, 1, 1), datetime(2013, 3, 1))
    dataset = Contract.load(PROJECT / "contract.yaml").dataset
    assert sorted(rows.column_names) == sorted(column.name for column in dataset.columns)
    assert len(set(rows[dataset.key.name].to_pylist())) == rows.num_rows > 10_000
