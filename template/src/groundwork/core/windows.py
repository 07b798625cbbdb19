"""Time windows of the data: days, weeks from Monday, or calendar months, in the time zone of the contract.

A window's borders are local times of that zone, without an offset. In the snapshots, times are instants in UTC, so that
the hour that clocks repeat in autumn is two hours; for a contract in UTC, both are the same.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

Step = Literal["day", "week", "month"]
SECOND = timedelta(seconds=1)


class Window(NamedTuple):
    """A half-open interval [start, end) of event time, in local time; its text shows the first and the last day."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d} to {self.end - timedelta(days=1):%Y-%m-%d}"


def window_of(moment: datetime, step: Step, zone: tzinfo = UTC) -> Window:
    """Returns the window that contains the moment: an instant, or a local time of the zone."""
    start = local_time(moment, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if step == "day":
        return Window(start, start + timedelta(days=1))
    if step == "week":
        start -= timedelta(days=start.weekday())
        return Window(start, start + timedelta(days=7))
    start = start.replace(day=1)
    return Window(start, (start + timedelta(days=31)).replace(day=1))


def windows(start: datetime, end: datetime, step: Step) -> Iterator[Window]:
    """Yields the parts of [start, end), split at the windows' borders."""
    while start < end:
        border = min(window_of(start, step).end, end)
        yield Window(start, border)
        start = border


def end_of_day(days_ahead: float, zone: tzinfo) -> datetime:
    """Returns the local midnight that ends the day which lies so many days after now."""
    return window_of(local_time(datetime.now(UTC), zone) + timedelta(days=days_ahead), "day").end


def zone_named(name: str) -> tzinfo:
    """Returns the time zone with this name of the tz database. Raises ValueError if there is none."""
    if name.rpartition("/")[2] in ("UTC", "UCT", "Universal", "Zulu"):
        return UTC
    try:
        return ZoneInfo("" if name == "localtime" else name)  # not the machine's own zone
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is not a time zone of the tz database, such as UTC or Europe/Berlin") from None


def instant(border: datetime, zone: tzinfo) -> datetime:
    """Returns the first instant, in UTC, at which clocks in the zone show the local time `border` or a later one.

    So every instant lies in exactly one window, also if clocks change at midnight. Only where they go back over
    midnight (Newfoundland until 2011) does the repeated hour belong to the next day. For UTC, `border` is returned
    unchanged and without an offset, as the snapshots of a contract in UTC hold their times.
    """
    if zone is UTC:
        return border
    first, last = sorted(border.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if local_time(first, zone) == border:
        return first
    while last - first > SECOND:  # clocks skip the border: search the second at which they change
        middle = first + (last - first) // SECOND // 2 * SECOND
        first, last = (first, middle) if local_time(middle, zone) >= border else (middle, last)
    return last


def local_time(moment: datetime, zone: tzinfo) -> datetime:
    """Returns the moment as clocks in the zone show it, without an offset; without an offset it is local already."""
    return moment.astimezone(zone).replace(tzinfo=None, fold=0) if moment.tzinfo else moment


def with_offset(moment: datetime, zone: tzinfo) -> datetime:
    """Returns the moment as local time of the zone with its offset; in UTC, without an offset.

    A moment without an offset is local time of the zone. As in iCalendar (RFC 5545, 3.3.5), a time that clocks show
    twice is the first one, and a time that clocks skip is moved forward by the change: 02:30 to 03:30. Raises
    OverflowError if the moment leaves the years 1 to 9999.
    """
    if zone is UTC:
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    # Two steps, because a skipped time is moved by the way through UTC only.
    local = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC).astimezone(zone)
    # A fixed offset: Python compares two times with the same zone by their clocks, without their offsets.
    return local.replace(tzinfo=timezone(local.utcoffset() or timedelta()), fold=0)


def named(windows: Sequence[Window], most: int = 3) -> list[str]:
    """Returns the windows for a message: the first by their days, the others by their number and the last day."""
    first, others = windows[:most], windows[most:]
    rest = [f"{len(others):,} more up to {str(others[-1])[-10:]}"] if others else []
    return [*map(str, first), *rest]
