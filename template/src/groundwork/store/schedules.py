"""Flows that have a schedule, and since when."""

from collections.abc import Collection
from datetime import UTC, datetime

from groundwork.store.connection import Connection, insertion, utc_text

_INSERT = insertion("schedules", ("flow", "since")) + " on conflict do nothing"


class Schedules:
    """The flows that a worker or a work pool runs on a schedule."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def keep(self, flows: Collection[str]) -> None:
        """Store that exactly these flows have a schedule; a flow already stored keeps its time."""
        now = utc_text(datetime.now(UTC))
        with self._connection.transaction() as transaction:
            known = {flow for (flow,) in transaction.rows("select flow from schedules")}
            transaction.execute_many("delete from schedules where flow = ?", [(flow,) for flow in known - set(flows)])
            transaction.execute_many(_INSERT, [(flow, now) for flow in flows])

    def since(self) -> dict[str, datetime]:
        """Returns, per flow, since when it has a schedule."""
        rows = self._connection.rows("select flow, since from schedules")
        return {flow: datetime.fromisoformat(since) for flow, since in rows}
