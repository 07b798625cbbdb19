"""Keeps the addresses in the pilot's own MLflow database true, after the pilot was moved, copied or restored.

MLflow records the address of every experiment, run and model as an absolute one. A copy of a pilot would write into the
original, and a moved pilot would find nothing.
"""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from groundwork.core.errors import StoreError

ARTIFACTS = "mlartifacts"  # the folder in the data folder
_ADDRESSES = {  # the columns that hold addresses
    "experiments": ["artifact_location"],
    "runs": ["artifact_uri"],
    "logged_models": ["artifact_location"],
    "model_versions": ["source", "storage_location"],
}
_BELOW = "(address = :root or substr(address, 1, length(:root) + 1) = :root || '/')"


def bring_home(database: Path, artifacts: Path) -> None:
    """Change the recorded addresses in the SQLite file to the folder `artifacts`, in one transaction.

    A copy that has written into the original before gets its files from there; nothing is written in the original.
    Raises StoreError if the file cannot be read or changed.
    """
    here = artifacts.as_uri()
    try:
        with closing(sqlite3.connect(database, timeout=10, isolation_level=None)) as connection:
            recorded = _recorded(connection)
            roots = {
                each for each in recorded["experiments"] if each.startswith("file:") and each.endswith(f"/{ARTIFACTS}")
            }
            roots.discard(here)
            for root in roots:
                _copy_missing(root, artifacts, (address for found in recorded.values() for address in found))
            if roots:
                connection.execute("begin immediate")
                for root in roots:
                    _replace(connection, root, here)
                connection.execute("commit")
    except (sqlite3.Error, OSError) as error:
        raise StoreError(f"the addresses in {database} cannot be changed to {artifacts}: {error}") from error


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
