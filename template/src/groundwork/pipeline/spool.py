"""Rows on their way, in a file: a window is never held in memory as a whole."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.dataset as ds

PREFIX = "spool-"
COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class Spool:
    """Rows that are written once, batch by batch, and then read as often as needed."""

    def __init__(self, file: Path, schema: pa.Schema) -> None:
        self.schema = schema
        self.num_rows = 0
        self._file = str(file)
        self._writer = pa.ipc.new_file(self._file, schema, options=COMPRESSED)

    def write(self, rows: pa.Table) -> None:
        """Add the rows, with the columns and types of the schema."""
        if rows.num_rows:
            self._writer.write_table(rows.select(self.schema.names).cast(self.schema))
            self.num_rows += rows.num_rows

    def close(self) -> None:
        self._writer.close()

    def to_reader(self) -> pa.RecordBatchReader:
        """The rows, from the first one on; like that of a pyarrow.Table."""
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def to_dataset(self) -> ds.Dataset:
        """The rows, for an engine that reads only the columns which it needs."""
        return ds.dataset(self._file, schema=self.schema, format="ipc")

    def _batches(self) -> Iterator[pa.RecordBatch]:
        with pa.OSFile(self._file) as file, pa.ipc.open_file(file) as reader:
            for number in range(reader.num_record_batches):
                yield reader.get_batch(number)


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
