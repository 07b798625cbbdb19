"""The promotion log: its newest entry says which version is the champion."""

from typing import NamedTuple

from groundwork.store.connection import Connection, insertion


class Promotion(NamedTuple):
    """One entry of the promotion log; its fields are the table's columns."""

    model: str
    number: int  # 1, 2, 3, …: who writes n + 1 has seen n
    promoted_at: str  # UTC
    promoted_by: str
    from_version: str  # empty for the first
    to_version: str
    why: str
    evidence_sha256: str  # of the gate's verdict on to_version; empty if it has none
    bundle_sha256: str


_SELECT = f"select {', '.join(Promotion._fields)} from promotions where model = ?"
_INSERT = insertion("promotions", Promotion._fields) + " on conflict do nothing"


class Promotions:
    """The promotion log, which only grows: triggers of the database refuse to change or delete an entry."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, model: str) -> list[Promotion]:
        """The model's promotion log, oldest first."""
        return [
            Promotion(**dict(zip(Promotion._fields, row, strict=True)))
            for row in self._connection.rows(f"{_SELECT} order by number", (model,))
        ]

    def latest(self, model: str) -> Promotion | None:
        """The entry that says which version is the champion; None if there is no promotion yet."""
        rows = self._connection.rows(f"{_SELECT} order by number desc limit 1", (model,))
        return Promotion(**dict(zip(Promotion._fields, rows[0], strict=True))) if rows else None

    def append(self, promotion: Promotion) -> bool:
        """Append the entry unless there is one with its number: then another process was faster, and it is False."""
        with self._connection.transaction() as transaction:
            return transaction.execute(_INSERT, promotion) == 1
