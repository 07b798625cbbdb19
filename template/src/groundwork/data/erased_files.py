"""Takes the rows with one value out of a Delta table, with every file and log entry that may still hold it."""

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
    """The keys of all rows with this value, in every version that there is."""
    return {key for keys in _keys_by_file(table, column, value).values() for key in keys if key is not None}


def erase_rows(table: Snapshots, column: str, value: str | int) -> int:
    """Remove the rows with this value, and every file and log entry that may still hold it.

    Returns how many rows there were in the newest version. Earlier versions cannot be read any more, unless none
    held the value. Nothing else may write meanwhile. An erasure that was killed is completed by the next one.
    """
    holding = _keys_by_file(table, column, value)
    if not table.exists:
        for file in holding:  # what a first write left that was killed
            _files(table).delete_file(file)
        return 0
    if not holding and not _half_erased(table):
        return 0
    delta = DeltaTable(table.path)
    removed = delta.delete(_equals(column, value))["num_deleted_rows"]
    # In full: what a killed write left is in no version.
    delta.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False, full=True)
    # The log holds the least and the greatest value of each file, also of those that are gone, and the predicate.
    delta = DeltaTable(table.path)
    delta.create_checkpoint()
    files = _files(table)
    for entry in sorted(found.path for found in files.get_file_info(FileSelector("_delta_log"))):
        number = Path(entry).name.partition(".")[0]
        if number.isdigit() and int(number) < delta.version():
            files.delete_file(entry)
    return int(removed)


def _half_erased(table: Snapshots) -> bool:
    """Whether an erasure was killed: of one that came to its end, the log holds no such entry any more.

    The entries go oldest first, so these two are the last to go.
    """
    return any(each["operation"] in ("DELETE", "VACUUM START") for each in DeltaTable(table.path).history())


def _keys_by_file(table: Snapshots, column: str, value: str | int) -> dict[str, list[str | None]]:
    """The keys of the rows with this value, in each file that has some: of whatever version, or of none."""
    try:
        files = _files(table)
    except TableNotFoundError:  # not even a folder
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
    """The table's files, in a folder or an object store, reached by the variables that deltalake reads."""
    return PyFileSystem(DeltaStorageHandler(table.path))


def _equals(column: str, value: str | int) -> str:
    literal = str(value) if isinstance(value, int) else "'" + value.replace("'", "''") + "'"
    return f'"{column}" = {literal}'
