"""Shadow results: how often a challenger would have decided as the champion did."""

from datetime import UTC, datetime

from groundwork.store.connection import Connection, insertion, utc_text

_INSERT = insertion("shadow", ("measured_at", "model_version", "rows_compared", "agreement"))


class Shadows:
    """The comparisons of challengers with the champion's decisions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, model_version: str, rows: int, agreement: float) -> None:
        """Store the number of compared records, and the share (0 to 1) with the same decision as the champion."""
        with self._connection.transaction() as transaction:
            transaction.execute(_INSERT, (utc_text(datetime.now(UTC)), model_version, rows, agreement))

    def latest(self) -> dict[str, tuple[int, float]]:
        """Returns, per challenger, the number of rows and the agreement (0 to 1) of its newest comparison."""
        rows = self._connection.rows("select model_version, rows_compared, agreement from shadow order by measured_at")
        return {version: (compared, agreement) for version, compared, agreement in rows}
