"""One piece of work, in the pilot's environment and in a process of its own; prints what it cost as JSON.

`python work.py WHAT FOLDER`, with GROUNDWORK_HOME and GROUNDWORK_SOURCE_URL set. FOLDER takes what the baseline writes.
"""

import importlib.metadata
import json
import resource
import sys
import time
from pathlib import Path

import deltalake  # noqa: F401 - so that what is measured is work, not imports
import ibis.backends.duckdb  # noqa: F401
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import BEGINNING, END, connected, expression
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand


def copied(pilot: Pilot, folder: Path) -> int:
    """The floor: DuckDB scans the same rows and writes them to one Parquet file."""
    with connected(pilot) as backend:
        rows = expression(backend, pilot.contract.dataset, Window(BEGINNING, END))
        target = folder / "floor.parquet"
        backend.con.execute(f"copy ({backend.compile(rows)}) to '{target}' (format parquet)")
        [(count,)] = backend.con.execute(f"select count(*) from '{target}'").fetchall()
        target.unlink()
    return int(count)


def ingested(pilot: Pilot, folder: Path) -> int:
    """What `groundwork ingest` does, without Prefect around it."""
    return sum(each.rows_in for each in by_hand.ingest(pilot))


def compared(pilot: Pilot, folder: Path) -> int:
    """What `groundwork ingest --all` does: it compares all of the history with the source."""
    return sum(each.rows_in for each in by_hand.ingest(pilot, everything=True))


def main() -> None:
    pilot, folder = Pilot.here(), Path(sys.argv[2])
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    rows = {"floor": copied, "ingest": ingested, "all": compared}[sys.argv[1]](pilot, folder)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    said = {
        "rows": rows,
        "seconds": seconds,
        "cpu_seconds": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "peak_mb": after.ru_maxrss / 1024,
        "snapshot_version": snapshots.version,
        "versions": {
            name: importlib.metadata.version(name) for name in ("duckdb", "ibis-framework", "deltalake", "pyarrow")
        },
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
