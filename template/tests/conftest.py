"""Pilots to test on: this project's documents, with known numbers and people, and real flights in a folder apart."""

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from groundwork.documents.publish import data_dictionary
from groundwork.documents.publish import owner_files
from groundwork.documents.contract.contract import Contract
from groundwork.documents.contract.dataset import Dataset
from groundwork.core.settings import QUIET, Settings

PROJECT = Path(__file__).parents[1]

# DuckDB complains, a page long and past pytest's last line, of what is still referred to when the process ends.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

# Before any library is imported: no test may reach the team's registry, source or Prefect, or write in its folders.
_prefect_home = tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith(("GROUNDWORK_", "MLFLOW_", "PREFECT_", "OTEL_", "WEB_"))]:
    del os.environ[_name]
os.environ.update(QUIET, PREFECT_HOME=_prefect_home.name, PREFECT_LOGGING_LEVEL="WARNING")

CHARTER = {
    "value": {
        "currency": "EUR",
        "unit": "departure",
        "parameters": {"benefitPerHit": 400, "costPerAction": 120},
    },
    "gate": {
        "metric": "roc_auc",
        "minimum": 0.55,
        "minGainOverRule": 0,
        "minGainOverChampion": 0,
        "maxMetricLoss": 0.01,
        "minRows": 1000,
    },
    "monitoring": {"window": "month", "driftDistance": 0.1, "maxDriftedShare": 0.2, "minRows": 500},
}

OWNERS = """\
approvers: [ada]
reviewers: [ada, grace]
accountable:
  decision: {name: Ada Lovelace, handle: ada}
  data:
    flights: {name: Grace Hopper, handle: grace}
  model: {name: Emmy Noether, handle: emmy}
  service: {name: Alan Turing, handle: alan}
"""


def visits(**feature: Any) -> Dataset:
    """A small data set with a key, an event time, an outcome and one whole number, which is described here."""
    properties: list[dict[str, Any]] = [
        {"name": "id", "logicalType": "string", "primaryKey": True, "examples": ["a"]},
        {"name": "at", "logicalType": "timestamp", "tags": ["event_time"], "examples": [""]},
        {"logicalType": "integer", "tags": ["feature"], "examples": [1]} | feature,
        {"name": "back", "logicalType": "boolean", "tags": ["outcome"], "examples": [True]},
    ]
    described = [{"description": ""} | each for each in properties]
    return Dataset.model_validate({"name": "visits", "properties": described})


class Postgres:
    """A database server of our own, on a free port of this machine."""

    def __init__(self, folder: Path, bin_folder: Path) -> None:
        self.data = folder / "cluster"
        self.control = bin_folder / "pg_ctl"
        # PostgreSQL refuses to run as root.
        self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
        if self.user:
            shutil.chown(folder, "postgres", "postgres")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://owner@127.0.0.1:{self.port}/postgres"
        self.run(bin_folder / "initdb", "--pgdata", self.data, "--username", "owner", "--auth", "trust")

    def start(self) -> None:
        options = f"-p {self.port} -k {self.data} -c listen_addresses=127.0.0.1 -c fsync=off"
        self.run(self.control, "start", "-w", "-t", "300", "-D", self.data, "-o", options, "-l", self.data / "log")

    def empty_database(self) -> str:
        """The address of a database in which there is nothing yet."""
        import psycopg

        name = f"empty_{secrets.token_hex(4)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"create database {name}")
        return f"{self.url.removesuffix('/postgres')}/{name}"

    def stop(self) -> None:
        self.run(self.control, "stop", "-w", "-t", "300", "-m", "immediate", "-D", self.data)

    def run(self, *command: object) -> None:
        subprocess.run([*self.user, *map(str, command)], check=True, capture_output=True, cwd="/")


def write_pilot(home: Path, flights: Path) -> None:
    """This project's charter and contract, with the tests' own numbers and people, and a source."""
    (home / "data").mkdir(parents=True)
    shutil.copy(flights, home / "data" / "operational.duckdb")
    charter = yaml.safe_load((PROJECT / "charter.yaml").read_text(encoding="utf-8"))
    (home / "charter.yaml").write_text(yaml.safe_dump(charter | CHARTER, sort_keys=False), encoding="utf-8")
    shutil.copy(PROJECT / "contract.yaml", home)
    (home / "OWNERS").write_text(OWNERS, encoding="utf-8")
    dictionary.write(home, Contract.load(home / "contract.yaml"))
    owner_files.write(Settings(home=home))


def enter(home: Path, patch: pytest.MonkeyPatch) -> Settings:
    """Let the flows find this pilot. MLflow keeps the last registry in the environment, hence its own line."""
    patch.setenv("GROUNDWORK_HOME", str(home))
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'data' / 'mlflow.db'}")
    return Settings()


