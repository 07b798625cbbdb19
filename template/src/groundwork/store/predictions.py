"""The prediction log: each prediction with its model version and record."""

import json
import re
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import uuid4

from groundwork.store.connection import Connection, insertion
from groundwork.store.copies import remove_copies

Role = Literal["champion", "canary", "shadow", "batch", "no-model"]


class Prediction(NamedTuple):
    """One prediction; its fields are the table's columns."""

    prediction_id: str
    answered_at: str  # UTC
    role: Role
    entity_key: str
    event_time: str
    model_version: str  # empty for the no-model rule
    score: float | None
    decision: str
    record: str  # JSON
    class_scores: str | None = None  # JSON


_COLUMNS = ", ".join(Prediction._fields)
_INSERT = insertion("predictions", Prediction._fields) + " on conflict do nothing"


class Predictions:
    """The prediction log."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def log(self, predictions: Iterable[Prediction]) -> None:
        """Store the predictions in one transaction; predictions already stored are not changed."""
        with self._connection.transaction() as transaction:
            transaction.execute_many(_INSERT, predictions)

    def try_writing(self) -> None:
        """Write a prediction and remove it in the same transaction. Raises StoreError if the log cannot be written."""
        attempt = Prediction(
            prediction_id=f"attempt-{uuid4().hex}",
            answered_at="",
            role="no-model",
            entity_key="",
            event_time="",
            model_version="",
            score=None,
            decision="",
            record=" " * 4096,
        )
        with self._connection.transaction() as transaction:
            transaction.execute_many(_INSERT, [attempt])
            transaction.execute("delete from predictions where prediction_id = ?", (attempt.prediction_id,))

    def between(self, start: datetime, end: datetime) -> list[Prediction]:
        """Returns the predictions with an event time in [start, end), ordered by event time."""
        rows = self._connection.rows(
            f"select {_COLUMNS} from predictions where event_time >= ? and event_time < ?"
            " order by event_time, prediction_id",
            (start.isoformat(), end.isoformat()),
        )
        return [Prediction(**dict(zip(Prediction._fields, row, strict=True))) for row in rows]

    def newest_times(self, version: str, start: datetime, end: datetime, most: int) -> list[datetime]:
        """Returns the event times of the version's newest answers in [start, end), newest first, at most so many."""
        rows = self._connection.rows(
            "select event_time from predictions where event_time >= ? and event_time < ? and model_version = ?"
            " and role != 'shadow' order by event_time desc limit ?",
            (start.isoformat(), end.isoformat(), version, most),
        )
        return [datetime.fromisoformat(time) for (time,) in rows]

    def erase(self, keys: Collection[str], column: str, value: str | int) -> tuple[int, int]:
        """Erase the predictions with this value in their record, and their outcomes.

        A record without a value in the column is erased if it has one of these keys. Copies made before migrations are
        deleted too. Returns the numbers of erased predictions and outcomes.
        """
        part = json.dumps({column: value}, ensure_ascii=False, separators=(",", ":"))[1:-1]
        pattern = re.sub(r"([!%_])", r"!\1", part)
        query = "select prediction_id, record from predictions where"
        with self._connection.transaction() as transaction:
            if transaction.local:
                transaction.execute("pragma secure_delete = on")  # overwrite the pages
            alike = transaction.rows(f"{query} record like ? escape '!'", (f"%{pattern}%",))
            ids = {each for each, record in alike if _exact(json.loads(record).get(column)) == value}
            for key in keys:
                found = transaction.rows(f"{query} entity_key = ?", (key,))
                ids |= {each for each, record in found if _exact(json.loads(record).get(column)) in (None, value)}
            predictions, outcomes = (
                sum(transaction.execute(f"delete from {table} where prediction_id = ?", (each,)) for each in ids)
                for table in ("predictions", "outcomes")
            )
        if self._connection.file is not None:
            self._connection.empty_log()
            remove_copies(self._connection.file)
        return predictions, outcomes


def _exact(value: Any) -> Any:
    """Return the value; None for an integer that an earlier release rounded to a floating-point number."""
    return None if isinstance(value, float) and abs(value) >= 2**53 else value
