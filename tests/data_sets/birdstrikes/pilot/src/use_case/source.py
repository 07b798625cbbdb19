"""The data source: reported bird strikes."""

from datetime import datetime

import ibis


def rows(source: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    """Returns the strikes with a flight date in [start, end), as the pilot reports them."""
    strikes = source.table("strikes")
    at = strikes["Flight Date"].cast("timestamp")
    strikes = strikes.filter((at >= start) & (at < end))
    return strikes.select(
        report=strikes.report.cast("string"),
        flight_date=strikes["Flight Date"].cast("timestamp"),
        aircraft=strikes["Aircraft Make Model"],
        operator=strikes["Aircraft Airline Operator"],
        state=strikes["Origin State"],
        phase=strikes["Phase of flight"],
        wildlife_size=strikes["Wildlife Size"],
        species=strikes["Wildlife Species"],
        time_of_day=strikes["Time of day"],
        speed_knots=strikes["Speed IAS in knots"],
        substantial=strikes["Effect Amount of damage"] == "Substantial",
    )
