"""Unique values across windows: of the valid rows that share one, only the earliest is let in.

Duplicates within a window are found in the source's engine. This module compares the windows that were read with each
other and with those in the snapshots, so that the result does not depend on the order in which windows are ingested.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from groundwork.core.windows import Step, Window, instant, window_of
from groundwork.data.reading import Read
from groundwork.data.rules import REASONS, is_there_already
from groundwork.data.snapshots import Snapshots
from groundwork.data.spool import Spool
from groundwork.documents.contract.contract import Dataset


def set_apart(
    dataset: Dataset,
    snapshots: Snapshots,
    reads: dict[Window, Read],
    changed: Collection[Window],
    step: Step,
    folder: Path,
) -> set[Window]:
    """Move valid rows to the broken rows if a row of an earlier window has the same key or other unique value.

    `reads` holds consecutive windows; those not in `changed` are already in the snapshots unchanged. Files are written
    below `folder`. Returns the later windows that must be read again, because the snapshots hold such values in them.
    """
    span, clock = Window(min(reads).start, max(reads).end), dataset.event_time.name
    elsewhere = {}
    if changed:
        new = ds.dataset([reads[window].sound.to_dataset() for window in changed])
        elsewhere = {name: snapshots.sharing(name, new, outside=span) for name in dataset.unique}
    if not any(read.repeats for read in reads.values()) and not any(map(len, elsewhere.values())):
        return set()
    later: set[Window] = set()
    taken: dict[str, set[object]] = {name: set() for name in dataset.unique}
    for name, rows in elsewhere.items():
        is_earlier = pc.less(rows[clock], pa.scalar(instant(span.start, dataset.zone), rows.schema.field(clock).type))
        taken[name].update(rows[name].filter(is_earlier).to_pylist())
        hours = pc.floor_temporal(rows[clock].filter(pc.invert(is_earlier)), unit="hour").unique()
        later.update(window_of(hour, step, dataset.zone) for hour in hours.to_pylist())
    shared = {name: _shared(name, reads.values(), elsewhere.get(name)) for name in dataset.unique}
    for window, read in sorted(reads.items()):
        moved = {}
        for row in _rows_with(shared, read, dataset.key.name):
            if broken := [name for name in shared if row[name] is not None and row[name] in taken[name]]:
                moved[row[dataset.key.name]] = "; ".join(map(is_there_already, broken))
            else:
                for name in shared:
                    taken[name].add(row[name])
        if moved:
            reads[window] = _moved(read, dataset, moved, folder / f"{window.start:%Y-%m-%d}")
    return later


def _shared(name: str, reads: Collection[Read], elsewhere: pa.Table | None) -> pa.Array:
    """Returns the values of the column that occur in more than one row."""
    with duckdb.connect() as engine:
        engine.register("rows", ds.dataset([read.sound.to_dataset() for read in reads]))
        query = f'select "{name}" from rows where "{name}" is not null group by all having count(*) > 1'
        found = engine.sql(query).to_arrow_table()[name]
    there = elsewhere[name].cast(found.type).chunks if elsewhere else []
    return pa.chunked_array([*found.chunks, *there], found.type).unique()


def _rows_with(shared: Mapping[str, pa.Array], read: Read, key: str) -> list[dict[str, object]]:
    """Returns key and unique values of the rows that have at least one of the shared values."""
    is_shared = [ds.field(name).isin(values) for name, values in shared.items()]
    condition = is_shared[0]
    for each in is_shared[1:]:
        condition |= each
    return read.sound.to_dataset().to_table(list({key, *shared}), condition).to_pylist()


def _moved(read: Read, dataset: Dataset, reasons: Mapping[object, str], folder: Path) -> Read:
    """Returns the same rows, with the rows in `reasons` (key to reason) moved from the valid to the broken ones."""
    folder.mkdir(parents=True)
    key = dataset.key.name
    sound = Spool(folder / "sound.parquet", read.sound.schema, dataset)
    broken = Spool(folder / "broken.parquet", read.broken.schema, dataset)
    for batch in read.broken.to_reader():
        broken.write(pa.table(batch))
    for batch in read.sound.to_reader():
        rows = pa.table(batch)
        is_out = pc.is_in(rows[key], pa.array(list(reasons), rows.schema.field(key).type))
        sound.write(rows.filter(pc.invert(is_out)))
        out = rows.filter(is_out)
        broken.write(
            out.append_column(REASONS, pa.array([reasons[each] for each in out[key].to_pylist()], pa.string()))
        )
    sound.close()
    broken.close()
    return Read(sound=sound, broken=broken, days=read.days, hashes=read.hashes, depends=True)
