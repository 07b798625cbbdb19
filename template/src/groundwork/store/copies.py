"""Copies of an SQLite database, made before a migration, in the same folder."""

import glob
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


def path_before(file: Path, change: object) -> Path:
    """Returns the path of the copy that `copy_before` makes before a change, such as a schema version."""
    return file.with_name(f"{file.name}.before-{change}")


def copy_before(file: Path, change: object) -> Path:
    """Copy the database to `NAME.before-CHANGE` in the same folder, in place of an earlier copy; returns its path.

    Other processes may read and write the store meanwhile: SQLite copies a consistent state.
    """
    copy = path_before(file, change)
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    part.touch(mode=0o600)
    with closing(sqlite3.connect(file, timeout=10)) as source, closing(sqlite3.connect(part)) as target:
        target.execute("pragma journal_mode = off")  # a killed copy is started again, so it needs no journal file
        source.backup(target)
    shutil.copymode(file, part)
    part.replace(copy)
    return copy


def remove_copies(file: Path) -> None:
    """Delete all copies of the database."""
    for copy in file.parent.glob(f"{glob.escape(file.name)}.before-*"):
        copy.unlink(missing_ok=True)
