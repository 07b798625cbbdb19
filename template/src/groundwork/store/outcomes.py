"""Outcomes, by the id of their prediction."""

from collections.abc import Sequence
from datetime import UTC, datetime

from groundwork.store.connection import Connection, insertion, utc_text

_INSERT = (
    insertion("outcomes", ("prediction_id", "outcome", "outcome_class", "received_at")) + " on conflict do nothing"
)


class Outcomes:
    """The outcomes: 0 or 1 for a boolean, a quantity, or the name of a class."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def log(
        self, outcomes: Sequence[tuple[str, bool | float | str]], *, keep_unknown: bool = True
    ) -> tuple[list[str], list[str]]:
        """Store outcomes by prediction id, in one transaction.

        Returns the ids without a prediction (the outcome is stored only if `keep_unknown`, for a prediction that may
        arrive later), and the ids that already had a different outcome (the first outcome stays).
        """
        now = utc_text(datetime.now(UTC))
        unknown, contradicting = [], []
        with self._connection.transaction() as transaction:
            for prediction_id, value in outcomes:
                if not transaction.rows("select 1 from predictions where prediction_id = ?", (prediction_id,)):
                    unknown.append(prediction_id)
                    if not keep_unknown:
                        continue
                outcome, outcome_class = (None, value) if isinstance(value, str) else (float(value), None)
                transaction.execute(_INSERT, (prediction_id, outcome, outcome_class, now))
                [kept] = transaction.rows(
                    "select outcome, outcome_class from outcomes where prediction_id = ?", (prediction_id,)
                )
                if kept != (outcome, outcome_class):
                    contradicting.append(prediction_id)
        return unknown, contradicting

    def between(self, start: datetime, end: datetime) -> dict[str, float | str]:
        """Returns the known outcomes by prediction id, for predictions with an event time in [start, end)."""
        rows = self._connection.rows(
            "select prediction_id, o.outcome, o.outcome_class from predictions p join outcomes o using (prediction_id)"
            " where p.event_time >= ? and p.event_time < ?",
            (start.isoformat(), end.isoformat()),
        )
        return {identifier: number if name is None else name for identifier, number, name in rows}

    def of_answers_between(self, since: str, until: str) -> list[tuple[str, str, float | str]]:
        """Returns record (JSON), decision and known outcome of the service's answers in [since, until)."""
        rows = self._connection.rows(
            "select p.record, p.decision, o.outcome, o.outcome_class"
            " from predictions p join outcomes o using (prediction_id)"
            " where p.role in ('champion', 'canary') and p.answered_at >= ? and p.answered_at < ?",
            (since, until),
        )
        return [(record, decided, number if name is None else name) for record, decided, number, name in rows]
