"""The schema has versions: a store of another one is refused, and each version leads to the next."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from groundwork.core.errors import SchemaMismatch, StoreError
from groundwork.store import schema
from groundwork.store.database import Store
from groundwork.store.migrate import migrate
from stores import ROWS, change, outline, query, rows, version


def test_an_older_store_is_refused_in_one_sentence_that_names_the_command(
    old_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SchemaMismatch, match=r"was written before stores had a schema version.*`groundwork migrate`$"):
        Store(old_url)
    migrate(old_url)
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    with pytest.raises(SchemaMismatch, match=rf"has schema version {schema.VERSION - 1}, .*`groundwork migrate`$"):
        Store(old_url)
    assert rows(old_url) == ROWS


@pytest.mark.parametrize("opened", [Store, migrate])
def test_a_newer_store_is_refused_in_one_sentence_that_names_both_versions(
    store_url: str, opened: Callable[[str], Any]
) -> None:
    Store(store_url).close()
    change(store_url, "update groundwork_schema set version_num = '1000'")
    with pytest.raises(
        SchemaMismatch, match=rf"version 1000.* up to {schema.VERSION}: update the pilot's code$"
    ) as said:
        opened(store_url)
    assert "owner@" not in str(said.value)


def test_a_new_store_and_a_migrated_one_have_the_same_schema(old_url: str, tmp_path: Path, postgres: Any) -> None:
    migrate(old_url)
    new = f"sqlite:///{tmp_path / 'new.db'}" if old_url.startswith("sqlite") else postgres.empty_database()
    Store(new).close()
    assert outline(new) == outline(old_url)
    assert version(new) == version(old_url)


@pytest.fixture
def two_versions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, str]], None]:
    """Code that is one version ahead: a table more, or whatever the statement says."""
    from groundwork.store import migrate as module

    def plant(statements: dict[str, str]) -> None:
        folder, number = tmp_path / "100% migrations", schema.VERSION + 1
        shutil.copytree(module.MIGRATIONS, folder)
        code = VERSION_AFTER.format(number=number, before=schema.VERSION, statements=statements)
        (folder / "versions" / f"version_{number}.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr(module, "MIGRATIONS", folder)
        monkeypatch.setattr(schema, "VERSION", number)

    return plant


VERSION_AFTER = """
from groundwork.store.migrations.versions import run

revision, down_revision = "{number}", "{before}"
STATEMENTS = {{name: (statement,) for name, statement in {statements}.items()}}

def upgrade():
    run(STATEMENTS)
"""


@pytest.mark.parametrize("from_before", [True, False])
def test_the_next_version_is_reached_from_any(
    old_url: str, two_versions: Callable[[dict[str, str]], None], from_before: bool
) -> None:
    if not from_before:
        migrate(old_url)
    statement = "alter table proofs add column why text default 'ran' not null"
    two_versions({"sqlite": statement, "postgresql": statement})
    done = migrate(old_url)
    assert (done.before, done.after) == (0 if from_before else schema.VERSION - 1, schema.VERSION)
    assert query(old_url, "select distinct why from proofs") == [("ran",)]
    assert version(old_url) == schema.VERSION
    if done.copy is not None:
        assert done.copy.name == f"store.db.before-{schema.VERSION}"


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    old_url: str, two_versions: Callable[[dict[str, str]], None]
) -> None:
    before = outline(old_url)
    two_versions(dict.fromkeys(("sqlite", "postgresql"), "alter table nothing add column why text"))
    with pytest.raises(StoreError, match=r"cannot be migrated and was not changed: .*nothing") as said:
        migrate(old_url)
    assert "owner@" not in str(said.value)
    assert (outline(old_url), rows(old_url), version(old_url)) == (before, ROWS, 0)


def test_alembic_sees_the_versions_that_a_new_store_is_made_of() -> None:
    from alembic.script import ScriptDirectory
    from groundwork.store.migrate import MIGRATIONS

    seen = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    assert seen[::-1] == [revision.revision for revision in schema.REVISIONS]
    assert len(seen) == schema.VERSION


def test_who_opens_a_store_imports_no_alembic(tmp_path: Path) -> None:
    """Nor does a migration that has nothing to do."""
    code = (
        "import sys; from groundwork.store.migrate import migrate; from groundwork.store.database import Store;"
        "Store(sys.argv[1]).close(); migrate(sys.argv[1]);"
        "print(sorted({'alembic', 'sqlalchemy'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'store.db'}"]
    assert subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ).stdout == "[]\n"
