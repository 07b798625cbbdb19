"""Keeps the addresses in the pilot's own MLflow database true, after the pilot was moved, copied or restored.

MLflow records the address of every experiment, run and model as an absolute one. A copy of a pilot would write into the
original, and a moved pilot would find nothing.
"""

import http.client
import shutil
import sqlite3
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from groundwork.core.errors import StoreError
from groundwork.core.settings import Settings
from groundwork.store.connection import sqlite_file
from groundwork.store.copies import copy_before

ANSWER_SECONDS = 2.0
ARTIFACTS = "mlartifacts"  # the folder in the data folder
_ADDRESSES = {  # the columns that hold addresses
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
_BELOW = "(address = :root or substr(address, 1, length(:root) + 1) = :root || '/')"


def own_database(settings: Settings) -> Path | None:
    """Return the SQLite file of the pilot's own registry; None if there is none yet, or if it is not in the pilot."""
    found = sqlite_file(settings.tracking_uri)
    database = found.resolve() if found else None
    own = database and database.is_file() and settings.data_folder.resolve() in database.parents
    return database if own else None


def answers(settings: Settings) -> bool:
    """Return whether the registry answers within two seconds; true of one that is no server."""
    if not settings.tracking_uri.startswith(("http://", "https://")):
        return True
    parts = urlsplit(settings.tracking_uri)
    health = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/health")
    try:
        urllib.request.urlopen(health.geturl(), timeout=ANSWER_SECONDS).close()
    except urllib.error.HTTPError:  # it answers, if only to those who log in
        return True
    except (OSError, http.client.HTTPException):
        return False
    return True


def former_homes(database: Path, artifacts: Path) -> set[str]:
    """Return the addresses of other folders of artefacts that the SQLite file names as the pilot's own.

    Raises StoreError if the file cannot be read.
    """
    try:
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=10)) as connection:
            named = _recorded(connection)["experiments"]
    except sqlite3.Error as error:
        raise StoreError(f"the addresses in {database} cannot be read: {error}") from error
    return {each for each in named if each.startswith("file:") and each.endswith(f"/{ARTIFACTS}")} - {
        artifacts.as_uri()
    }


def bring_home(database: Path, artifacts: Path) -> list[str]:
    """Change the recorded addresses in the SQLite file to the folder `artifacts`, in one transaction.

    The file is copied first. A copy of a pilot that has written into the original before gets its files from there;
    nothing is written in the original. Returns one line of text per thing that was done; empty if the addresses are
    right. Raises StoreError if the file cannot be read or changed.
    """
    here, roots = artifacts.as_uri(), former_homes(database, artifacts)
    if not roots:
        return []
    try:
        copy = copy_before(database, "move")
        with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
            recorded = _recorded(connection)
            for root in roots:
                _copy_missing(root, artifacts, (address for found in recorded.values() for address in found))
            connection.execute("begin immediate")
            for root in roots:
                _replace(connection, root, here)
            connection.execute("commit")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the addresses in {database} cannot be changed to {artifacts}: {error}") from error
    return [
        f"the pilot was moved or copied from {told(roots)}: its models' addresses are now those of {artifacts}",
        f"copy of the registry before that: {copy}",
    ]


def told(roots: Iterable[str]) -> str:
    """Return the folders of these addresses, as a list for people."""
    return ", ".join(sorted(url2pathname(urlsplit(root).path) for root in roots))


def _recorded(connection: sqlite3.Connection) -> dict[str, list[str]]:
    """Return the recorded addresses per table; empty for tables that do not exist yet."""
    return {
        table: [
            address
            for column in _columns(connection, table)
            for (address,) in connection.execute(f"select distinct {column} from {table} where {column} is not null")
        ]
        for table in _ADDRESSES
    }


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    there = {name for (name,) in connection.execute("select name from pragma_table_info(?)", (table,))}
    return [column for column in _ADDRESSES[table] if column in there]


def _replace(connection: sqlite3.Connection, root: str, here: str) -> None:
    for table in _ADDRESSES:
        for column in _columns(connection, table):
            connection.execute(
                f"update {table} set {column} = :here || substr({column}, length(:root) + 1) "
                f"where {_BELOW.replace('address', column)}",
                {"here": here, "root": root},
            )


def _copy_missing(root: str, artifacts: Path, addresses: Iterable[str]) -> None:
    """Copy the folders that are recorded below `root` and are not among this pilot's artefacts."""
    before = Path(url2pathname(urlsplit(root).path))
    for address in addresses:
        if not address.startswith(f"{root}/"):
            continue
        there = Path(url2pathname(urlsplit(address).path))
        here = artifacts / there.relative_to(before)
        if there.is_dir() and not here.exists():
            here.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=here.parent) as folder:  # all of it or nothing
                shutil.copytree(there, Path(folder) / here.name).rename(here)
