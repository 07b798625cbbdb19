"""Quarantine: keeps broken rows with their reasons, lists them, and lets in those that are valid now."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

import ibis
import pyarrow as pa
import pyarrow.compute as pc

from groundwork.core.errors import ContractBreach
from groundwork.core.windows import Window, window_of, with_offset
from groundwork.data.column_types import exactly, kept_exact
from groundwork.data.erasure import Erased
from groundwork.data.rules import REASONS, broken_by_window, is_there_already, with_broken_rules
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import as_instants, expression
from groundwork.data.spool import Spool
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot

EXAMPLES = 3
ASKED_AT_ONCE = 1000  # keys in one query to the source
_BETWEEN_REASONS = re.compile(r"; (?=[a-z][a-z0-9_]*: )")  # each begins with a column; a valid value may hold "; "


@dataclass
class Held:
    """The number of rows of a window that break one rule."""

    window: Window
    rule: str
    rows: int = 0
    examples: list[str] = field(default_factory=list)  # values that break the rule; none from sensitive columns


@dataclass(frozen=True)
class Replayed:
    """The result of a replay, in rows."""

    let_in: int
    remaining: int
    not_let_in: list[Window]  # windows without rows in the snapshots: they must be ingested again as a whole
    version: int | None  # of the snapshots


def put_into_quarantine(pilot: Pilot, window: Window, broken: Spool) -> None:
    """Keep the broken rows of a window, each with its reasons, in place of those that were kept of it before."""
    quarantine = Snapshots(pilot.quarantine, pilot.contract.dataset)
    if broken.num_rows or quarantine.exists:
        quarantine.replace(broken, *window)


def held(pilot: Pilot) -> list[Held]:
    """Returns what is in quarantine, per window and rule; per window, the most frequent rule first."""
    dataset = pilot.contract.dataset
    quarantine = Snapshots(pilot.quarantine, dataset)
    if not quarantine.exists:
        return []
    found: dict[tuple[Window, str], Held] = {}
    for row in quarantine.read().to_pylist():
        window = window_of(row[dataset.event_time.name], pilot.charter.monitoring.window, dataset.zone)
        for rule in _BETWEEN_REASONS.split(row[REASONS]):
            entry = found.setdefault((window, rule), Held(window, rule))
            entry.rows += 1
            example = ", ".join(
                _readable(row[name], dataset) for name in _shown(dataset, rule) if row.get(name) is not None
            )
            if example and example not in entry.examples and len(entry.examples) < EXAMPLES:
                entry.examples.append(example)
    return sorted(found.values(), key=lambda entry: (entry.window, -entry.rows, entry.rule))


def replay(backend: ibis.BaseBackend, pilot: Pilot) -> Replayed:
    """Check every quarantined row against the current contract, and add the valid rows to the snapshots in one commit.

    Each row is read again from the source; if the source no longer has it, the quarantined row is checked. Broken rows
    stay, with the rules that they break now. Raises ContractBreach, and changes nothing, if a window as a whole would
    break the contract with the added rows.
    """
    dataset = pilot.contract.dataset
    snapshots, quarantine = Snapshots(pilot.snapshots, dataset), Snapshots(pilot.quarantine, dataset)
    kept = quarantine.read() if quarantine.exists else None
    if kept is None or not kept.num_rows:
        return Replayed(0, 0, [], snapshots.version)
    let_in, remaining, not_let_in = [], {}, []
    for window, rows in _by_window(kept, pilot):
        there = snapshots.read(*window) if snapshots.exists else None
        if there is None or not there.num_rows:
            not_let_in.append(window)
            continue
        checked = _checked(backend, pilot, snapshots, window, rows, there)
        is_sound = checked[REASONS].is_null()
        sound = checked.filter(is_sound).drop_columns([REASONS])
        whole = pa.concat_tables([there, sound.cast(there.schema)])
        if sound.num_rows and (broken := broken_by_window(ibis.memtable(whole), dataset, growing=True)):
            raise ContractBreach(
                f"with the rows in quarantine, {window} would break contract.yaml: {'; '.join(broken)}"
            )
        let_in.append(sound)
        remaining[window] = checked.filter(pc.invert(is_sound))
    new = pa.concat_tables(let_in) if let_in else kept.slice(0, 0)
    # Append first, then remove from quarantine: after a kill in between, the next replay finds the rows appended.
    version = snapshots.append(new) if new.num_rows else snapshots.version
    for window, rows in remaining.items():
        quarantine.replace(rows, *window)
    return Replayed(new.num_rows, quarantine.read().num_rows, not_let_in, version)


def _checked(
    backend: ibis.BaseBackend,
    pilot: Pilot,
    snapshots: Snapshots,
    window: Window,
    rows: pa.Table,
    there: pa.Table,
) -> pa.Table:
    """Returns the rows as they are now, with the rules they break now; `there` holds the window's snapshot rows."""
    dataset = pilot.contract.dataset
    key = dataset.key.name
    schema = pa.schema([there.schema.field(column.name) for column in dataset.columns])
    in_snapshots = there[key].combine_chunks()
    is_there = pc.is_in(rows[key], in_snapshots)
    # A row that is equal in the snapshots, and is not held as a duplicate, was let in by a replay that was killed then.
    is_copy = pc.match_substring(rows[REASONS], is_there_already(key))
    doubtful = _fitted(rows.filter(pc.and_(is_there, pc.invert(is_copy))), schema)
    let_in = {row[key]: row for row in there.filter(pc.is_in(there[key], doubtful[key].combine_chunks())).to_pylist()}
    not_let_in = [row for row in doubtful.to_pylist() if row != let_in[row[key]]]
    held_back = _fitted(rows.filter(pc.or_(pc.invert(is_there), is_copy)), schema)
    kept = pa.concat_tables([held_back, pa.Table.from_pylist(not_let_in, schema)])
    asked = kept[key].filter(pc.invert(pc.is_in(kept[key], in_snapshots))).drop_null().to_pylist()
    now = _fitted(_in_source(backend, dataset, window, asked), schema) if asked else schema.empty_table()
    gone = kept.filter(pc.invert(pc.is_in(kept[key], now[key].combine_chunks())))
    candidates = Erased(pilot).without(pa.concat_tables([now, gone]))
    checked = with_broken_rules(ibis.memtable(candidates), dataset).to_pyarrow()
    reasons = [reason or "" for reason in checked[REASONS].to_pylist()]
    for name in dataset.unique:
        elsewhere = snapshots.sharing(name, checked, outside=window)[name]
        taken = {*there[name].to_pylist(), *elsewhere.to_pylist()} - {None}
        reasons = [
            "; ".join(filter(None, [reason, is_there_already(name)]))
            if value in taken and is_there_already(name) not in reason
            else reason
            for reason, value in zip(reasons, checked[name].to_pylist(), strict=True)
        ]
    fields = pa.schema([*schema, pa.field(REASONS, pa.string())])
    return checked.set_column(
        checked.num_columns - 1, REASONS, pa.array([reason or None for reason in reasons], pa.string())
    ).cast(fields)


