"""Copies of an SQLite store, made before a migration, in the same folder."""

import glob
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path


def copy_before(file: Path, version: int) -> Path:
    """Copy the store to `NAME.before-VERSION` in the same folder and replace an earlier copy; returns the copy's path.

    Other processes may read and write the store meanwhile: SQLite copies a consistent state.
    """
    copy = file.with_name(f"{file.name}.before-{version}")
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
    """Delete all copies of the store."""
    for copy in file.parent.glob(f"{glob.escape(file.name)}.before-*"):
        copy.unlink(missing_ok=True)
