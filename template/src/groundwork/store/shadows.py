"""How often a challenger in the shadow would have decided as the champion did."""

from datetime import UTC, datetime

from groundwork.store.connection import Connection, insertion, utc_text

_INSERT = insertion("shadow", ("measured_at", "model_version", "rows_compared", "agreement"))


class Shadows:
    """The comparisons of challengers with what was decided."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def record(self, model_version: str, rows: int, agreement: float) -> None:
        """Keep over how many records a challenger was compared, and the share on which it would decide the same."""
        with self._connection.transaction() as transaction:
            transaction.execute(_INSERT, (utc_text(datetime.now(UTC)), model_version, rows, agreement))

    def latest(self) -> dict[str, tuple[int, float]]:
        """Per challenger, rows compared and agreement when it was last looked at."""
        rows = self._connection.rows("select model_version, rows_compared, agreement from shadow order by measured_at")
        return {version: (compared, agreement) for version, compared, agreement in rows}
