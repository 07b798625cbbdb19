"""Fixtures of the use case's tests: the example's flights."""

from pathlib import Path

import duckdb
import pytest

from use_case import seed


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the flights of the first weeks of January and February, as in the operational system."""
    database = tmp_path_factory.mktemp("flights") / "operational.duckdb"
    seed.release(database, 2)
    with duckdb.connect(str(database)) as connection:
        connection.execute("delete from flights where day > 7")
    return database
