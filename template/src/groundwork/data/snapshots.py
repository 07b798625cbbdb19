"""Versioned tables in Delta Lake: every write is one commit, and earlier versions can be read.

A window is replaced as a whole, so a run that is repeated, also after a kill, produces the same table. Rows are
streamed from a file, so the rows to write need not fit into memory.
"""

import json
import shutil
import time
import uuid
from collections.abc import Iterable, Sequence
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
from groundwork.core.windows import Step, Window, end_of_day, instant, local_time, window_of
from groundwork.data.spool import Spool
from groundwork.documents.contract.contract import Dataset


class Snapshots:
    """One Delta table with rows of the contract's data set."""

    def __init__(self, path: Path | str, dataset: Dataset) -> None:
        """`path` is a folder, or an address in an object store."""
        self.path = str(path)
        self.event_time = dataset.event_time.name
        self.key = dataset.key.name
        self.zone = dataset.zone
        self._days_ahead = dataset.max_days_ahead

    @property
    def exists(self) -> bool:
        return DeltaTable.is_deltatable(self.path)

    @property
    def version(self) -> int | None:
        """The number of the newest version; None before the first write."""
        return DeltaTable(self.path).version() if self.exists else None

    @property
    def table_id(self) -> str | None:
        """The table's id, which changes if the table is created again at the same path; None before the first write."""
        return str(DeltaTable(self.path).metadata().id) if self.exists else None

    def replace(self, rows: pa.Table | Spool, start: datetime, end: datetime) -> int:
        """Replace all rows in [start, end) by `rows`, in one commit.

        Returns the new version, or the current one if the table already has these rows, in any order. Raises Busy if
        another process wrote meanwhile, TypeChanged if a column has another type in the table.
        """
        table = DeltaTable(self.path) if self.exists else None
        outdated: list[str] | None = []
        if table:
            self._refuse_other_types(table, rows.schema)
            outdated = self._files_of_window(table, start, end)
            there = (
                digest(_rows(table, f"select * from t where {self._within(start, end)}")) if outdated != [] else None
            )
            if rows.num_rows == (there.rows if there else 0) and (not there or there == digest(rows.to_reader())):
                return table.version()
        taken = isinstance(rows, Spool) and rows.num_rows and "://" not in self.path  # a local folder
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
                raise Busy(f"another process wrote to {self.path} meanwhile; nothing was changed") from error
            raise
        if table is None:
            return DeltaTable(self.path).version()
        table.update_incremental()  # a transaction leaves it as it was; opening it again would read the whole log
        return table.version()

    def _take(self, rows: Spool, table: DeltaTable | None, outdated: Sequence[str]) -> None:
        """Add the file of the rows to the table, and remove the `outdated` files, in one commit.

        If the process is killed before the commit, the added file belongs to no version.
        """
        folder, name, now = Path(self.path), f"part-00000-{uuid.uuid4()}-c000.snappy.parquet", int(time.time() * 1000)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            (folder / name).hardlink_to(rows.file)
        except OSError:  # the table is on another disk
            shutil.copyfile(rows.file, folder / name)
        new = AddAction(name, rows.file.stat().st_size, {}, now, True, json.dumps(self._statistics(rows.file)))
        if table is None:
            create_table_with_add_actions(self.path, Schema.from_arrow(rows.schema), [new])
        else:
            table.create_write_transaction(
                [new, *(RemoveAction(file, True, now) for file in outdated)],
                mode="append",
                schema=table.schema(),
                commit_properties=CommitProperties(max_commit_retries=0),  # fails if the table changed meanwhile
            )

    def _files_of_window(self, table: DeltaTable, start: datetime, end: datetime) -> list[str] | None:
        """Returns the files with rows in [start, end); None if one of them may also have rows outside."""
        start, end = instant(start, self.zone), instant(end, self.zone)
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
        """Returns the statistics of a file for the log: its number of rows and the event time's minimum and maximum.

        Readers skip files by them. No other column's values are written to the log, so that erasing stays possible.
        """
        metadata = read_metadata(file)
        column = metadata.schema.names.index(self.event_time)
        bounds = [metadata.row_group(number).column(column).statistics for number in range(metadata.num_row_groups)]
        return {
            "numRecords": metadata.num_rows,
            "minValues": {self.event_time: _logged(min(each.min for each in bounds))},
            "maxValues": {self.event_time: _logged(max(each.max for each in bounds))},
        }

    def read(
        self,
        start: datetime | None = None,
        end: datetime | None = None,
        version: int | None = None,
        columns: Sequence[str] = (),
    ) -> pa.Table:
        """Returns the rows in [start, end) of the newest or the given version, ordered by event time and key.

        `columns` limits the columns; by default all. Raises NotEnoughData if the version cannot be read any more.
        """
        order = f'"{self.event_time}", "{self.key}"'
        rows = self._query(
            f"select {_listed(columns)} from t where {self._within(start, end)} order by {order}", version
        )
        return rows.cast(_plain_schema(rows.schema))

    def pieces(self, window: Window, rows: int, version: int) -> list[tuple[Window, int]]:
        """Split the window at full hours into pieces of about `rows` rows; returns each with its number of rows.

        The list is empty if the window has no rows.
        """
        hour = f"date_trunc('hour', \"{self.event_time}\")"
        query = f"select {hour} as hour, count(*) as rows from t where {self._within(*window)} group by 1 order by 1"
        pieces: list[tuple[Window, int]] = []
        start, held = window.start, 0
        for moment, count in zip(*self._query(query, version).to_pydict().values(), strict=True):
            if held >= rows:
                border = local_time(moment, self.zone)
                pieces.append((Window(start, border), held))
                start, held = border, 0
            held += count
        return [*pieces, (Window(start, window.end), held)] if held else []

    def sharing(self, column: str, rows: pa.Table | ds.Dataset, outside: Window) -> pa.Table:
        """Returns column and event time of the table's rows outside the window that share a value with `rows`."""
        names = _listed(dict.fromkeys((column, self.event_time)))  # the event time itself may be unique
        with duckdb.connect() as engine:
            engine.register("rows", rows)
            if not self.exists or column not in pa.schema(DeltaTable(self.path).schema().to_arrow()).names:
                return engine.sql(f"select {names} from rows limit 0").to_arrow_table()
            is_outside = " or ".join((self._within(None, outside.start), self._within(outside.end, None)))
            there = self._stream(f"select {names} from t where {is_outside}")
            engine.register("there", there)
            shared = engine.sql(f'from there semi join rows using ("{column}")').to_arrow_table()
            return shared.cast(_plain_schema(there.schema))

    def count(self, window: Window) -> int:
        """Returns the number of rows in the window."""
        if not self.exists:
            return 0
        return int(self._query(f"select count(*) from t where {self._within(*window)}")[0][0].as_py())

    def newest(self) -> datetime | None:
        """Returns the newest event time, as local time of the contract's zone; None if the table has no rows.

        A row that is further ahead than the contract allows does not count: it came in before that was checked.
        """
        if not self.exists:
            return None
        read = self._within(None, end_of_day(self._days_ahead, self.zone))
        newest = self._query(f'select max("{self.event_time}") from t where {read}')[0][0].as_py()
        return local_time(newest, self.zone) if newest else None

    def newest_window(self, step: Step) -> Window:
        """Returns the window of the newest row. Raises NotEnoughData if the table has no rows."""
        newest = self.newest()
        if newest is None:
            raise NotEnoughData("there are no snapshots yet: run `groundwork ingest` first")
        return window_of(newest, step)

    def append(self, rows: pa.Table) -> int:
        """Append the rows in one commit; returns the new version. Raises TypeChanged as `replace` does."""
        table = DeltaTable(self.path)
        self._refuse_other_types(table, rows.schema)
        write_deltalake(table, rows, mode="append")
        return table.version()

    def _refuse_other_types(self, table: DeltaTable, schema: pa.Schema) -> None:
        """Raise TypeChanged if a column has another type: Delta Lake would cast silently and drop decimals."""
        there = {field.name: field.type for field in pa.schema(table.schema().to_arrow())}
        for field in schema:
            before, now = _plain(there.get(field.name, field.type)), _plain(field.type)
            if before != now and not pa.types.is_null(now):
                raise TypeChanged(
                    f"{field.name} is {now} in contract.yaml, but {before} in {self.path}; nothing was changed. "
                    "Rename the column in contract.yaml, or move the table away and run `groundwork ingest` again"
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
                f"version {version} of the snapshots cannot be read any more, for example after an erasure; "
                "`groundwork train` trains on the newest version"
            ) from error
        return _rows(table, query)

    def _within(self, start: datetime | None, end: datetime | None) -> str:
        bounds = [(sign, instant(bound, self.zone)) for sign, bound in ((">=", start), ("<", end)) if bound]
        return " and ".join(f"\"{self.event_time}\" {sign} '{bound.isoformat()}'" for sign, bound in bounds) or "true"