def _in_source(backend: ibis.BaseBackend, dataset: Dataset, window: Window, keys: list[str]) -> pa.Table:
    rows = expression(backend, dataset, window)
    parts = [keys[start : start + ASKED_AT_ONCE] for start in range(0, len(keys), ASKED_AT_ONCE)]
    found = [kept_exact(backend, rows.filter(rows[dataset.key.name].isin(part))).to_pyarrow() for part in parts]
    return pa.concat_tables([as_instants(exactly(each, dataset), dataset) for each in found])


def _fitted(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Returns the rows with the columns of the current contract; new columns are null."""
    columns = [rows[each.name] if each.name in rows.schema.names else pa.nulls(len(rows), each.type) for each in schema]
    return pa.table(columns, names=schema.names).cast(schema)


def _by_window(rows: pa.Table, pilot: Pilot) -> Iterator[tuple[Window, pa.Table]]:
    dataset = pilot.contract.dataset
    places: dict[Window, list[int]] = defaultdict(list)
    for place, moment in enumerate(rows[dataset.event_time.name].to_pylist()):
        places[window_of(moment, pilot.charter.monitoring.window, dataset.zone)].append(place)
    for window in sorted(places):
        yield window, rows.take(places[window])


def _readable(value: object, dataset: Dataset) -> str:
    return str(with_offset(value, dataset.zone) if isinstance(value, datetime) else value)


def _shown(dataset: Dataset, rule: str) -> list[str]:
    """Returns the columns whose values show why the rule is broken, without sensitive ones."""
    place = rule.partition(": ")[0]
    names = {place} | {
        name for each in dataset.row_rules if rule.endswith(f": {each.name}") for name in each.query.columns
    }
    return [column.name for column in dataset.columns if column.name in names and not column.sensitive]
