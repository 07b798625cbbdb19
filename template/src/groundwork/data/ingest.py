"""Ingest: writes the valid rows of each window to the snapshots, and rows that break the contract to quarantine."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import ibis

from groundwork.core.errors import ContractBreach, NotEnoughData, SourceError, SourceUnavailable
from groundwork.core.progress import tell
from groundwork.core.windows import Window, named, window_of, windows
from groundwork.data.due import DEPENDS, EMPTY, GONE, WAITS, Due, Known, find_due, told_ahead, told_compared
from groundwork.data.duplicates import set_apart
from groundwork.data.erasure import Erased
from groundwork.data.quarantine import put_into_quarantine
from groundwork.data.reading import Read, broken_as_a_whole, read_windows
from groundwork.data.rules import REASONS, stale
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import BEGINNING, END, connected, expression
from groundwork.data.spool import Spool, forget_spools, spool_folder
from groundwork.documents.pilot import Pilot
from groundwork.store.connection import without_password
from groundwork.store.database import Store
from groundwork.store.findings import Finding, keep
from groundwork.store.runs import FlowRun

_log = logging.getLogger(__name__)

READ_TOGETHER = 12  # windows per scan; more would need fewer scans, but a killed run would lose more work


@dataclass(frozen=True)
class Ingested:
    """The result of ingesting one window."""

    window: Window
    rows_in: int
    rows_quarantined: int
    version: int | None  # of the snapshots
    rows_ahead: int = 0  # rows not read: they are further ahead than the contract allows
    read: bool = True  # False for the newest window if it has not changed: the counts are those of the snapshots


def let_in(pilot: Pilot, window: Window, read: Read, broken: Sequence[str]) -> Ingested:
    """Write the rows read for a window to snapshots and quarantine; returns the counts.

    `broken` lists the window rules that the window breaks. Raises ContractBreach if there are any, or if too many rows
    are broken; the broken rows are in quarantine then, and the snapshots are unchanged. If the source has no rows for
    the window, nothing changes: an outage is more likely than an empty window.
    """
    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    rows, quarantined = read.sound.num_rows + read.broken.num_rows, read.broken.num_rows
    if not rows and not broken:
        return Ingested(window=window, rows_in=0, rows_quarantined=0, version=snapshots.version)
    put_into_quarantine(pilot, window, read.broken)
    if quarantined > dataset.max_quarantined_share * rows:
        raise ContractBreach(
            f"{quarantined:,} of {rows:,} rows of {window} break contract.yaml; at most "
            f"{dataset.max_quarantined_share:.0%} are tolerated (maxQuarantinedShare). Most frequent: "
            f"{_most_frequent(read.broken)}.\n"
            f"The broken rows are in {pilot.quarantine}; no row of this window was let in."
        )
    if broken:
        raise ContractBreach(
            f"{window} as a whole breaks contract.yaml: {'; '.join(broken)}.\nNo row of this window was let in."
        )
    version = snapshots.replace(read.sound, *window)
    return Ingested(window=window, rows_in=rows, rows_quarantined=quarantined, version=version)


def check_freshness(backend: ibis.BaseBackend, pilot: Pilot, now: datetime, since: datetime = BEGINNING) -> None:
    """Raises ContractBreach if the newest data in the source is older than the contract allows; `now` has an offset.

    The rows from `since` on are asked first: if they are new enough, there is no need to ask all.
    """
    if not pilot.contract.freshness:
        return
    broken: list[str] = []
    for start in dict.fromkeys((since, BEGINNING)):
        broken = stale(expression(backend, pilot.contract.dataset, Window(start, END)), pilot.contract, now)
        if not broken:
            return
    raise ContractBreach(f"the source breaks contract.yaml: {'; '.join(broken)}.\nThe rows it has were let in.")


class _Memory:
    """What is known of the source, in memory and in the store, which is written as soon as there are snapshots."""

    def __init__(self, pilot: Pilot, store: Store, snapshots: Snapshots) -> None:
        self.table_id, self.version = snapshots.table_id, snapshots.version
        self._store, self._snapshots = store, snapshots
        self.known = Known(pilot, store.ingested.pieces(self.table_id, self.version), datetime.now(UTC))

    def take(self, pieces: Mapping[Window, str], version: int | None) -> None:
        self.version = version
        taken = self.known.take(pieces)
        if version is not None and taken:
            self.table_id = self.table_id or self._snapshots.table_id
            self._store.ingested.record(taken, str(self.table_id), version)

    def has(self, window: Window, read: Read) -> bool:
        """Whether these rows of the window were let in before."""
        return self.known.within(window) == self.known.pieces_of(window, read.days) and read.days is not None

    def let_in(self, window: Window, read: Read, version: int | None) -> None:
        """Remember what was read of a window."""
        pieces = {window: DEPENDS} if read.depends else self.known.pieces_of(window, read.days)
        if not read.depends and not (read.sound.num_rows or read.broken.num_rows or read.days):
            had = any(map(self.known.has_rows, self.known.within(window))) and self._snapshots.count(window)
            pieces = {window: GONE if had else EMPTY}
        self.take(pieces, version)


def ingest(
    pilot: Pilot, start: datetime | None = None, end: datetime | None = None, *, everything: bool = False
) -> list[Ingested]:
    """Ingest the windows that are found to have changed in the source, or every window that overlaps [start, end).

    Compares a part of the history per run, or all of it if `everything` is asked for. Returns one result per window. A
    window that breaks the contract keeps no other window out: ContractBreach is raised after all others were let in.
    Only one ingest may run at a time per store. Raises SourceError, NotEnoughData.
    """
    dataset, step = pilot.contract.dataset, pilot.charter.monitoring.window
    snapshots = Snapshots(pilot.snapshots, dataset)
    with (
        Store(pilot.settings.store) as store,
        store.runs.recorded("ingest") as run,
        _name_owner(pilot),
        connected(pilot) as backend,
        _proven(pilot, store, run),
    ):
        forget_spools(pilot.settings.data_folder)
        memory = _Memory(pilot, store, snapshots)
        due: Due | None = None
        first = not snapshots.exists
        if start and end:
            last = window_of(end - timedelta(microseconds=1), step)
            waiting = list(windows(window_of(start, step).start, last.end, step))
        else:
            due = find_due(backend, pilot, memory.known, everything=everything)
            waiting = due.windows
            # So that nothing of it is lost if this run is killed. Without snapshots, the next run compares all again.
            memory.take(due.unchanged | dict.fromkeys(waiting, WAITS), memory.version)
        ingested: list[Ingested] = []
        breaches: list[str] = []
        tell("windows", 0, len(waiting))
        while waiting:
            together = _first_that_follow(waiting)
            with spool_folder(pilot.settings.data_folder) as folder:
                reads = read_windows(backend, dataset, together, folder, Erased(pilot))
                changed = [each for each, read in reads.items() if not memory.has(each, read)]
                later = set_apart(dataset, snapshots, reads, changed, step, folder / "apart")
                waiting = sorted({*waiting[len(together) :], *later})
                total = len(ingested) + len(breaches) + len(together) + len(waiting)
                for window in (*later, *(each for each, read in reads.items() if read.depends)):
                    memory.take({window: DEPENDS}, memory.version)  # before the writes, in case this run is killed
                broken = broken_as_a_whole(backend, dataset, reads, due.newest if due else None)
                for window in together:
                    try:
                        result = let_in(pilot, window, reads[window], broken.get(window, []))
                    except ContractBreach as error:
                        breaches.append(str(error))
                        _log.warning("%s", error)
                        memory.take({window: WAITS}, memory.version)
                        continue
                    memory.let_in(window, reads[window], result.version)
                    ingested.append(result)
                    tell("windows", len(ingested) + len(breaches), total)
                    _log.info(
                        "%d of %d, %s: %d rows in, %d quarantined",
                        len(ingested) + len(breaches),
                        total,
                        window,
                        result.rows_in,
                        result.rows_quarantined,
                    )
        if due:
            if first:
                memory.take(due.unchanged, memory.version)
            ingested = [each for each in ingested if each.rows_in]
            if due.newest not in due.windows:
                ingested.append(_unread(pilot, due.newest, memory.version))
        run.rows_in = sum(each.rows_in for each in ingested)
        run.rows_quarantined = sum(each.rows_quarantined for each in ingested)
        if not run.rows_in and not breaches:
            raise NotEnoughData(
                f"the source {without_password(pilot.settings.source)} has no rows from {start} to {end}"
            )
        notes = []
        if gone := memory.known.gone if due else []:
            notes.append(
                f"the source has no rows any more for {', '.join(named(gone))}: the snapshots keep the rows they have"
            )
        if ahead := due and due.ahead:
            notes.append(told_ahead(dataset, ahead.rows, ahead.days))
        run.message = "; ".join(notes)
        for note in [*notes, *(told_compared(pilot, memory.known) if due else [])]:
            _log.info(note)
        if breaches:
            raise _breach(breaches, sum(each.read for each in ingested))
        if due:  # given days may be old on purpose
            check_freshness(backend, pilot, datetime.now(UTC), due.newest.start)
        empty = Ingested(window=ingested[-1].window, rows_in=0, rows_quarantined=0, version=memory.version, read=False)
        ingested += [replace(empty, window=each) for each in gone]
        if ahead:
            ingested.append(replace(empty, window=ahead.days, rows_ahead=ahead.rows))
    return ingested


def told(pilot: Pilot) -> list[str]:
    """Returns in words what the last ingest compared with the source, and what it left for later runs."""
    with Store(pilot.settings.store) as store:
        return told_compared(pilot, _Memory(pilot, store, Snapshots(pilot.snapshots, pilot.contract.dataset)).known)


def _unread(pilot: Pilot, window: Window, version: int | None) -> Ingested:
    """Returns the counts of a window that has not changed, from snapshots and quarantine."""
    dataset = pilot.contract.dataset
    sound, broken = (Snapshots(path, dataset).count(window) for path in (pilot.snapshots, pilot.quarantine))
    return Ingested(window=window, rows_in=sound + broken, rows_quarantined=broken, version=version, read=False)


def _first_that_follow(waiting: Sequence[Window]) -> list[Window]:
    """Returns the first consecutive windows, at most READ_TOGETHER; they are read in one scan."""
    together = [waiting[0]]
    for window in waiting[1:READ_TOGETHER]:
        if window.start != together[-1].end:
            break
        together.append(window)
    return together


@contextmanager
def _proven(pilot: Pilot, store: Store, run: FlowRun) -> Iterator[None]:
    """Record as evidence whether the rows kept the contract; nothing is recorded if the source is unavailable."""
    began = time.monotonic()

    def found(passed: bool, seen: str) -> None:
        keep(pilot, store, "groundwork ingest", [Finding("data-schema", passed, seen)], began)

    try:
        yield
    except SourceUnavailable:
        raise
    except (ContractBreach, SourceError) as error:
        found(False, str(error))
        raise
    found(True, f"{run.rows_in:,} rows were checked against contract.yaml, {run.rows_quarantined:,} broke it")


MOST_TOLD = 3  # windows that break the contract, in one message


def _breach(breaches: Sequence[str], let_in: int) -> ContractBreach:
    """Returns the error about the windows that break the contract; `let_in` windows did not."""
    more = len(breaches) - MOST_TOLD
    told = [*breaches[:MOST_TOLD], *([f"{more:,} more windows break contract.yaml."] if more > 0 else [])]
    return ContractBreach("\n".join([*told, f"The other windows were let in ({let_in:,})." if let_in else ""]).strip())


@contextmanager
def _name_owner(pilot: Pilot) -> Iterator[None]:
    """Add the data set's owner to the message of a SourceError or a ContractBreach."""
    try:
        yield
    except (SourceError, ContractBreach) as error:
        raise type(error)(f"{error}\n{_owner_sentence(pilot)}") from error


def _owner_sentence(pilot: Pilot) -> str:
    name = pilot.contract.dataset.name
    owner = pilot.owners.accountable.data[name]
    return f"{owner.name} (@{owner.handle}) answers for the data set {name}."


def _most_frequent(quarantined: Spool) -> str:
    counts: Counter[str] = Counter()
    for batch in quarantined.to_reader():
        counts.update({each["values"]: each["counts"] for each in batch[REASONS].value_counts().to_pylist()})
    [(reasons, rows)] = counts.most_common(1)
    return f"{reasons} ({rows:,} rows)"
