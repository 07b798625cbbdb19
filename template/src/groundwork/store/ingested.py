"""Pieces of time that were read from the source: the fingerprint of their rows, and when they were last compared."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from groundwork.core.windows import Window
from groundwork.store.connection import Connection, insertion, utc_text

_COLUMNS = ("window_start", "window_end", "fingerprint", "table_id", "table_version", "compared_at", "compared_by")
_INSERT = insertion("windows_read", _COLUMNS)


class Piece(NamedTuple):
    """What is known of a piece of time: of a day, of a time without rows, or of a whole window."""

    fingerprint: str
    compared_at: datetime | None  # None if an earlier release wrote it
    compared_by: str  # digest of the source's address and code at that time


class IngestedWindows:
    """The fingerprint of each piece of time that was read, and the table version it was written to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def pieces(self, table_id: str | None, table_version: int | None) -> dict[Window, Piece]:
        """Returns what is known of each piece that was read into this table, up to this version, in order of time."""
        rows = self._connection.rows(
            "select window_start, window_end, fingerprint, compared_at, compared_by from windows_read "
            "where table_id = ? and table_version <= ? order by window_start",
            (table_id, table_version),
        )
        return {
            Window(datetime.fromisoformat(start), datetime.fromisoformat(end)): Piece(
                fingerprint, datetime.fromisoformat(at) if at else None, by or ""
            )
            for start, end, fingerprint, at, by in rows
        }

    def record(self, pieces: Mapping[Window, Piece], table_id: str, table_version: int) -> None:
        """Store the pieces, in order and in one transaction; each replaces those that it overlaps."""
        with self._connection.transaction() as transaction:
            for (start, end), (fingerprint, at, by) in pieces.items():
                first, last = start.isoformat(), end.isoformat()
                transaction.execute("delete from windows_read where window_start < ? and window_end > ?", (last, first))
                values = (first, last, fingerprint, table_id, table_version, utc_text(at) if at else None, by)
                transaction.execute(_INSERT, values)
