"""The prediction log: each answered batch is one record, durable before the answer."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import numpy as np

from groundwork.store.batches import (
    ID_LENGTH,
    LISTED,
    Batch,
    Logged,
    LogPart,
    Prediction,
    StoredBatch,
    batch_of,
    merged,
    number_in,
)
from groundwork.store.columns import Block
from groundwork.store.connection import Connection, Transaction, insertion
from groundwork.store.copies import remove_copies

SMALL = 6  # predictions; a larger batch takes less room than the same predictions with listed ids
AT_ONCE = 500  # values of one statement, batches that are held at once

_COLUMNS = ", ".join(f"b.{name}" for name in Batch._fields)
_INSERT = insertion("prediction_batches", Batch._fields) + " on conflict do nothing"
_INSERT_ID = insertion("prediction_ids", ("prediction_id", "batch_id"))


class Predictions:
    """The prediction log."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def log(self, batches: Iterable[Batch]) -> None:
        """Store the batches in one transaction; a batch that is stored already is not changed."""
        with self._connection.transaction() as transaction:
            for batch in batches:
                transaction.execute(_INSERT, batch)

    def log_new(self, batch: Batch) -> None:
        """Store the predictions of the batch that are new: no other batch has one by the same role and version.

        Predictions are the same if they have entity key and event time in common.
        """
        with self._connection.transaction(alone=True) as transaction:
            if transaction.rows("select 1 from prediction_batches where batch_id = ?", (batch.batch_id,)):
                return
            there: set[tuple[str, str]] = set()
            for other in _batches(
                transaction,
                "b.role = ? and b.model_version = ? and b.first_event_time <= ? and b.last_event_time >= ?",
                (batch.role, batch.model_version, batch.last_event_time, batch.first_event_time),
            ):
                there.update(_rows(StoredBatch(other)))
            new = [place for place, row in enumerate(_rows(StoredBatch(batch))) if row not in there] if there else None
            if new != []:
                transaction.execute(_INSERT, batch if new is None else _without_others(batch, new))

    def merge_small(self, answered_until: str) -> int:
        """Put the predictions of small batches that were answered before this time (UTC) together into larger ones.

        A batch of one prediction takes four times the room that the prediction takes in a larger one. Each transaction
        puts a few together, so that the service, which may be logging, never waits for long. Returns the number of
        predictions.
        """
        moved, last = 0, ""
        while True:
            with self._connection.transaction(alone=True) as transaction:
                query = (
                    f"select {_COLUMNS} from prediction_batches b where b.batch_id > ? and b.batch_id < '{LISTED}'"
                    f" and b.rows < {SMALL} and b.answered_at < ? order by b.batch_id limit {AT_ONCE}"
                )
                found = [batch_of(row) for row in transaction.rows(query, (last, answered_until))]
                alike: dict[tuple[Any, ...], list[Batch]] = {}
                for batch in found:
                    alike.setdefault((batch.role, batch.model_version, *Block(batch.columns).layout), []).append(batch)
                for batches in alike.values():
                    if len(batches) > 1:
                        moved += _merge(transaction, batches)
            if len(found) < AT_ONCE:
                return moved
            last = found[-1].batch_id

    def try_writing(self) -> None:
        """Write a batch and remove it in the same transaction. Raises StoreError if the log cannot be written."""
        attempt = Batch(
            batch_id=f"attempt-{uuid4().hex}",
            answered_at="",
            role="no-model",
            model_version="",
            first_event_time="",
            last_event_time="",
            answered=0,
            rows=0,
            columns=bytes(4096),
        )
        with self._connection.transaction() as transaction:
            transaction.execute(_INSERT, attempt)
            transaction.execute("delete from prediction_batches where batch_id = ?", (attempt.batch_id,))

    def read(self, part: LogPart) -> Logged:
        """Returns the predictions of this part of the log, batch by batch, ordered by their first event time."""
        condition, values = part.condition()
        query = f"select {_COLUMNS} from prediction_batches b where {condition}"
        found = [part.of(batch_of(row)) for row in self._connection.rows(query, values)]
        found.sort(key=lambda each: (each.batch.first_event_time, each.batch.batch_id))
        return Logged([batch for batch in found if batch.rows])

    def between(self, start: datetime, end: datetime) -> list[Prediction]:
        """Returns the predictions with an event time in [start, end) one by one, ordered by it; to look at a few."""
        found = self.read(LogPart(start=start, end=end)).predictions()
        return sorted(found, key=lambda each: (each.event_time, each.prediction_id))

    def find(self, identifier: str) -> Prediction | None:
        """Returns the prediction with this id; None if there is none."""
        with self._connection.transaction() as transaction:
            batch_id = batch_ids(transaction, [identifier]).get(identifier)
            if batch_id is None:
                return None
            [batch] = _batches(transaction, "b.batch_id = ?", (batch_id,))
        stored = StoredBatch(batch)
        place = stored.place_of(identifier)
        return None if place is None else stored.only(np.array([place])).predictions()[0]

    def newest_times(self, version: str, start: datetime, end: datetime, most: int) -> list[datetime]:
        """Returns the event times of the version's newest answers in [start, end), newest first, at most so many."""
        part = LogPart(start=start, end=end, model_version=version)
        condition, values = part.condition()
        found: list[str] = []
        with self._connection.transaction() as transaction:
            for batch in _batches(transaction, f"{condition} and b.role != 'shadow'", values, "b.last_event_time desc"):
                if len(found) == most and batch.last_event_time <= found[-1]:
                    break
                [times] = part.of(batch).read(["event_time"])
                found = sorted(found + times.tolist(), reverse=True)[:most]
        return [datetime.fromisoformat(time) for time in found]

    def erase(self, keys: Collection[str], column: str, value: str | int) -> tuple[int, int]:
        """Erase the predictions with this value in their record, and their outcomes.

        A record without a value in the column is erased if it has one of these keys. Copies made before migrations are
        deleted too. Returns the numbers of erased predictions and outcomes.
        """
        predictions = outcomes = 0
        with self._connection.transaction(alone=True) as transaction:
            if transaction.local:
                transaction.execute("pragma secure_delete = on")  # overwrite the pages
            for batch in _batches(transaction, "true", ()):
                stored = StoredBatch(batch)
                values, entities = (each.tolist() for each in stored.read([f"record.{column}", "key"]))
                gone = {
                    place
                    for place, (found, key) in enumerate(zip(map(_exact, values), entities, strict=True))
                    if (found == value and type(found) is not bool) or (found is None and key in keys)
                }
                if not gone:
                    continue
                [ids] = stored.only(np.array(sorted(gone))).read(["id"])
                for table in ("outcomes", "prediction_ids"):
                    erased = sum(
                        transaction.execute(f"delete from {table} where prediction_id = ?", (each,))
                        for each in ids.tolist()
                    )
                    outcomes += erased if table == "outcomes" else 0
                predictions += len(gone)
                transaction.execute("delete from prediction_batches where batch_id = ?", (batch.batch_id,))
                if left := [place for place in range(batch.rows) if place not in gone]:
                    transaction.execute(_INSERT, _without_others(batch, left))
        if self._connection.file is not None:
            self._connection.empty_log()
            remove_copies(self._connection.file)
        return predictions, outcomes


