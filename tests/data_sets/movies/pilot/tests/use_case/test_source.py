"""The source mends what is known to be wrong with the films."""

from collections.abc import Callable
from datetime import datetime

import duckdb
import ibis
import pytest

from use_case import source

pytestmark = pytest.mark.proves("data-code")

FILMS = """
    create table movies as
    from (values (1, '"Ray"', 'Oct 29 2004', 'PG-13'), (2, '1776', 'Nov 09 1972', 'PG'), (3, '300', 'Mar 09 2007', 'R'),
                 (4, '"Song of the South"', 'Nov 12 2046', null), (5, '"Teen"', 'Oct 31 2004', 'Open'))
         films(movie_no, "Title", "Release Date", "MPAA Rating")
    select * replace ("Title"::json as "Title"), null::varchar as "Distributor", null::varchar as "Source",
           null::varchar as "Major Genre", null::varchar as "Creative Type", null::bigint as "Production Budget"
"""


@pytest.fixture
def read(tmp_path) -> Callable[[datetime, datetime], list[dict]]:
    with duckdb.connect(str(tmp_path / "films.duckdb")) as connection:
        connection.execute(FILMS)
    backend = ibis.duckdb.connect(tmp_path / "films.duckdb", read_only=True)
    return lambda start, end: source.rows(backend, start, end).order_by("movie_no").to_pyarrow().to_pylist()


def test_titles_are_texts_also_if_they_are_numbers(read: Callable) -> None:
    assert [film["title"] for film in read(datetime(2000, 1, 1), datetime(2100, 1, 1))] == ["Ray", "300", "Teen"]


def test_films_of_the_last_century_are_not_of_the_next(read: Callable) -> None:
    assert read(datetime(2040, 1, 1), datetime(2050, 1, 1)) == []


def test_a_rating_that_is_none_of_the_four_is_unknown(read: Callable) -> None:
    assert [film["rating"] for film in read(datetime(2004, 10, 1), datetime(2004, 11, 1))] == ["PG-13", None]


def test_windows_are_half_open(read: Callable) -> None:
    assert [film["movie_no"] for film in read(datetime(2004, 10, 29), datetime(2004, 10, 31))] == ["1"]
