"""Decides which windows an ingest reads: compares the source with what was read, a part of the history per run.

What was read is known per piece of time: a day with rows, or a time without. Each run compares three parts of the
source with it: times that were never compared, or only by other code in `source.py`; times whose rows may still arrive
or change by the contract (`latency`); and, of all others, the pieces whose last comparison is the oldest. So the work
of a run does not grow with the history, and every piece has its turn after a known number of runs.
"""

import hashlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import ibis

from groundwork.core.errors import NotEnoughData, SourceError
from groundwork.core.windows import Window, end_of_day, instant, window_of, windows
from groundwork.data.source import BEGINNING, END, Ahead, RowSum, can_hash, days_in_source, source_error
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.store.connection import without_password
from groundwork.store.ingested import Piece
from use_case import source as use_case_source

DAYS_A_RUN = 14  # of the settled history; more would find a change in fewer runs, and cost each run more
DAY = timedelta(days=1)
EVERYWHERE = [Window(BEGINNING, END)]
DEPENDS = "depends on other windows"  # fingerprint of a window that is read again until it has no such duplicate
WAITS = "waits"  # of a window that has changed, until it is let in
EMPTY = "empty"  # of a time without rows
GONE = "gone"  # of a window without rows, of which the snapshots keep those that it had


class Known:
    """What is known of the source, per piece of time, under this contract and length of the windows."""

    def __init__(self, pilot: Pilot, pieces: Mapping[Window, Piece], now: datetime) -> None:
        """`pieces` are those of the store; `now` is when this run compares, with an offset."""
        self.step, self._now = pilot.charter.monitoring.window, now
        # without defaults, so that a release which knows more keys does not read every window again
        contract = pilot.contract.dataset.model_dump_json(exclude_defaults=True)
        self._of_windows, self._of_parts = _digest(contract), _digest(contract + self.step)
        code = Path(str(use_case_source.__file__)).read_text(encoding="utf-8", errors="replace")
        self._code = _digest(without_password(pilot.settings.source) + code)
        self.pieces = dict(pieces)

    def take(self, pieces: Mapping[Window, str]) -> dict[Window, Piece]:
        """Replace what is known of these pieces of time; returns them for the store."""
        taken = {piece: Piece(fingerprint, self._now, self._code) for piece, fingerprint in pieces.items()}
        times = sorted(taken)
        self.pieces = {old: known for old, known in self.pieces.items() if not _overlaps(times, old)} | taken
        return taken

    def within(self, window: Window) -> dict[Window, str]:
        """Returns the fingerprints of the pieces within the window."""
        return {
            piece: known.fingerprint
            for piece, known in self.pieces.items()
            if window.start <= piece.start and piece.end <= window.end
        }

    def fingerprint(self, piece: Window, found: RowSum) -> str:
        """Returns a piece's fingerprint: number of rows, sum of row hashes, and digest of the contract's data set.

        The digest of a part of a window includes the windows' length, because rules about whole windows depend on it.
        """
        return f"{found.rows}-{found.hashes:016x}-{self._digest_of(piece)}" if found.rows else EMPTY

    def pieces_of(self, window: Window, days: Mapping[datetime, RowSum] | None) -> dict[Window, str]:
        """Returns the fingerprints of the window's days with rows, and of the times between them.

        Without `days`, because the engine cannot hash, the window is one piece, which never counts as the same.
        """
        if days is None:
            return {window: f"unknown-{self._of_windows}"}
        found = {
            piece: self.fingerprint(piece, sums)
            for day, sums in days.items()
            if window.start <= day < window.end
            for piece in [Window(day, day + DAY)]
        }
        return found | dict.fromkeys(_without([window], found), EMPTY)

    def is_current(self, piece: Window) -> bool:
        """Whether the piece was let in under this contract and length of the windows."""
        fingerprint = self.pieces[piece].fingerprint
        return fingerprint in (EMPTY, GONE) or fingerprint.endswith(self._digest_of(piece))

    def is_same(self, piece: Window, found: RowSum) -> bool:
        """Whether the source has the rows that it had when the piece was read."""
        fingerprint = self.pieces[piece].fingerprint
        return fingerprint == self.fingerprint(piece, found) or (fingerprint == GONE and not found.rows)

    def has_rows(self, piece: Window) -> bool:
        return self.pieces[piece].fingerprint not in (EMPTY, GONE)

    def was_compared(self, piece: Window) -> bool:
        """Whether the piece was compared with this source, by this code."""
        return self.pieces[piece].compared_by == self._code

    @property
    def newest(self) -> Window | None:
        """The newest piece with rows."""
        return max(filter(self.has_rows, self.pieces), default=None)

    @property
    def gone(self) -> list[Window]:
        """The windows that the snapshots have and the source has no more."""
        return sorted(piece for piece, known in self.pieces.items() if known.fingerprint == GONE)

    def _digest_of(self, piece: Window) -> str:
        return self._of_windows if piece == window_of(piece.start, self.step) else self._of_parts


