"""The data source: the median prices of houses in the cities of Texas."""

from datetime import datetime

import ibis


def rows(source: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    """Returns the cities and months in [start, end) from 2008 on, with what was known before the month."""
    months = source.table("months")
    months = months.mutate(month_start=ibis.date(months.year, months.month, 1).cast("timestamp(6)"))
    order = ibis.window(group_by=months.city, order_by=months.month_start)
    half_year = ibis.window(group_by=months.city, order_by=months.month_start, preceding=(6, 1))
    months = months.mutate(
        city_month=months.city + "-" + months.month_start.strftime("%Y-%m"),
        last_median=months.median.lag(1).over(order),
        earlier_median=months.median.lag(2).over(order),
        year_ago_median=months.median.lag(12).over(order),
        half_year_mean=months.median.mean().over(half_year),
        last_sales=months.sales.lag(1).over(order),
        last_inventory=months.inventory.lag(1).over(order),
    )
    months = months.filter((months.month_start >= datetime(2008, 1, 1)) & months.last_median.notnull())
    months = months.filter((months.month_start >= start) & (months.month_start < end))
    return months.select(
        "city_month",
        "month_start",
        "city",
        "month",
        "last_median",
        "earlier_median",
        "year_ago_median",
        "half_year_mean",
        "last_sales",
        "last_inventory",
        "median",
    )