def show_as_table(transaction: Transaction) -> None:
    """Make the temporary table `predictions`, one row per prediction, for queries that a team wrote."""
    kinds = {"score": "double precision"}
    columns = ", ".join(f"{name} {kinds.get(name, 'text')}" for name in Prediction._fields)
    transaction.execute(f"create temporary table predictions ({columns}, primary key (prediction_id))")
    for batch in _batches(transaction, "true", ()):
        transaction.execute_many(insertion("predictions", Prediction._fields), StoredBatch(batch).predictions())


def batch_ids(transaction: Transaction, identifiers: Sequence[str]) -> dict[str, str]:
    """Returns, per id of a prediction, the id of its batch; ids without a prediction are left out."""
    first = {identifier: identifier[:ID_LENGTH] for identifier in identifiers}
    batches = {
        batch_id: (answered, rows)
        for batch_id, answered, rows in those(
            transaction, "select batch_id, answered, rows from prediction_batches where batch_id", set(first.values())
        )
    }
    found = {}
    for identifier, batch_id in first.items():
        answered, rows = batches.get(batch_id, (0, 0))
        if number_in(identifier, batch_id, answered) is None:
            continue
        if rows == answered:
            found[identifier] = batch_id
        else:  # some were erased
            [batch] = _batches(transaction, "b.batch_id = ?", (batch_id,))
            if StoredBatch(batch).place_of(identifier) is not None:
                found[identifier] = batch_id
    others = [identifier for identifier in first if identifier not in found]
    found.update(those(transaction, "select prediction_id, batch_id from prediction_ids where prediction_id", others))
    return found