@dataclass(frozen=True)
class Due:
    """The windows that a run has to read, and what it has found unchanged."""

    windows: list[Window]
    newest: Window  # of the source
    unchanged: dict[Window, str]  # pieces outside of these windows, with their fingerprints
    ahead: Ahead | None


def find_due(backend: ibis.BaseBackend, pilot: Pilot, known: Known, *, everything: bool) -> Due:
    """Compare a part of the source with what is known; all of it if nothing is known or `everything` is asked for.

    Raises NotEnoughData if the source has no rows to read, SourceError if it cannot be read.
    """
    dataset, step = pilot.contract.dataset, known.step
    spans = EVERYWHERE if everything else spans_to_compare(pilot, known)
    days, ahead = _days(backend, dataset, spans, hashed=bool(known.pieces))
    if spans != EVERYWHERE and not any(day >= spans[-1].start for day in days):  # the newest rows are gone: look at all
        spans = EVERYWHERE
        days, ahead = _days(backend, dataset, spans, hashed=True)
    if not days:
        but = f": {told_ahead(dataset, ahead.rows, ahead.days)}" if ahead else ""
        raise NotEnoughData(f"the source {without_password(pilot.settings.source)} has no rows yet{but}")
    pieces = sorted(known.pieces)
    held = {day: _holder(pieces, day) for day in days}
    sums: defaultdict[Window | None, RowSum] = defaultdict(lambda: RowSum(0, 0))
    for day, holder in held.items():
        sums[holder] = sums[holder].plus(days[day])
    due = {window_of(day, step) for day, holder in held.items() if not (holder and known.is_same(holder, sums[holder]))}
    unchanged: list[Window] = []
    for piece in pieces:
        compared = any(span.start <= piece.start and piece.end <= span.end for span in spans)
        if known.is_current(piece) and (not compared or known.is_same(piece, sums[piece])):
            unchanged += [piece] if compared else []
        elif known.has_rows(piece):
            end = window_of(piece.end - timedelta(microseconds=1), step).end
            due |= set(windows(window_of(piece.start, step).start, end, step))
    newest = window_of(max(days), step)
    if dataset.window_rules and (last := known.newest) and window_of(last.start, step) < newest:
        due.add(window_of(last.start, step))  # as long as it could grow, not all of its rules applied
    fingerprints: dict[Window, str] = {}
    in_order = sorted(due)
    for piece in unchanged:
        if known.pieces[piece].fingerprint != EMPTY and not _overlaps(in_order, piece):
            # by day, also where an earlier release knew a whole window
            by_day = known.has_rows(piece) and piece.end - piece.start > DAY
            fingerprints |= known.pieces_of(piece, days) if by_day else {piece: known.pieces[piece].fingerprint}
    compared_until = [Window(start, min(end, newest.end)) for start, end in spans]
    empty = dict.fromkeys(_without(compared_until, [*fingerprints, *due]), EMPTY)
    return Due(in_order, newest, fingerprints | empty, ahead)


def spans_to_compare(pilot: Pilot, known: Known) -> list[Window]:
    """Returns the parts of the source to compare in the next run, in order; the last one ends with all time."""
    since = _unsettled_since(pilot, known)
    unknown = list(_without([Window(BEGINNING, since)], filter(known.was_compared, known.pieces)))
    never = [Window(unknown[0].start, unknown[-1].end)] if unknown else []  # as one span, which is one scan
    turn = next(iter(_turns(known, since)), [])
    spans: list[Window] = []
    for start, end in sorted([*never, *turn, Window(since, END)]):
        if spans and start <= spans[-1].end:
            spans[-1] = Window(spans[-1].start, max(end, spans[-1].end))
        else:
            spans.append(Window(start, end))
    return spans


