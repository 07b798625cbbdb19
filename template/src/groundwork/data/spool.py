"""Rows on their way, in a Parquet file: a window is never held in memory as a whole.

The file is written as a table keeps its own, so that what is let in need not be written a second time.
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
ROW_GROUP_BYTES = 16 * 2**20  # in memory; a dozen windows wait for theirs to fill at once
READ_ROWS = 100_000


class Spool:
    """Rows that are written once, batch by batch, and then read as often as needed."""

    def __init__(self, file: Path, schema: pa.Schema, dataset: Dataset) -> None:
        self.file = file
        self.schema = schema
        self.num_rows = 0
        self._writer = ParquetWriter(
            file,
            schema,
            write_statistics=[dataset.event_time.name],  # rows are looked for by nothing else
            use_dictionary=[name for name in schema.names if name not in dataset.unique],
        )
        self._waiting: list[pa.Table] = []

    def write(self, rows: pa.Table) -> None:
        """Add the rows, with the columns and types of the schema."""
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
        """The rows, from the first one on; like that of a pyarrow.Table."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def to_dataset(self) -> ds.Dataset:
        """The rows, for an engine that reads only the columns which it needs."""
        return ds.dataset(self.file, schema=self.schema, format="parquet")

    def _write_row_group(self) -> None:
        rows = pa.concat_tables(self._waiting)
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        self._waiting.clear()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with ParquetFile(self.file) as file:
            yield from file.iter_batches(READ_ROWS)


def forget_spools(beside: Path) -> None:
    """Remove what runs that were killed left behind. Nobody else may have a spool there meanwhile."""
    for folder in beside.glob(f"{PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def spool_folder(beside: Path) -> Iterator[Path]:
    """A folder for the time being, on the disk of the data: a machine's /tmp may be its memory."""
    beside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=PREFIX, dir=beside, ignore_cleanup_errors=True) as folder:
        yield Path(folder)
