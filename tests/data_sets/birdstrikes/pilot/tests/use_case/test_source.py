"""The source returns the strikes of a window, with what the pilot's report says of them."""

from datetime import datetime
from pathlib import Path

import duckdb
import ibis
import pytest

from use_case import source

pytestmark = pytest.mark.proves("data-code")

STRIKES = """
    create table strikes as
    select day as report, date '2001-05-01' + day::int as "Flight Date", 'MD-80' as "Aircraft Make Model",
           'UNITED AIRLINES' as "Aircraft Airline Operator", 'Texas' as "Origin State", 'Climb' as "Phase of flight",
           'Large' as "Wildlife Size", 'Deer' as "Wildlife Species", 'Night' as "Time of day",
           null::bigint as "Speed IAS in knots", if(day = 1, 'Substantial', 'None') as "Effect Amount of damage"
    from range(3) days(day)
"""


def test_a_window_holds_its_own_strikes(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "strikes.duckdb")) as connection:
        connection.execute(STRIKES)
    backend = ibis.duckdb.connect(tmp_path / "strikes.duckdb", read_only=True)
    rows = source.rows(backend, datetime(2001, 5, 2), datetime(2001, 5, 4)).order_by("report").to_pyarrow().to_pylist()
    assert [(row["report"], row["flight_date"], row["substantial"]) for row in rows] == [
        ("1", datetime(2001, 5, 2), True),
        ("2", datetime(2001, 5, 3), False),
    ]
