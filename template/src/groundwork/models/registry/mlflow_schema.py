"""The schema of the pilot's own MLflow database, which belongs to a version of MLflow.

MLflow refuses a database of another schema, or changes it at once and without a copy. So it is compared before MLflow
opens it. A revision is a hash without order; the revisions that the installed MLflow knows are in its migration files.
"""

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from groundwork.core.errors import SchemaMismatch, StoreError
from groundwork.store.copies import copy_before

_REVISION = re.compile(r'^(down_revision|revision)\b.*?= "(\w+)"', re.MULTILINE)


def require(database: Path) -> None:
    """Raises SchemaMismatch if the database has an older or a newer schema than the installed MLflow."""
    if outdated(database):
        raise SchemaMismatch(
            f"the models' registry {database} was written by an older version of MLflow: stop the service and the "
            "worker, then run `groundwork migrate`"
        )


def outdated(database: Path) -> bool:
    """Whether MLflow wrote the database with an older schema. Raises SchemaMismatch if it is newer."""
    revision = _revision_of(database)
    known, head = _revisions()
    if revision and revision not in known:
        raise SchemaMismatch(
            f"the models' registry {database} was written by a newer version of MLflow: update the pilot's code, then "
            "run `uv sync`"
        )
    return revision not in (None, head)


def upgrade(database: Path) -> Path:
    """Bring the database to the schema of the installed MLflow; returns the path of the copy of before.

    A second copy is upgraded and then takes the database's place, because a killed upgrade leaves half a schema. Raises
    StoreError if MLflow fails.
    """
    before = copy_before(database, newest_revision())
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        new = Path(shutil.copy(before, Path(folder) / database.name))
        command = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{new}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise StoreError(f"the models' registry {database} cannot be upgraded and was not changed: {reason}")
        new.replace(database)
    return before


def newest_revision() -> str:
    """Return the revision of the schema of the installed MLflow."""
    return _revisions()[1]


def _revision_of(database: Path) -> str | None:
    """Return the revision of the database's schema; None if MLflow has not written in it."""
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            if not connection.execute("select 1 from sqlite_master where name = 'alembic_version'").fetchone():
                return None
            found = connection.execute("select version_num from alembic_version").fetchone()
    except sqlite3.Error as error:
        raise StoreError(f"the models' registry {database} cannot be read: {error}") from error
    return str(found[0]) if found else None


def _revisions() -> tuple[set[str], str]:
    """Return all revisions that the installed MLflow knows, and the newest. Importing them would take seconds."""
    package = find_spec("mlflow")
    assert package is not None
    assert package.origin is not None
    folder = Path(package.origin).parent / "store" / "db_migrations" / "versions"
    found = [each for file in folder.glob("*.py") for each in _REVISION.findall(file.read_text(encoding="utf-8"))]
    known, followed = ({number for name, number in found if name == kind} for kind in ("revision", "down_revision"))
    [head] = known - followed
    return known, head