def told_compared(pilot: Pilot, known: Known) -> list[str]:
    """Returns in words how many days the last run compared, and when the others have their turn; empty if all were."""
    last = max((piece.compared_at for piece in known.pieces.values() if piece.compared_at), default=None)
    days = {piece: (piece.end - piece.start).days for piece in known.pieces if known.has_rows(piece)}
    now = sum(number for piece, number in days.items() if known.pieces[piece].compared_at == last)
    later = sum(days.values()) - now
    if not later:
        return []
    runs = len(list(_turns(known, _unsettled_since(pilot, known))))
    return [
        f"compared with the source: {now:,} days; {later:,} older days are left for later runs: a change there is "
        f"found within {runs:,} runs, or at once by `groundwork ingest --all`"
    ]


def told_ahead(dataset: Dataset, rows: int, days: Window) -> str:
    """Returns in words that the rows of these days are not read, and what to do if they are right."""
    until = end_of_day(dataset.max_days_ahead, dataset.zone) - DAY
    return (
        f"rows not read: {rows:,}, with a {dataset.event_time.name} of {days}; contract.yaml allows it up to "
        f"{until:%Y-%m-%d} (maxDaysAhead {dataset.max_days_ahead:g}): correct them in the source, or raise maxDaysAhead"
    )


def _unsettled_since(pilot: Pilot, known: Known) -> datetime:
    """Returns the time from which on rows may have arrived or changed since they were last compared."""
    if not known.newest:
        return BEGINNING
    zone, late = pilot.contract.dataset.zone, pilot.contract.lateness
    since = min(known.newest.start, window_of(known.newest.end - late, "day").start)
    for piece, (_, compared_at, _) in known.pieces.items():
        if compared_at is None or compared_at < instant(piece.end, zone).replace(tzinfo=UTC) + late:
            since = min(since, piece.start)
    held = _holder(sorted(known.pieces), since)
    return held.start if held else max(since, BEGINNING)


def _turns(known: Known, since: datetime) -> Iterator[list[Window]]:
    """Yields the settled pieces before `since`, run by run; those whose last comparison is the oldest come first."""
    settled = [piece for piece in known.pieces if piece.end <= since and known.is_current(piece)]
    turn: list[Window] = []
    days = timedelta()
    for piece in sorted(settled, key=lambda each: (str(known.pieces[each].compared_at), each)):
        turn.append(piece)
        days += piece.end - piece.start if known.has_rows(piece) else DAY
        if days >= DAYS_A_RUN * DAY:
            yield turn
            turn, days = [], timedelta()
    if turn:
        yield turn


def _days(
    backend: ibis.BaseBackend, dataset: Dataset, spans: Sequence[Window], hashed: bool
) -> tuple[dict[datetime, RowSum], Ahead | None]:
    """Returns the days with rows in these spans, one scan per span, and the rows ahead."""
    days: dict[datetime, RowSum] = {}
    ahead = None
    for span in spans:
        try:
            found, ahead = days_in_source(backend, dataset, span, hashed and can_hash(backend))
        except SourceError:
            raise
        except Exception as error:
            raise source_error(dataset, "the source cannot be read", error) from dataset.safe_text(error)[1]
        days |= found
    return days, ahead


def _without(spans: Iterable[Window], pieces: Iterable[Window]) -> Iterator[Window]:
    """Yields the parts of the spans that are in none of the pieces."""
    ordered = sorted(pieces)
    for start, end in spans:
        for piece in ordered:
            if piece.end <= start or piece.start >= end:
                continue
            if piece.start > start:
                yield Window(start, piece.start)
            start = piece.end
        if start < end:
            yield Window(start, end)


def _holder(pieces: Sequence[Window], moment: datetime) -> Window | None:
    """Returns the one of the ordered, disjoint pieces that holds the moment."""
    place = bisect_right(pieces, Window(moment, END)) - 1
    return pieces[place] if place >= 0 and moment < pieces[place].end else None


def _overlaps(pieces: Sequence[Window], time: Window) -> bool:
    """Whether one of the ordered, disjoint pieces overlaps the time."""
    place = bisect_right(pieces, Window(time.end, BEGINNING)) - 1
    return place >= 0 and pieces[place].end > time.start


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
