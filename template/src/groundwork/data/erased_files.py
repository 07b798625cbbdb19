"""Erases the rows with one value from a Delta table, and every file and log entry that may still contain it."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from deltalake.fs import DeltaStorageHandler
from pyarrow.fs import FileSelector, PyFileSystem
from pyarrow.parquet import ParquetFile

from groundwork.data.snapshots import Snapshots


def keys_of(table: Snapshots, column: str, value: str | int) -> set[str]:
    """Returns the keys of all rows with this value in the column, in every version of the table."""
    return {key for keys in _keys_by_file(table, column, value).values() for key in keys if key is not None}


def erase_rows(table: Snapshots, column: str, value: str | int) -> int:
    """Erase the rows with this value, and every file and log entry that may still contain it.

    Returns the number of rows removed from the newest version. If any version had the value, earlier versions cannot
    be read afterwards. No other process may write to the table meanwhile. The next call completes a killed erasure.
    """
    holding = _keys_by_file(table, column, value)
    if not table.exists:
        for file in holding:  # files of a first write that was killed
            _files(table).delete_file(file)
        return 0
    if not holding and not _half_erased(table):
        return 0
    delta = DeltaTable(table.path)
    removed = delta.delete(_equals(column, value))["num_deleted_rows"]
    # full=True also removes files of killed writes, which belong to no version.
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    # The log contains the predicate, and the minimum and maximum of each file, also of removed files.
    delta = DeltaTable(table.path)
    delta.create_checkpoint()
    files = _files(table)
    for entry in sorted(found.path for found in files.get_file_info(FileSelector("_delta_log"))):
        number = Path(entry).name.partition(".")[0]
        if number.isdigit() and int(number) < delta.version():
            files.delete_file(entry)
    return int(removed)


def _half_erased(table: Snapshots) -> bool:
    """Whether an erasure was killed: a completed erasure leaves no DELETE or VACUUM entry in the log.

    Entries are removed oldest first, so these two are the last to be removed.
    """
    return any(each["operation"] in ("DELETE", "VACUUM START") for each in DeltaTable(table.path).history())


def _keys_by_file(table: Snapshots, column: str, value: str | int) -> dict[str, list[str | None]]:
    """Returns, per Parquet file with such rows, their keys; includes files of old versions and of no version."""
    try:
        files = _files(table)
    except TableNotFoundError:  # the folder does not exist
        return {}
    found: dict[str, list[str | None]] = {}
    for info in files.get_file_info(FileSelector("", recursive=True)):
        if not info.path.endswith(".parquet") or info.path.startswith("_delta_log/"):
            continue
        with files.open_input_file(info.path) as content, ParquetFile(content) as file:
            names = [name for name in {column, table.key} if name in file.schema_arrow.names]
            if column not in names:
                continue
            for rows in file.iter_batches(columns=names, use_threads=False):
                keys = rows[table.key].cast(pa.string()) if table.key in names else pa.nulls(len(rows), pa.string())
                same = keys.filter(pc.equal(rows[column].cast(pa.string()), str(value)))
                if len(same):
                    found.setdefault(info.path, []).extend(same.to_pylist())
    return found


def _files(table: Snapshots) -> PyFileSystem:
    """Returns the table's file system: a folder, or an object store with the credentials that deltalake reads."""
    return PyFileSystem(DeltaStorageHandler(table.path))


def _equals(column: str, value: str | int) -> str:
    literal = str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
    return f'"{column}" = {literal}'