@pytest.fixture(scope="session")
def first_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights of the first seven days of every month, as the operational system holds them."""
    seed = pytest.importorskip(
        "use_case.seed", reason="the example's data is gone; the template's repository tests the system with it"
    )
    import duckdb

    folder = tmp_path_factory.mktemp("flights")
    seed.release(folder / "year.duckdb", seed.LAST_MONTH)
    with duckdb.connect(str(folder / "weeks.duckdb")) as connection:
        connection.execute(f"attach '{folder / 'year.duckdb'}' as year (read_only)")
        connection.execute("create table flights as from year.flights where day <= 7")
    return folder / "weeks.duckdb"


@pytest.fixture(scope="session")
def flights(first_weeks: Path) -> Path:
    """The first weeks of January and February alone."""
    import duckdb

    database = first_weeks.parent / "operational.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"attach '{first_weeks}' as weeks (read_only)")
        connection.execute("create table flights as from weeks.flights where month <= 2")
    return database


@pytest.fixture
def new_pilot(tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A pilot that has documents and a source, and has not run yet."""
    write_pilot(tmp_path / "new", flights)
    return enter(tmp_path / "new", monkeypatch)


@pytest.fixture
def plain(tmp_path: Path, first_weeks: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A pilot whose source is a table `rows` of the contract's own columns, empty at first.

    Beside it is a table `all_rows`, with every seventh row of January, February and March.
    """
    import duckdb

    from groundwork.data.source import connected, expression
    from groundwork.core.windows import Window
    from use_case import source

    write_pilot(tmp_path / "plain", first_weeks)
    settings = enter(tmp_path / "plain", monkeypatch)
    with connected(settings) as backend:
        quarter = Window(datetime(2013, 1, 1), datetime(2013, 4, 1))
        rows = expression(backend, settings.contract.dataset, quarter).to_pyarrow()
    rows = rows.take(list(range(0, rows.num_rows, 7)))
    database = settings.data_folder / "operational.duckdb"
    database.unlink()
    with duckdb.connect(str(database)) as engine:
        engine.register("arrow", rows)
        engine.execute("create table all_rows as from arrow")
        engine.execute("create table rows as from all_rows limit 0")
    monkeypatch.setattr(
        source,
        "rows",
        lambda backend, start, end: backend.table("rows").filter(
            lambda each: (each.scheduled_departure >= start) & (each.scheduled_departure < end)
        ),
    )
    return settings


@pytest.fixture(scope="session")
def plain_steps() -> Iterator[None]:
    """Prefect's tasks as the functions that they wrap, so that `flow.fn()` runs without a server."""
    from groundwork.pipeline import ingest, train

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ingest, "_let_in", ingest.let_in)
        patch.setattr(train, "fit_and_register", train.fit_and_register.fn)
        yield


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory, flights: Path, plain_steps: None) -> Iterator[Settings]:
    """A pilot with a champion, trained on January and judged on February. It is shared: only read it."""
    from groundwork.data.ingest import ingest
    from groundwork.models.training.train import train

    home = tmp_path_factory.mktemp("pilots") / "pilot"
    write_pilot(home, flights)
    with pytest.MonkeyPatch.context() as patch:
        settings = enter(home, patch)
        ingest.fn()
        assert train.fn().in_service
        yield settings


@pytest.fixture
def pilot_copy(pilot: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A copy of the pilot to change."""
    shutil.copytree(pilot.home, tmp_path / "copy")
    return enter(tmp_path / "copy", monkeypatch)


@pytest.fixture
def sql() -> Callable[..., list[tuple]]:
    """Run SQL statements in a pilot's operational system, as if it had changed; returns the last one's rows."""
    import duckdb

    def run(settings: Settings, *statements: str) -> list[tuple]:
        with duckdb.connect(str(settings.data_folder / "operational.duckdb")) as connection:
            for statement in statements:
                result = connection.execute(statement)
            return result.fetchall()

    return run


@pytest.fixture
def set_in() -> Callable[[Path, str, Any], None]:
    """Set one value, named by its dotted path, in a YAML document."""

    def change(document: Path, path: str, value: Any) -> None:
        content = yaml.safe_load(document.read_text(encoding="utf-8"))
        part = content
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps:
            part = part[step]
        part[last] = value
        document.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PostgreSQL is not installed")
        pytest.skip("PostgreSQL is not installed")
    # Not among pytest's own folders, which each run of pytest on the machine closes to all but its user.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder), Path(found).parent)
        server.start()
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, on SQLite and on a real PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres").empty_database())


@pytest.fixture
def old_url(store_url: str) -> str:
    """The address of a store as the code without schema versions wrote it."""
    from stores import load_old_store

    load_old_store(store_url)
    return store_url
