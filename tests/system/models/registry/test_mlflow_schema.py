"""The registry's database is upgraded as a whole and after a copy, and refused if another MLflow wrote it."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from commands import groundwork
from groundwork.core.errors import SchemaMismatch, StoreError
from groundwork.documents.pilot import Pilot
from groundwork.models.registry import mlflow_schema
from groundwork.models.registry.registry import Registry
from groundwork.pipeline import by_hand
from mlflow.store.db.utils import _get_alembic_config
from registries import take_back_a_revision


def set_revision(database: Path, revision: str) -> None:
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("update alembic_version set version_num = ?", (revision,))
        connection.commit()


def test_the_revisions_are_those_that_alembic_finds(pilot: Pilot) -> None:
    scripts = ScriptDirectory.from_config(_get_alembic_config("sqlite://"))
    known, head = mlflow_schema._revisions()
    assert known == {script.revision for script in scripts.walk_revisions()}
    assert head == mlflow_schema.newest_revision() == scripts.get_current_head()
    assert not mlflow_schema.outdated(pilot.settings.data_folder / "mlflow.db")


def test_a_database_of_an_older_mlflow_is_refused_untouched_then_upgraded(pilot_copy: Pilot) -> None:
    database = pilot_copy.settings.data_folder / "mlflow.db"
    by_hand.score(pilot_copy)  # the copy's addresses are put right
    take_back_a_revision(database)
    before = database.read_bytes()
    for verb in ("train", "evaluate"):
        refused = groundwork(verb)
        assert refused.returncode == 1
        assert refused.stderr.splitlines()[-1].endswith(
            "was written by an older version of MLflow: stop the service and the worker, then run `groundwork migrate`"
        )
    assert database.read_bytes() == before  # MLflow itself would change it at once, without a copy
    done = groundwork("migrate")
    assert done.returncode == 0, done.stderr
    copy = database.with_name(f"mlflow.db.before-{mlflow_schema.newest_revision()}")
    assert f"copy of the registry before that: {copy}" in done.stdout
    assert mlflow_schema._revision_of(copy) != mlflow_schema._revision_of(database) == mlflow_schema.newest_revision()
    assert by_hand.train(pilot_copy).standing == "champion"


def test_a_database_of_a_newer_mlflow_is_refused_both_by_verbs_and_by_migrate(pilot_copy: Pilot) -> None:
    set_revision(pilot_copy.settings.data_folder / "mlflow.db", "fedcba987654")
    with pytest.raises(SchemaMismatch, match=r"written by a newer version of MLflow: update the pilot's code"):
        Registry(pilot_copy)
    for arguments in (["migrate"], ["migrate", "--dry-run"]):
        refused = groundwork(*arguments)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (1, 1)
        assert "written by a newer version of MLflow" in refused.stderr


def test_an_upgrade_that_fails_changes_nothing(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    database = pilot_copy.settings.data_folder / "mlflow.db"
    take_back_a_revision(database)
    before = database.read_bytes()
    monkeypatch.setattr(mlflow_schema.sys, "executable", "/bin/false")
    with pytest.raises(StoreError, match=r"cannot be upgraded and was not changed: exit code 1"):
        mlflow_schema.upgrade(database)
    assert database.read_bytes() == before


def test_a_new_database_has_no_schema_yet(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").touch()
    assert not mlflow_schema.outdated(tmp_path / "mlflow.db")
