"""The windows that were read from the source, each with the fingerprint of its rows."""

from datetime import datetime

from groundwork.core.windows import Window
from groundwork.store.connection import Connection, insertion

_INSERT = insertion("windows_read", ("window_start", "window_end", "fingerprint", "table_id", "table_version"))


class IngestedWindows:
    """What was read for each window, and into which table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def windows(self, table_id: str | None, table_version: int | None) -> dict[Window, str]:
        """The fingerprint of each window as it was last read into this table, at this version or an earlier one."""
        rows = self._connection.rows(
            "select window_start, window_end, fingerprint from windows_read where table_id = ? and table_version <= ?",
            (table_id, table_version),
        )
        return {
            Window(datetime.fromisoformat(start), datetime.fromisoformat(end)): fingerprint
            for start, end, fingerprint in rows
        }

    def record(self, window: Window, fingerprint: str, table_id: str, table_version: int) -> None:
        """Keep what was read for the window; what was known of others that overlap it is forgotten."""
        start, end = window.start.isoformat(), window.end.isoformat()
        with self._connection.transaction() as transaction:
            transaction.execute("delete from windows_read where window_start < ? and window_end > ?", (end, start))
            transaction.execute(_INSERT, (start, end, fingerprint, table_id, table_version))
