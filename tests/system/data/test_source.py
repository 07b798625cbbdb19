"""The same source on other engines, by GROUNDWORK_SOURCE_URL alone: a real PostgreSQL, and a real Spark cluster.

Spark runs where the dependency group `spark` is installed: a master and a worker in processes of their own.
"""

import hashlib
import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ibis
import pytest
from groundwork.core.errors import SourceError
from groundwork.data.ingest import Ingested
from groundwork.data.rules import REASONS
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand

# What befalls some flights, so that there is something to quarantine, on every engine for the same reasons.
BROKEN = {
    "origin = 'LHR'": "origin: is none of EWR, JFK, LGA",
    "dest = 'Bos'": "destination: does not match ^[A-Z]{3}$",
    "distance = 'inf'": "distance_miles: is above 6000; distance_miles: is not a finite number",
    "distance = null": "distance_miles: is missing",
    "carrier = lower(carrier) || '-'": "carrier: does not match ^[0-9A-Z]{2}$",
}


def everything(pilot: Pilot) -> tuple[int, str, list[str]]:
    """How many rows are in the snapshots, a digest of them, and the reasons in quarantine."""
    dataset = pilot.contract.dataset
    rows = Snapshots(pilot.snapshots, dataset).read().to_pylist()
    quarantined = Snapshots(pilot.quarantine, dataset).read().to_pylist()
    digest = hashlib.sha256(repr([rows, quarantined]).encode()).hexdigest()
    return len(rows), digest, [row[REASONS] for row in quarantined]


@pytest.fixture
def from_duckdb(new_pilot: Pilot, sql: Callable) -> list[Ingested]:
    """What an ingest from DuckDB came to, of flights of which some are broken."""
    sql(
        new_pilot,
        "delete from flights where month = 2",
        "alter table flights alter distance type double",
        *(
            f"update flights set {change} where month = 1 and day = 2 and flight % 100 = {number}"
            for number, change in enumerate(BROKEN)
        ),
    )
    return by_hand.ingest(Pilot.here())


@pytest.fixture
def elsewhere(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Pilot]:
    """The same pilot with another source, and with nothing ingested yet."""

    def change(url: str) -> Pilot:
        monkeypatch.setenv("GROUNDWORK_SOURCE_URL", url)
        monkeypatch.setenv("GROUNDWORK_DATA", "elsewhere")
        return Pilot.here()

    return change


@contextmanager
def process(log: Path, *command: object) -> Iterator[None]:
    with log.open("w") as out:
        started = subprocess.Popen([str(part) for part in command], stdout=out, stderr=out)
    try:
        yield
    finally:
        started.kill()
        started.wait()


@pytest.fixture
def spark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A standalone cluster with a catalogue, which Spark finds by its own configuration."""
    package = importlib.util.find_spec("pyspark")
    if package is None:
        pytest.skip("needs `uv sync --group spark`")
    assert package.submodule_search_locations
    home = Path(package.submodule_search_locations[0])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        master = f"spark://127.0.0.1:{free.getsockname()[1]}"
    pilot = {
        "spark.master": master,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.sql.shuffle.partitions": "4",
        "spark.sql.catalogImplementation": "hive",
        "spark.sql.warehouse.dir": tmp_path / "warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={tmp_path}/metastore;create=true",
    }
    (tmp_path / "spark-defaults.conf").write_text("".join(f"{name} {value}\n" for name, value in pilot.items()))
    for name, value in {"SPARK_HOME": home, "SPARK_CONF_DIR": tmp_path, "PYSPARK_PYTHON": sys.executable}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.chdir(tmp_path)  # where Derby leaves its log
    run, deploy = home / "bin/spark-class", "org.apache.spark.deploy"
    at = ("--host", "127.0.0.1", "--webui-port", "0")
    with process(tmp_path / "master.log", run, f"{deploy}.master.Master", *at, "--port", master.rpartition(":")[2]):
        wait_for("I have been elected leader", tmp_path / "master.log")
        with process(
            tmp_path / "worker.log", run, f"{deploy}.worker.Worker", master, *at,
            "--cores", "2", "--memory", "1g", "--work-dir", tmp_path / "work",
        ):  # fmt: skip
            wait_for("Successfully registered with master", tmp_path / "worker.log")
            yield


def wait_for(said: str, log: Path) -> None:
    deadline = time.monotonic() + 180
    while said not in log.read_text():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.2)


def test_ingest_from_postgresql_ends_in_the_same_table(
    new_pilot: Pilot, from_duckdb: list[Ingested], elsewhere: Callable[[str], Pilot], postgres: Any
) -> None:
    with connected(new_pilot) as duckdb:
        flights = duckdb.table("flights").to_pyarrow()
    backend = ibis.connect(postgres.url)
    backend.create_table("flights", flights, overwrite=True)
    backend.disconnect()
    assert ingest_from(elsewhere(postgres.url), from_duckdb) == everything(new_pilot)


def test_ingest_from_spark_ends_in_the_same_table(
    new_pilot: Pilot, from_duckdb: list[Ingested], elsewhere: Callable[[str], Pilot], spark: None, tmp_path: Path
) -> None:
    with connected(new_pilot) as duckdb:
        duckdb.table("flights").to_parquet(tmp_path / "flights.parquet")
    pilot = elsewhere("pyspark://")
    with connected(pilot) as cluster:
        cluster.create_table("flights", cluster.read_parquet(tmp_path / "flights.parquet"))
    assert ingest_from(pilot, from_duckdb) == everything(new_pilot)


def ingest_from(pilot: Pilot, before: list[Ingested]) -> tuple[int, str, list[str]]:
    done = by_hand.ingest(Pilot.here())
    assert [(each.window, each.rows_in, each.rows_quarantined) for each in done] == [
        (each.window, each.rows_in, each.rows_quarantined) for each in before
    ]
    found = everything(pilot)
    assert set(found[2]) == set(BROKEN.values())
    return found


@pytest.mark.parametrize("url", ["pyspark://", "postgresql://ada:secret@127.0.0.1/pilot"])
def test_a_driver_that_is_not_installed_is_said_to_be_missing(
    url: str, elsewhere: Callable[[str], Pilot], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(url: str) -> None:
        raise ImportError("Failed to import the backend\n\nYou can install it as follows")

    monkeypatch.setattr(ibis, "connect", missing)  # as Ibis says it where a driver is not there
    with pytest.raises(SourceError, match="needs a driver that is not installed") as stopped, connected(elsewhere(url)):
        pass
    assert "uv sync --group spark" in str(stopped.value)
    assert "secret" not in str(stopped.value)
