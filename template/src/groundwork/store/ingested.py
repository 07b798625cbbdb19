"""Windows read from the source, with the fingerprint of their rows."""

from datetime import datetime

from groundwork.core.windows import Window
from groundwork.store.connection import Connection, insertion

_INSERT = insertion("windows_read", ("window_start", "window_end", "fingerprint", "table_id", "table_version"))


class IngestedWindows:
    """The fingerprint of each window that was read, and the table version it was written to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def windows(self, table_id: str | None, table_version: int | None) -> dict[Window, str]:
        """Returns each window's fingerprint when it was last read into this table, up to this version."""
        rows = self._connection.rows(
            "select window_start, window_end, fingerprint from windows_read where table_id = ? and table_version <= ?",
            (table_id, table_version),
        )
        return {
            Window(datetime.fromisoformat(start), datetime.fromisoformat(end)): fingerprint
            for start, end, fingerprint in rows
        }

    def record(self, window: Window, fingerprint: str, table_id: str, table_version: int) -> None:
        """Store the window's fingerprint, and delete those of windows that overlap it."""
        start, end = window.start.isoformat(), window.end.isoformat()
        with self._connection.transaction() as transaction:
            transaction.execute("delete from windows_read where window_start < ? and window_end > ?", (end, start))
            transaction.execute(_INSERT, (start, end, fingerprint, table_id, table_version))