def _batches(
    transaction: Transaction, condition: str, values: Sequence[Any], order: str = "b.first_event_time, b.batch_id"
) -> Iterator[Batch]:
    """Yield the batches that meet the condition when this begins, a few at a time."""
    query = f"select b.batch_id from prediction_batches b where {condition} order by {order}"
    identifiers = [identifier for (identifier,) in transaction.rows(query, values)]
    for begin in range(0, len(identifiers), AT_ONCE):
        chunk = identifiers[begin : begin + AT_ONCE]
        rows = those(transaction, f"select {_COLUMNS} from prediction_batches b where b.batch_id", chunk)
        found = {row[0]: batch_of(row) for row in rows}
        yield from (found[identifier] for identifier in chunk if identifier in found)


def those(transaction: Transaction, query: str, values: Collection[str]) -> Iterator[tuple[Any, ...]]:
    """Yields the rows of a query that ends with the name of a column, for these values of the column."""
    listed = list(values)
    for begin in range(0, len(listed), AT_ONCE):
        chunk = listed[begin : begin + AT_ONCE]
        yield from transaction.rows(f"{query} in ({', '.join('?' * len(chunk))})", chunk)


def _rows(stored: StoredBatch) -> list[tuple[str, str]]:
    """Return entity key and event time of each prediction."""
    keys, times = stored.read(["key", "event_time"])
    return list(zip(keys.tolist(), times.tolist(), strict=True))


def _merge(transaction: Transaction, batches: Sequence[Batch]) -> int:
    """Put the batches together; return the number of predictions."""
    batch, ids = merged(batches)
    transaction.execute(_INSERT, batch)
    before = [(batch.batch_id, each.batch_id) for each in batches]
    transaction.execute_many(_INSERT_ID, [(each, batch.batch_id) for each in ids])
    transaction.execute_many("update outcomes set batch_id = ? where batch_id = ?", before)
    transaction.execute_many("delete from prediction_batches where batch_id = ?", [each[1:] for each in before])
    return batch.rows


def _without_others(batch: Batch, places: Sequence[int]) -> Batch:
    """Return the batch with the predictions at these places alone; they keep their numbers."""
    left = np.array(places, np.int64)
    stored = StoredBatch(batch, left)
    numbers, times = (each.tolist() for each in stored.read(["number", "event_time"]))
    if not batch.listed:
        numbers = [place if number is None else number for place, number in zip(places, numbers, strict=True)]
    columns = Block(batch.columns).only(left, {} if batch.listed else {"number": numbers})
    return batch._replace(rows=len(places), first_event_time=min(times), last_event_time=max(times), columns=columns)


def _exact(value: Any) -> Any:
    """Return the value; None for an integer that an earlier release rounded to a floating-point number."""
    return None if isinstance(value, float) and abs(value) >= 2**53 else value
