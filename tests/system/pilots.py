"""Pilots to test on: the template's documents, with known numbers and people, in a folder apart."""

import atexit
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from groundwork.core.environment import QUIET
from groundwork.core.settings import Settings
from groundwork.documents.contract.contract import Contract, Dataset
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import data_dictionary, owner_files

# DuckDB complains, a page long and past pytest's last line, of what is still referred to when the process ends.
atexit.register(lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2))

# Before any library is imported: no test may reach the team's registry, source or Prefect, or write in its folders.
_prefect_home = tempfile.TemporaryDirectory(prefix="prefect-", ignore_cleanup_errors=True)
for _name in [name for name in os.environ if name.startswith(("GROUNDWORK_", "MLFLOW_", "PREFECT_", "OTEL_", "WEB_"))]:
    del os.environ[_name]
os.environ.update(QUIET, PREFECT_HOME=_prefect_home.name, PREFECT_LOGGING_LEVEL="WARNING")

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "template" / "src"
os.environ["PYTHONPATH"] = str(SOURCE)  # for the processes that tests start

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


def visits(*others: dict[str, Any], **feature: Any) -> Dataset:
    """A small data set with a key, an event time, an outcome, one whole number, which is described here, and others."""
    properties: list[dict[str, Any]] = [
        {"name": "id", "logicalType": "string", "primaryKey": True, "examples": ["a"]},
        {"name": "at", "logicalType": "timestamp", "tags": ["event_time"], "examples": [""]},
        {"logicalType": "integer", "tags": ["feature"], "examples": [1]} | feature,
        {"name": "back", "logicalType": "boolean", "tags": ["outcome"], "examples": [True]},
        *others,
    ]
    described = [{"description": ""} | each for each in properties]
    return Dataset.model_validate({"name": "visits", "properties": described})


class Postgres:
    """A database server of our own, on a free port of this machine."""

    def __init__(self, folder: Path, bin_folder: Path, addresses: str = "127.0.0.1") -> None:
        self.addresses = addresses  # on which it listens, joined by commas; whoever reaches one may come in
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
        options = f"-p {self.port} -k {self.data} -c listen_addresses={self.addresses} -c fsync=off"
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


@lru_cache
def documents() -> Path:
    """A folder with the documents, as the demo's answers write them."""
    folder = Path(tempfile.mkdtemp(prefix="documents-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    answers = yaml.safe_load((ROOT / "examples" / "late-flights.yml").read_text(encoding="utf-8"))
    copier.run_copy(str(ROOT), folder, data=answers, defaults=True, quiet=True, vcs_ref="HEAD", unsafe=False)
    return folder


def write_pilot(home: Path, flights: Path) -> None:
    """This project's charter and contract, with the tests' own numbers and people, and a source."""
    (home / "data").mkdir(parents=True)
    shutil.copy(flights, home / "data" / "operational.duckdb")
    charter = yaml.safe_load((documents() / "charter.yaml").read_text(encoding="utf-8"))
    (home / "charter.yaml").write_text(yaml.safe_dump(charter | CHARTER, sort_keys=False), encoding="utf-8")
    shutil.copy(documents() / "contract.yaml", home)
    (home / "OWNERS").write_text(OWNERS, encoding="utf-8")
    data_dictionary.write(home, Contract.load(home / "contract.yaml"))
    owner_files.write(Pilot(Settings(home=home)))


def enter(home: Path, patch: pytest.MonkeyPatch) -> Pilot:
    """Let the flows find this pilot. MLflow keeps the last registry in the environment, hence its own line."""
    patch.setenv("GROUNDWORK_HOME", str(home))
    patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home / 'data' / 'mlflow.db'}")
    return Pilot.here()
