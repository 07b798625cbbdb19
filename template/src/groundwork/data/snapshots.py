"""Versioned tables in Delta Lake: every write is one commit, and every version can be read again.

A window is replaced as a whole, so a run that is repeated, or was killed and is run again, ends in the same table.
Rows wait in a file and stream from there: what is written need not fit into memory.
"""

import json
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, QueryBuilder, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction, create_table_with_add_actions
from pyarrow.parquet import read_metadata

from groundwork.core.errors import Busy, NotEnoughData, TypeChanged
from groundwork.core.windows import Step, Window, window_of
from groundwork.data.spool import Spool
from groundwork.documents.contract.contract import Dataset


class Snapshots:
    """One Delta table that holds rows of the contract's data set."""

    def __init__(self, path: Path | str, dataset: Dataset) -> None:
        """`path` is a folder, or an address in an object store."""
        self.path = str(path)
        self.event_time = dataset.event_time.name
        self.key = dataset.key.name

    @property
    def exists(self) -> bool:
        return DeltaTable.is_deltatable(self.path)

    @property
    def version(self) -> int | None:
        """The newest version; None before the first write."""
        return DeltaTable(self.path).version() if self.exists else None

    @property
    def table_id(self) -> str | None:
        """Tells this table from one that is made anew in its place; None before the first write."""
        return str(DeltaTable(self.path).metadata().id) if self.exists else None

    def replace(self, rows: pa.Table | Spool, start: datetime, end: datetime) -> int:
        """Put `rows` in the place of everything in [start, end), in one commit.

        Returns the new version, or the present one where these rows are there already, in whatever order. Raises
        Busy where somebody else wrote meanwhile, TypeChanged where a column had another type so far.
        """
        table = DeltaTable(self.path) if self.exists else None
        outdated: list[str] | None = []
        if table:
            self._refuse_other_types(rows.schema)
            outdated = self._files_of_window(table, start, end)
            there = (
                digest(_rows(table, f"select * from t where {self._within(start, end)}")) if outdated != [] else None
            )
            if rows.num_rows == (there.rows if there else 0) and (not there or there == digest(rows.to_reader())):
                return table.version()
        taken = isinstance(rows, Spool) and rows.num_rows and "://" not in self.path  # by deltalake, no object store
        try:
            if taken and outdated is not None and _has_schema(table, rows.schema):
                self._take(rows, table, outdated)
            elif table:
                predicate = self._within(start, end)
                write_deltalake(table, rows.to_reader(), mode="overwrite", predicate=predicate, schema_mode="merge")
            else:
                write_deltalake(self.path, rows.to_reader(), mode="error")
        except DeltaError as error:
            if isinstance(error, CommitFailedError) or (table is None and self.exists):
                raise Busy(f"{self.path} was written by somebody else meanwhile; nothing was changed") from error
            raise
        return DeltaTable(self.path).version()

    def _take(self, rows: Spool, table: DeltaTable | None, outdated: Sequence[str]) -> None:
        """Make the file of the rows one of the table's, in the place of others that it has.

        One that is killed before it commits leaves a file that belongs to no version.
        """
        folder, name, now = Path(self.path), f"part-00000-{uuid.uuid4()}-c000.snappy.parquet", int(time.time() * 1000)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).hardlink_to(rows.file)
        except OSError:  # on another disk
            shutil.copyfile(rows.file, folder / name)
        new = AddAction(name, rows.file.stat().st_size, {}, now, True, json.dumps(self._statistics(rows.file)))
        if table is None:
            create_table_with_add_actions(self.path, Schema.from_arrow(rows.schema), [new])
        else:
            table.create_write_transaction(
                [new, *(RemoveAction(file, True, now) for file in outdated)],
                mode="append",
                schema=table.schema(),
                commit_properties=CommitProperties(max_commit_retries=0),  # the table must be as it was looked at
            )

    def _files_of_window(self, table: DeltaTable, start: datetime, end: datetime) -> list[str] | None:
        """The files with rows in [start, end); None where one may hold others too."""
        found = []
        for file in pa.table(table.get_add_actions(flatten=True)).to_pylist():
            first, last = (file.get(f"{bound}.{self.event_time}") for bound in ("min", "max"))
            if first is None or last is None:
                return None
            if first < end and last >= start:
                if first < start or last >= end:
                    return None
                found.append(file["path"])
        return found

    def _statistics(self, file: Path) -> dict[str, object]:
        """What the log says of a file, by which readers pass over it: no value but the bounds of the event time."""
        metadata = read_metadata(file)
        column = metadata.schema.names.index(self.event_time)
        bounds = [metadata.row_group(number).column(column).statistics for number in range(metadata.num_row_groups)]
        return {
            "numRecords": metadata.num_rows,
            "minValues": {self.event_time: min(each.min for each in bounds).isoformat()},
            "maxValues": {self.event_time: max(each.max for each in bounds).isoformat()},
        }

    def read(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
        columns: Sequence[str] = (),
    ) -> pa.Table:
        """The rows in [start, end) of the newest or the given version, ordered by event time and key.

        Only these columns, if any are named.
        """
        order = f'"{self.event_time}", "{self.key}"'
        rows = self._query(
            f"select {_listed(columns)} from t where {self._within(start, end)} order by {order}", version
        )
        return rows.cast(_plain_schema(rows.schema))

    def batches(self, start: datetime, end: datetime, version: int, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        """These columns of the rows in [start, end) of a version, some thousands at a time, in no order."""
        for rows in self._stream(f"select {_listed(columns)} from t where {self._within(start, end)}", version):
            yield rows.cast(_plain_schema(rows.schema))

    def pieces(self, window: Window, rows: int, version: int) -> list[tuple[Window, int]]:
        """Cut the window at full hours into pieces of about so many rows, each with the number that it has.

        There are none where the window holds no rows.
        """
        hour = f"date_trunc('hour', \"{self.event_time}\")"
        query = f"select {hour} as hour, count(*) as rows from t where {self._within(*window)} group by 1 order by 1"
        pieces: list[tuple[Window, int]] = []
        start, held = window.start, 0
        for moment, count in zip(*self._query(query, version).to_pydict().values(), strict=True):
            if held >= rows:
                pieces.append((Window(start, moment), held))
                start, held = moment, 0
            held += count
        return [*pieces, (Window(start, window.end), held)] if held else []

    def sharing(self, column: str, rows: pa.Table | ds.Dataset, outside: Window) -> pa.Table:
        """The column and the event time of what is outside of the window, and has a value that these rows have too."""
        with duckdb.connect() as engine:
            engine.register("rows", rows)
            if not self.exists or column not in pa.schema(DeltaTable(self.path).schema().to_arrow()).names:
                return engine.sql(f'select "{column}", "{self.event_time}" from rows limit 0').to_arrow_table()
            is_outside = " or ".join((self._within(None, outside.start), self._within(outside.end, None)))
            engine.register("there", self._stream(f'select "{column}", "{self.event_time}" from t where {is_outside}'))
            return engine.sql(f'from there semi join rows using ("{column}")').to_arrow_table()

    def newest(self) -> datetime | None:
        """The newest event time; None where there is none."""
        if not self.exists:
            return None
        return self._query(f'select max("{self.event_time}") from t')[0][0].as_py()

    def newest_window(self, step: Step) -> Window:
        """The window that holds the newest row. Raises NotEnoughData where there is none."""
        newest = self.newest()
        if newest is None:
            raise NotEnoughData("there are no snapshots yet: run `groundwork ingest` first")
        return window_of(newest, step)

    def append(self, rows: pa.Table) -> int:
        """Add the rows in one commit; returns the new version. Raises TypeChanged as `replace` does."""
        self._refuse_other_types(rows.schema)
        write_deltalake(self.path, rows, mode="append")
        return DeltaTable(self.path).version()

    def _refuse_other_types(self, schema: pa.Schema) -> None:
        """Delta Lake would make them fit without a word, and cut the decimals off."""
        there = {field.name: field.type for field in pa.schema(DeltaTable(self.path).schema().to_arrow())}
        for field in schema:
            before, now = _plain(there.get(field.name, field.type)), _plain(field.type)
            if before != now and not pa.types.is_null(now):
                raise TypeChanged(
                    f"{field.name} is {now} by contract.yaml, and {before} in {self.path}; nothing was changed. "
                    "Give the new column another name, or move the table away and `groundwork ingest` everything anew"
                )

    def _query(self, query: str, version: int | None = None) -> pa.Table:
        return self._stream(query, version).read_all()

    def _stream(self, query: str, version: int | None = None) -> pa.RecordBatchReader:
        try:
            table = DeltaTable(self.path, version=version)
        except DeltaError as error:
            if version is None:
                raise
            raise NotEnoughData(
                f"version {version} of the snapshots cannot be read any more, as after an erasure; `groundwork train` "
                "makes a model of the present one"
            ) from error
        return _rows(table, query)

    def _within(self, start: datetime | None, end: datetime | None) -> str:
        bounds = ((">=", start), ("<", end))
        return (
            " and ".join(f"\"{self.event_time}\" {sign} '{bound.isoformat()}'" for sign, bound in bounds if bound)
            or "true"
        )


class Digest(NamedTuple):
    """Tells whether rows are the same, in whatever order."""

    columns: tuple[str, ...]
    rows: int
    hashes: int


def digest(rows: pa.RecordBatchReader) -> Digest:
    """Read all rows, batch by batch, and add up their hashes. In which order the columns stand makes no difference."""
    fields = sorted(rows.schema, key=lambda field: field.name)
    # DuckDB's hash of a long text has equal values for texts that differ in two places; MD5 has not.
    values = ", ".join(
        f'md5_number("{field.name}")' if pa.types.is_string(_plain(field.type)) else f'"{field.name}"'
        for field in fields
    )
    with duckdb.connect() as engine:
        engine.register("batches", rows)
        [(count, total)] = engine.execute(f"select count(*), coalesce(sum(hash({values})), 0) from batches").fetchall()
    return Digest(tuple(field.name for field in fields), int(count), int(total))


def _rows(table: DeltaTable, query: str) -> pa.RecordBatchReader:
    # Through deltalake's own engine: its pyarrow reader can abort the interpreter when the process ends.
    return pa.RecordBatchReader.from_stream(QueryBuilder().register("t", table).execute(query))


def _has_schema(table: DeltaTable | None, schema: pa.Schema) -> bool:
    """Whether the table has just these columns; one that does not exist yet has any."""
    return table is None or pa.schema(table.schema().to_arrow()).equals(schema)


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """DataFusion answers with string views, which few other libraries read."""
    return pa.schema([(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if kind == pa.string_view() else kind


def _listed(columns: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns) or "*"
