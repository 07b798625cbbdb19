"""Temporary Parquet files for the rows of a window, which need not fit into memory.

A file has the layout of a Delta table's data file, so that it can become part of the table without a second write.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.dataset as ds
from pyarrow.parquet import ParquetFile, ParquetWriter

from groundwork.documents.contract.contract import Dataset

PREFIX = "spool-"
ROW_GROUP_BYTES = 16 * 2**20  # in memory, per window; up to a dozen windows are filled at once
READ_ROWS = 100_000


class Spool:
    """A Parquet file that is written once, batch by batch, and then read as often as needed."""

    def __init__(self, file: Path, schema: pa.Schema, dataset: Dataset) -> None:
        self.file = file
        self.schema = schema
        self.num_rows = 0
        self._writer = ParquetWriter(
            file,
            schema,
            write_statistics=[dataset.event_time.name],  # no other column is used to select rows
            use_dictionary=[name for name in schema.names if name not in dataset.unique],
        )
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        """Add the rows, cast to the columns and types of the schema."""
        if rows.num_rows:
            self._waiting.append(rows.select(self.schema.names).cast(self.schema))
            self.num_rows += rows.num_rows
            if sum(each.nbytes for each in self._waiting) >= ROW_GROUP_BYTES:
                self._write_row_group()

    def close(self) -> None:
        if self._waiting:
            self._write_row_group()
        self._writer.close()

    def to_reader(self) -> pa.RecordBatchReader:
        """Returns a reader of all rows, as `pyarrow.Table.to_reader` does."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def to_dataset(self) -> ds.Dataset:
        """Returns the rows as a dataset, from which an engine reads only the columns it needs."""
        return ds.dataset(self.file, schema=self.schema, format="parquet")

    def _write_row_group(self) -> None:
        rows = pa.concat_tables(self._waiting)
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        self._waiting.clear()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with ParquetFile(self.file) as file:
            yield from file.iter_batches(READ_ROWS)


def forget_spools(beside: Path) -> None:
    """Remove the files of killed runs. No other process may use a spool folder there meanwhile."""
    for folder in beside.glob(f"{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def spool_folder(beside: Path) -> Iterator[Path]:
    """Provide a temporary folder on the disk of the data: /tmp may be in memory."""
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=beside, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
