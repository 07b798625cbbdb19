"""Time is cut into half-open days, weeks from Monday, and calendar months, in the time zone of the contract."""

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from groundwork.core.windows import Step, Window, instant, local_time, window_of, windows, with_offset, zone_named
from pilots import ROOT


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


# Clocks change at 2:00, at midnight (to it, from it and over it), by half an hour; and Samoa left out a whole day.
ZONES = [
    *("UTC", "Europe/Berlin", "America/New_York", "Atlantic/Azores", "America/Havana", "Africa/Cairo", "Asia/Beirut"),
    *("America/Santiago", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia", "Asia/Tehran"),
]


def changes(zone: tzinfo) -> Iterator[datetime]:
    """Instants shortly after each change of clocks since 2000."""
    moment = datetime(2000, 1, 1, tzinfo=UTC)
    while moment.year < 2030:
        later = moment + timedelta(days=1)
        if moment.astimezone(zone).utcoffset() != later.astimezone(zone).utcoffset():
            yield later
        moment = later


@pytest.mark.parametrize("name", ZONES)
def test_every_instant_lies_in_exactly_one_window(name: str) -> None:
    """At random, and around every change of clocks; windows follow each other without gap or overlap."""
    zone, chance = zone_named(name), random.Random(name)
    first, seconds = datetime(2000, 1, 1, tzinfo=UTC), 30 * 365 * 86400
    somewhere = [first + timedelta(seconds=chance.randrange(seconds)) for _ in range(200)]
    near = [each + timedelta(seconds=chance.randrange(-2 * 86400, 86400)) for each in changes(zone) for _ in range(5)]
    for step in ("day", "week", "month"):
        for moment in (*somewhere, *near):
            window = window_of(local_time(moment, zone), step)
            cut = list(windows(window.start - timedelta(days=40), window.end + timedelta(days=40), step))
            borders = [(instant(start, zone), instant(end, zone)) for start, end in cut]
            assert all(before[1] == after[0] for before, after in pairwise(borders))
            held = moment if zone is not UTC else moment.replace(tzinfo=None)  # as the snapshots hold it
            assert [cut[place] for place, (start, end) in enumerate(borders) if start <= held < end] == [window]


@pytest.mark.parametrize(
    ("name", "day", "hours"),
    [
        ("Europe/Berlin", "2026-03-29", 23),
        ("Europe/Berlin", "2026-10-25", 25),
        ("America/New_York", "2026-03-08", 23),
        ("Australia/Lord_Howe", "2026-04-05", 24.5),
        ("Africa/Cairo", "2026-04-24", 23),  # there is no midnight
        ("Atlantic/Azores", "2026-10-25", 25),  # there are two
        ("Pacific/Apia", "2011-12-30", 0),
    ],
)
def test_a_day_on_which_clocks_change_has_other_hours(name: str, day: str, hours: float) -> None:
    start, end = window_of(datetime.fromisoformat(day), "day")
    assert instant(end, ZoneInfo(name)) - instant(start, ZoneInfo(name)) == timedelta(hours=hours)


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-01-01T00:30:00", "2026-01-01T00:30:00+01:00"),
        ("2025-12-31T23:30:00+00:00", "2026-01-01T00:30:00+01:00"),
        ("2026-03-29T02:30:00", "2026-03-29T03:30:00+02:00"),  # skipped
        ("2026-10-25T02:30:00", "2026-10-25T02:30:00+02:00"),  # the first of two
        ("2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00"),
        ("2026-10-25T02:30:00.25+02:00", "2026-10-25T02:30:00.250000+02:00"),
    ],
)
def test_a_local_time_has_one_meaning(said: str, meant: str) -> None:
    assert with_offset(datetime.fromisoformat(said), ZoneInfo("Europe/Berlin")).isoformat() == meant


def test_the_same_time_of_day_an_hour_later_is_later() -> None:
    first, second = (
        with_offset(datetime.fromisoformat(f"2026-10-25T02:30:00{offset}"), ZoneInfo("Europe/Berlin"))
        for offset in ("+02:00", "+01:00")
    )
    assert (first < second, first == second) == (True, False)


def test_times_in_utc_have_no_offset() -> None:
    assert with_offset(datetime.fromisoformat("2026-01-01T00:30:00+02:00"), UTC) == datetime(2025, 12, 31, 22, 30)
    assert with_offset(datetime(2026, 1, 1), UTC) == instant(datetime(2026, 1, 1), UTC) == datetime(2026, 1, 1)


@pytest.mark.parametrize("name", ["UTC", "Etc/UTC"])
def test_utc_has_several_names(name: str) -> None:
    assert zone_named(name) is UTC


@pytest.mark.parametrize("name", ["Europe/Berli", "+01:00", "", "localtime", "../UTC+1", "Europe"])
def test_a_zone_must_be_in_the_tz_database(name: str) -> None:
    with pytest.raises(ValueError, match="is not a time zone of the tz database, such as UTC or Europe/Berlin"):
        zone_named(name)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
def test_an_instant_lies_in_the_window_of_its_local_time(zone: str) -> None:
    expected = datetime(2013, 3, 10 if zone == "UTC" else 11)
    moment = datetime(2013, 3, 10, 23, 30, tzinfo=UTC)
    assert window_of(moment, "day", zone_named(zone)).start == expected
    assert window_of(local_time(moment, zone_named(zone)), "day", zone_named(zone)).start == expected


def test_zones_are_known_on_a_system_without_a_tz_database() -> None:
    """As in a slim image: the package tzdata has the zones, and the service's own group has the package."""
    ask = "from groundwork.core.windows import zone_named; print(zone_named('Europe/Berlin'))"
    environment = os.environ | {"PYTHONTZPATH": ""}
    assert subprocess.check_output([sys.executable, "-c", ask], env=environment, text=True) == "Europe/Berlin\n"
    [serve] = re.findall(
        r"^serve = \[(.*?)^\]", (ROOT / "template/pyproject.toml.jinja").read_text(encoding="utf-8"), re.DOTALL | re.M
    )
    assert '"tzdata"' in serve
