"""The data source: one Ibis expression over the operational system.

Ibis runs it in DuckDB on a laptop, and in a warehouse or Spark elsewhere; only `GROUNDWORK_SOURCE_URL` changes.
"""

from datetime import datetime, timedelta

import ibis

ONE_DAY = ibis.interval(days=1)


def rows(source: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    """Returns the rows with an event time in [start, end), with the contract's columns.

    A prediction is made on the evening before departure. So a feature may use the schedule of its own day and the
    events of earlier days, but nothing that is known only after the flight has left.
    """
    earlier = start - timedelta(days=1)
    flights = source.table("flights")
    # By whole months first: those are columns, and a departure would have to be computed for every flight there is.
    month = flights.year * 12 + flights.month
    flights = flights.filter(month >= earlier.year * 12 + earlier.month, month <= end.year * 12 + end.month)
    day = ibis.date(flights.year, flights.month, flights.day)
    flights = flights.mutate(
        day=day,
        scheduled_departure=day.cast("timestamp") + flights.hour.as_interval("h") + flights.minute.as_interval("m"),
        late=flights.arr_delay >= 15,
    ).filter(lambda t: (t.scheduled_departure >= earlier) & (t.scheduled_departure < end))
    # Cast to integer, then to float: PostgreSQL has no mean of booleans, and returns the mean of integers as decimal.
    day_before = flights.group_by("origin", day=flights.day + ONE_DAY).aggregate(
        origin_late_share_yesterday=flights.late.cast("int32").cast("float64").mean()
    )
    window = flights.filter(flights.scheduled_departure >= start)
    return window.left_join(day_before, ["origin", "day"]).select(
        flight_id=window.day.strftime("%Y%m%d")
        + "-"
        + window.carrier
        + "-"
        + window.flight.cast("string")
        + "-"
        + window.origin,
        scheduled_departure=window.scheduled_departure,
        carrier=window.carrier,
        origin=window.origin,
        destination=window.dest,
        distance_miles=window.distance.cast("float64"),
        departure_minute=_minutes_after_midnight(window.sched_dep_time),
        arrival_minute=_minutes_after_midnight(window.sched_arr_time),
        weekday=window.day.day_of_week.index().cast("int64") + 1,
        origin_late_share_yesterday=day_before.origin_late_share_yesterday,
        late=window.late,
    )


def _minutes_after_midnight(clock: ibis.expr.types.IntegerColumn) -> ibis.expr.types.IntegerColumn:
    """Returns minutes after midnight; the schedule writes 18:25 as the number 1825."""
    return clock // 100 * 60 + clock % 100
