"""Time is cut into half-open days, weeks from Monday, and calendar months."""

from datetime import datetime

import pytest
from groundwork.core.windows import Step, Window, window_of, windows


@pytest.mark.parametrize(
    ("moment", "step", "start", "end"),
    [
        ("2013-03-10T12:30:00", "day", "2013-03-10", "2013-03-11"),
        ("2013-03-10T00:00:00", "day", "2013-03-10", "2013-03-11"),
        ("2013-03-10T23:59:59.999999", "week", "2013-03-04", "2013-03-11"),
        ("2013-03-11T00:00:00", "week", "2013-03-11", "2013-03-18"),
        ("2013-01-01T05:00:00", "week", "2012-12-31", "2013-01-07"),
        ("2013-12-31T23:00:00", "month", "2013-12-01", "2014-01-01"),
        ("2012-02-29T00:00:00", "month", "2012-02-01", "2012-03-01"),
    ],
)
def test_the_window_that_holds_a_moment(moment: str, step: Step, start: str, end: str) -> None:
    expected = Window(datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert window_of(datetime.fromisoformat(moment), step) == expected


@pytest.mark.parametrize(("step", "count"), [("day", 364), ("week", 53), ("month", 12)])
def test_windows_cover_a_stretch_without_gap_or_overlap(step: Step, count: int) -> None:
    start, end = datetime(2013, 1, 1, 6), datetime(2013, 12, 30, 18)
    cut = list(windows(start, end, step))
    assert [window.start for window in cut] == [start, *(window.end for window in cut[:-1])]
    assert cut[-1].end == end
    assert len(cut) == count


def test_an_empty_stretch_has_no_windows() -> None:
    assert list(windows(datetime(2013, 1, 1), datetime(2013, 1, 1), "day")) == []


def test_a_window_is_named_by_its_first_and_last_day() -> None:
    assert str(window_of(datetime(2013, 2, 5), "month")) == "2013-02-01 to 2013-02-28"
