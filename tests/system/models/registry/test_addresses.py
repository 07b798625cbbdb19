"""A pilot can be moved, copied and restored: MLflow's addresses are those of the folder in which the pilot stands."""

import hashlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import mlflow
import pytest
from commands import groundwork
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.addresses import bring_home, own_database
from groundwork.models.registry.promotion import reconcile, roll_back
from groundwork.models.registry.registry import Registry
from groundwork.models.training.reproduce import reproduce
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from pilots import enter
from serving import served_here

TABLES = """
create table experiments (name text, artifact_location text);
create table runs (artifact_uri text);
create table logged_models (artifact_location text);
create table model_versions (source text, storage_location text);
"""


def digests(folder: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def written_by(folder: Path) -> Path:
    """A database of MLflow's as a pilot in this folder wrote it, with one run, one model and one version."""
    root = (folder / "data" / "mlartifacts").as_uri()
    for kept in ("run/artifacts", "models/m/artifacts"):
        (folder / "data" / "mlartifacts" / kept).mkdir(parents=True)
        (folder / "data" / "mlartifacts" / kept / "file").write_text(kept)
    database = folder / "data" / "mlflow.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.executescript(TABLES)
        connection.execute("insert into experiments values ('pilot', ?)", (root,))
        connection.execute("insert into experiments values ('notebook', ?)", (f"{root}-of-another/mlruns",))
        connection.execute("insert into runs values (?), (?)", (f"{root}/run/artifacts", f"{root}-of-another/mlruns/1"))
        connection.execute("insert into logged_models values (?)", (f"{root}/models/m/artifacts",))
        connection.execute("insert into model_versions values ('models:/m', ?)", (f"{root}/models/m/artifacts",))
        connection.commit()
    return database


def addresses(database: Path) -> list[str]:
    with closing(sqlite3.connect(database)) as connection:
        columns = [
            "artifact_location from experiments",
            "artifact_uri from runs",
            "artifact_location from logged_models",
        ]
        columns += ["source from model_versions", "storage_location from model_versions"]
        return [address for column in columns for (address,) in connection.execute(f"select {column} order by rowid")]


@pytest.mark.parametrize("place", ["elsewhere", "Straße 5%/pilot_2"])
def test_the_addresses_follow_the_pilot_and_those_of_others_stay(tmp_path: Path, place: str) -> None:
    written_by(tmp_path / "pilot")
    shutil.copytree(tmp_path / "pilot", tmp_path / place)
    before, artifacts = digests(tmp_path / "pilot"), tmp_path / place / "data" / "mlartifacts"
    bring_home(tmp_path / place / "data" / "mlflow.db", artifacts)
    other = (tmp_path / "pilot" / "data" / "mlartifacts").as_uri() + "-of-another"
    here = artifacts.as_uri()
    assert addresses(tmp_path / place / "data" / "mlflow.db") == [
        here,
        f"{other}/mlruns",
        f"{here}/run/artifacts",
        f"{other}/mlruns/1",
        f"{here}/models/m/artifacts",
        "models:/m",
        f"{here}/models/m/artifacts",
    ]
    assert digests(tmp_path / "pilot") == before


def test_a_copy_that_wrote_into_the_original_gets_its_files_from_there(tmp_path: Path) -> None:
    written_by(tmp_path / "pilot")
    shutil.copytree(tmp_path / "pilot", tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "data" / "mlartifacts" / "run")  # it is in the original alone
    before = digests(tmp_path / "pilot")
    bring_home(tmp_path / "copy" / "data" / "mlflow.db", tmp_path / "copy" / "data" / "mlartifacts")
    assert (tmp_path / "copy" / "data" / "mlartifacts" / "run" / "artifacts" / "file").read_text() == "run/artifacts"
    assert digests(tmp_path / "pilot") == before


def test_only_a_registry_in_the_data_folder_is_the_pilots_own(
    pilot: Pilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = pilot.settings.data_folder / "mlflow.db"
    (tmp_path / "other.db").touch()
    monkeypatch.chdir(pilot.settings.home)
    for uri, own in (
        (f"sqlite:///{database}", database),
        ("sqlite:///data/mlflow.db", database),
        (f"sqlite:///{tmp_path}/other.db", None),
        ("sqlite:///data/missing.db", None),
        ("https://mlflow.example.org", None),
    ):
        assert own_database(pilot.settings.model_copy(update={"mlflow_tracking_uri": uri})) == own


def test_a_database_at_home_is_not_written(tmp_path: Path) -> None:
    database = written_by(tmp_path / "pilot")
    before = database.stat().st_mtime_ns
    database.chmod(0o400)
    bring_home(database, tmp_path / "pilot" / "data" / "mlartifacts")
    assert database.stat().st_mtime_ns == before


KILLED = """
import os, signal, sqlite3, sys
from pathlib import Path
from groundwork.models.registry import addresses

database, where = Path(sys.argv[1]), sys.argv[2]
work = getattr(addresses, where)

def killed(*arguments):
    work(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(addresses, where, killed)
addresses.bring_home(database, database.with_name("mlartifacts"))
"""


@pytest.mark.parametrize("where", ["copy_before", "_copy_missing", "_replace"])
def test_a_change_of_addresses_that_was_killed_runs_again_to_the_same_result(tmp_path: Path, where: str) -> None:
    written_by(tmp_path / "pilot")
    for copy in ("copy", "other"):
        shutil.copytree(tmp_path / "pilot", tmp_path / copy)
        shutil.rmtree(tmp_path / copy / "data" / "mlartifacts" / "run")  # it is in the original alone
    before, data = digests(tmp_path / "pilot"), tmp_path / "copy" / "data"
    killed = subprocess.run([sys.executable, "-c", KILLED, data / "mlflow.db", where], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert addresses(data / "mlflow.db") == addresses(tmp_path / "pilot" / "data" / "mlflow.db")
    bring_home(data / "mlflow.db", data / "mlartifacts")
    assert bring_home(data / "mlflow.db", data / "mlartifacts") == []
    bring_home(tmp_path / "other" / "data" / "mlflow.db", tmp_path / "other" / "data" / "mlartifacts")
    there = addresses(tmp_path / "other" / "data" / "mlflow.db")
    assert addresses(data / "mlflow.db") == [each.replace(f"{tmp_path}/other", f"{tmp_path}/copy") for each in there]
    assert (data / "mlartifacts" / "run" / "artifacts" / "file").read_text() == "run/artifacts"
    assert digests(tmp_path / "pilot") == before


def test_a_verb_says_that_it_has_put_the_addresses_right_and_migrate_says_it_before(
    pilot: Pilot, pilot_copy: Pilot
) -> None:
    before = digests(pilot_copy.settings.home)
    dry = groundwork("migrate", "--dry-run")
    was = f"the pilot was moved or copied from {pilot.settings.data_folder / 'mlartifacts'}: "
    assert f"registry {was}change its models' addresses" in dry.stdout
    assert digests(pilot_copy.settings.home) == before
    done = subprocess.run(
        [sys.executable, "-m", "groundwork.cli.main", "train"], capture_output=True, text=True, check=True
    )
    [said, kept] = done.stderr.splitlines()
    assert said == f"{was}its models' addresses are now those of {pilot_copy.settings.data_folder / 'mlartifacts'}"
    assert kept == f"copy of the registry before that: {pilot_copy.settings.data_folder / 'mlflow.db.before-move'}"
    assert "nothing to migrate" in groundwork("migrate").stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", ["copied", "moved"])
def test_a_pilot_that_was_copied_or_moved_is_migrated_and_goes_on(
    how: str, pilot: Pilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_in: Callable[[Path, str, Any], None]
) -> None:
    original = Path(shutil.copytree(pilot.settings.home, tmp_path / "original"))
    by_hand.score(enter(original, monkeypatch))
    before = digests(original)
    # At a path of its own: MLflow keeps the connections of this process to the database at a path.
    (shutil.copytree if how == "copied" else shutil.move)(original, tmp_path / how)
    here = enter(tmp_path / how, monkeypatch)
    assert groundwork("migrate").returncode == 0
    set_in(here.settings.home / "charter.yaml", "gate.minGainOverChampion", -1e9)  # another version
    here = Pilot.here()
    assert by_hand.train(here).version == "2"
    by_hand.score(here)
    by_hand.monitor(here)
    with served_here(here) as client:
        assert client.get("/health/ready").json()["model_version"] == "2"
    with Store(here.settings.store) as store:
        assert roll_back(here, store, None, "to see").to_version == "1"
        reconcile(store, Registry(here))
    shutil.rmtree(here.settings.champion_cache)  # so that the registry has to have the files
    with served_here(here) as client:
        assert client.get("/health/ready").json()["model_version"] == "1"
    assert reproduce(here, "2").status == "equal"
    assert not [each for each in addresses(here.settings.data_folder / "mlflow.db") if str(original) in each]
    assert digests(original) == (before if how == "copied" else {})


@pytest.mark.soak
def test_a_pilot_that_was_moved_goes_on(pilot_copy: Pilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    by_hand.score(pilot_copy)
    by_hand.monitor(pilot_copy)
    shutil.move(pilot_copy.settings.home, tmp_path / "moved")
    moved = enter(tmp_path / "moved", monkeypatch)
    with served_here(moved) as client:
        assert client.get("/health/ready").json()["model_source"] == "registry"
        assert client.get("/report").status_code == 200
    assert evaluate(moved).version == "1"
    assert reproduce(moved, "1").status == "equal"
    assert by_hand.train(moved).standing == "champion"
    by_hand.score(moved)
    by_hand.monitor(moved)
    Registry(moved)
    mlflow.pyfunc.load_model(f"models:/{moved.name}@champion")
    with Store(moved.settings.store) as store, pytest.raises(Exception, match="is the first champion"):
        roll_back(moved, store, None, "to see")
    assert not (tmp_path / "copy").exists()
