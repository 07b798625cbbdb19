"""Ingest: writes the valid rows of each window to the snapshots, and rows that break the contract to quarantine."""

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import ibis

from groundwork.core.errors import ContractBreach, NotEnoughData, SourceError, SourceUnavailable
from groundwork.core.progress import tell
from groundwork.core.windows import Window, named, window_of, windows
from groundwork.data.duplicates import DEPENDS, set_apart
from groundwork.data.erasure import Erased
from groundwork.data.quarantine import put_into_quarantine
from groundwork.data.reading import Read, broken_as_a_whole, read_windows
from groundwork.data.rules import REASONS, stale
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import BEGINNING, END, connected, expression, in_source, source_error
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
    fingerprint: str | None = None  # of the rows read; None if the source's engine cannot compute one


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
        raise _breach(
            pilot,
            f"{quarantined:,} of {rows:,} rows of {window} break contract.yaml; at most "
            f"{dataset.max_quarantined_share:.0%} are tolerated (maxQuarantinedShare). Most frequent: "
            f"{_most_frequent(read.broken)}.\n"
            f"The broken rows are in {pilot.quarantine}; no row of this window was let in, and no later window.",
        )
    if broken:
        raise _breach(
            pilot,
            f"{window} as a whole breaks contract.yaml: {'; '.join(broken)}.\n"
            "No row of this window was let in, and no later window.",
        )
    version = snapshots.replace(read.sound, *window)
    return Ingested(
        window=window, rows_in=rows, rows_quarantined=quarantined, version=version, fingerprint=read.fingerprint
    )


def check_freshness(backend: ibis.BaseBackend, pilot: Pilot, now: datetime) -> None:
    """Raises ContractBreach if the newest data in the source is older than the contract allows; `now` has an offset."""
    rows = expression(backend, pilot.contract.dataset, Window(BEGINNING, END))
    if broken := stale(rows, pilot.contract, now):
        raise _breach(pilot, f"the source breaks contract.yaml: {'; '.join(broken)}.\nThe rows it has were let in.")


def due_windows(
    backend: ibis.BaseBackend, pilot: Pilot, known: Mapping[Window, str]
) -> tuple[list[Window], list[Window]]:
    """Returns the windows to read, and the known windows for which the source has no rows any more.

    To read are the windows whose fingerprint is not in `known`, and always the newest window. Raises NotEnoughData if
    the source has no rows at all, SourceError if it cannot be read.
    """
    dataset = pilot.contract.dataset
    rows = expression(backend, dataset, Window(BEGINNING, END))
    try:
        found = in_source(backend, rows, dataset, pilot.charter.monitoring.window, hashed=bool(known))
    except Exception as error:
        raise source_error(dataset, "the source cannot be read", error) from dataset.safe_text(error)[1]
    if not found:
        raise NotEnoughData(f"the source {without_password(pilot.settings.source)} has no rows yet")
    newest = max(found)
    due = [window for window, now in found.items() if now is None or now != known.get(window) or window == newest]
    gone = [each for each in known if not any(now.start < each.end and now.end > each.start for now in found)]
    return due, sorted(gone)


def ingest(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> list[Ingested]:
    """Ingest the windows that changed in the source, or every window that overlaps [start, end).

    Returns one result per window. Only one ingest may run at a time per store. Raises SourceError, ContractBreach,
    NotEnoughData.
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
        table_id, version = snapshots.table_id, snapshots.version

        def remember(window: Window, fingerprint: str, version: int | None) -> None:
            nonlocal table_id
            known[window] = fingerprint
            if version is not None:
                table_id = table_id or snapshots.table_id
                store.ingested.record(window, fingerprint, str(table_id), version)

        forget_spools(pilot.settings.data_folder)
        known, newest = store.ingested.windows(table_id, version), None
        gone: list[Window] = []
        if start and end:
            last = window_of(end - timedelta(microseconds=1), step)
            waiting = list(windows(window_of(start, step).start, last.end, step))
        else:
            waiting, gone = due_windows(backend, pilot, known)
            newest = waiting[-1]
        ingested: list[Ingested] = []
        tell("windows", 0, len(waiting))
        while waiting:
            together = _first_that_follow(waiting)
            with spool_folder(pilot.settings.data_folder) as folder:
                reads = read_windows(backend, dataset, together, folder, Erased(pilot))
                changed = [
                    each
                    for each, read in reads.items()
                    if read.fingerprint is None or read.fingerprint != known.get(each)
                ]
                later = set_apart(dataset, snapshots, reads, changed, step, folder / "apart")
                waiting = sorted({*waiting[len(together) :], *later})
                total = len(ingested) + len(together) + len(waiting)
                for window in (*later, *(each for each, read in reads.items() if read.fingerprint == DEPENDS)):
                    remember(window, DEPENDS, version)  # before the writes, in case this run is killed
                broken = broken_as_a_whole(backend, dataset, reads, newest)
                for window in together:
                    result = let_in(pilot, window, reads[window], broken.get(window, []))
                    version = result.version
                    if result.fingerprint:
                        remember(window, result.fingerprint, version)
                    ingested.append(result)
                    tell("windows", len(ingested), total)
                    run.rows_in = sum(each.rows_in for each in ingested)
                    run.rows_quarantined = sum(each.rows_quarantined for each in ingested)
                    _log.info(
                        "%d of %d, %s: %d rows in, %d quarantined",
                        len(ingested),
                        total,
                        window,
                        result.rows_in,
                        result.rows_quarantined,
                    )
        if not run.rows_in:
            raise NotEnoughData(
                f"the source {without_password(pilot.settings.source)} has no rows from {start} to {end}"
            )
        if gone:
            run.message = (
                f"the source has no rows any more for {', '.join(named(gone))}: the snapshots keep the rows they have"
            )
            _log.info(run.message)
            ingested += [Ingested(window=each, rows_in=0, rows_quarantined=0, version=version) for each in gone]
        if not (start and end):  # given days may be old on purpose
            check_freshness(backend, pilot, datetime.now(UTC))
    return ingested


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


def _breach(pilot: Pilot, said: str) -> ContractBreach:
    return ContractBreach(f"{said} {_owner_sentence(pilot)}")


@contextmanager
def _name_owner(pilot: Pilot) -> Iterator[None]:
    """Add the data set's owner to the message of a SourceError."""
    try:
        yield
    except SourceError as error:
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
