"""Versioned tables in Delta Lake: every write is one commit, and every version can be read again.

A window is replaced as a whole, so a run that is repeated, or was killed and is run again, ends in the same table.
"""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from groundwork.contract import Dataset
from groundwork.errors import NotEnoughData
from groundwork.windows import Step, Window, window_of


class Snapshots:
    """One Delta table that holds rows of the contract's data set."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
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

    def replace(self, rows: pa.Table, start: datetime, end: datetime) -> int:
        """Put `rows` in the place of everything in [start, end), in one commit.

        Returns the new version, or the present one where these rows are there already.
        """
        rows = rows.sort_by([(self.event_time, "ascending"), (self.key, "ascending")])
        if self.exists and self.read(start, end).equals(rows):
            return DeltaTable(self.path).version()
        write_deltalake(self.path, rows, mode="overwrite", predicate=self._within(start, end) if self.exists else None)
        return DeltaTable(self.path).version()

    def read(self, start: datetime | None = None, end: datetime | None = None, version: int | None = None) -> pa.Table:
        """The rows in [start, end) of the newest or the given version, ordered by event time and key."""
        query = f'select * from t where {self._within(start, end)} order by "{self.event_time}", "{self.key}"'
        rows = self._query(query, version)
        # DataFusion answers with string views, which few other libraries read.
        return rows.cast(pa.schema([(field.name, _plain(field.type)) for field in rows.schema]))

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

    def _query(self, query: str, version: int | None = None) -> pa.Table:
        # Through deltalake's own engine: its pyarrow reader can abort the interpreter when the process ends.
        table = DeltaTable(self.path, version=version)
        return pa.table(QueryBuilder().register("t", table).execute(query))

    def _within(self, start: datetime | None, end: datetime | None) -> str:
        bounds = ((">=", start), ("<", end))
        return (
            " and ".join(f"\"{self.event_time}\" {sign} '{bound.isoformat()}'" for sign, bound in bounds if bound)
            or "true"
        )


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if kind == pa.string_view() else kind
