"""Time windows of the data: days, weeks from Monday, or calendar months."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

Step = Literal["day", "week", "month"]


class Window(NamedTuple):
    """A half-open interval [start, end) of event time; its text shows the first and the last day."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d} to {self.end - timedelta(days=1):%Y-%m-%d}"


def window_of(moment: datetime, step: Step) -> Window:
    """Returns the window that contains the moment."""
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
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
