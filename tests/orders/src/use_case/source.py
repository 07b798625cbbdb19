"""The orders of a shop."""

from datetime import datetime

import ibis


def rows(source: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    """The orders of [start, end)."""
    orders = source.table("orders")
    return orders.filter((orders.ordered_at >= start) & (orders.ordered_at < end))