class Digest(NamedTuple):
    """A digest that is equal for equal rows, in any order."""

    columns: tuple[str, ...]
    rows: int
    hashes: int


def digest(rows: pa.RecordBatchReader) -> Digest:
    """Read all rows, batch by batch, and return the sum of their hashes. The order of the columns does not matter."""
    fields = sorted(rows.schema, key=lambda field: field.name)
    # DuckDB's hash is often equal for long texts that differ in two places; MD5 is not.
    values = ", ".join(
        f'md5_number("{field.name}")' if pa.types.is_string(_plain(field.type)) else f'"{field.name}"'
        for field in fields
    )
    with duckdb.connect() as engine:
        engine.register("batches", rows)
        [(count, total)] = engine.execute(f"select count(*), coalesce(sum(hash({values})), 0) from batches").fetchall()
    return Digest(tuple(field.name for field in fields), int(count), int(total))


def _rows(table: DeltaTable, query: str) -> pa.RecordBatchReader:
    # Read with deltalake's own engine: its pyarrow reader can abort the interpreter at exit.
    return pa.RecordBatchReader.from_stream(QueryBuilder().register("t", table).execute(query))


def _has_schema(table: DeltaTable | None, schema: pa.Schema) -> bool:
    """Whether the table has exactly this schema; true if the table does not exist yet."""
    return table is None or pa.schema(table.schema().to_arrow()).equals(schema)


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """Replaces string views, which DataFusion returns and few other libraries read, by strings."""
    return pa.schema([(field.name, _plain(field.type)) for field in schema])


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if kind == pa.string_view() else kind


def _logged(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")  # as the Delta protocol writes an instant


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns) or "*"
