"""The source returns only what was known before a month, whatever window is read."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import duckdb
import ibis
import pytest

from use_case import source

pytestmark = pytest.mark.proves("data-code")

# The median price of both cities is 100,000 in January 2008 and rises by 1,000 a month; that of Waco is 50,000 higher.
MONTHS = """
    create table months as
    select city, 2008 + month // 12 as year, 1 + month % 12 as month, 100000 + 1000 * month + more as median,
           10 + month as sales, 6.5 as inventory
    from range(24) months(month), (values ('Abilene', 0), ('Waco', 50000)) cities(city, more)
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[[datetime, datetime], list[dict]]:
    with duckdb.connect(str(tmp_path / "months.duckdb")) as connection:
        connection.execute(MONTHS)
    backend = ibis.duckdb.connect(tmp_path / "months.duckdb", read_only=True)
    return lambda start, end: source.rows(backend, start, end).order_by("city_month").to_pyarrow().to_pylist()


def test_features_are_those_of_the_months_before(read: Callable) -> None:
    [abilene, waco] = read(datetime(2009, 3, 1), datetime(2009, 4, 1))  # month 14
    assert abilene == {
        "city_month": "Abilene-2009-03",
        "month_start": datetime(2009, 3, 1),
        "city": "Abilene",
        "month": 3,
        "last_median": 113_000,
        "earlier_median": 112_000,
        "year_ago_median": 102_000,
        "half_year_mean": 110_500,
        "last_sales": 23,
        "last_inventory": 6.5,
        "median": 114_000,
    }
    assert waco["half_year_mean"] == 160_500


def test_a_row_does_not_depend_on_the_window(read: Callable) -> None:
    whole = read(datetime(2008, 1, 1), datetime(2010, 1, 1))
    assert len(whole) == 46  # without the first month, before which nothing is known
    march = [row for row in whole if row["month_start"] == datetime(2009, 3, 1)]
    assert read(datetime(2009, 3, 1), datetime(2009, 4, 1)) == march
