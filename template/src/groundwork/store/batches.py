"""Batches of the prediction log, as they are stored and as they are read: predictions in columns."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal, NamedTuple
from uuid import uuid4

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundwork.store.columns import Block, LoggedColumn, joined, missing_column, pack

Role = Literal["champion", "canary", "shadow", "batch", "no-model"]
ANSWERS: tuple[Role, ...] = ("champion", "canary", "batch", "no-model")  # all but those of a challenger in the shadow
ID_LENGTH = 24  # of a batch; a prediction's id is the id of its batch and its number in it, in 8 hexadecimal digits
LISTED = "listed-"  # begins the ids of batches that were put together later, in which each prediction's id is listed


class Prediction(NamedTuple):
    """One prediction."""

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


class Batch(NamedTuple):
    """Predictions that one version made together; the fields are the table's columns."""

    batch_id: str
    answered_at: str  # UTC; the first one, if each prediction has its own
    role: Role
    model_version: str  # empty for the no-model rule
    first_event_time: str
    last_event_time: str
    answered: int  # the number of predictions at first
    rows: int  # the number of predictions without the erased ones
    columns: bytes  # a block, see store/columns.py

    @property
    def listed(self) -> bool:
        """Whether the predictions have their own ids."""
        return self.batch_id.startswith(LISTED)


def batch_of(row: Sequence[Any]) -> Batch:
    """Returns the batch of a row of the table."""
    return Batch(**dict(zip(Batch._fields, row, strict=True)))


def block(*, keys: Any, times: Any, decisions: Any, scores: Any, record: dict[str, Any], **others: Any) -> bytes:
    """Returns a batch's columns as bytes: entity keys, event times, decisions, scores, and the columns of the record.

    `scores` is None for the no-model rule, and maps each class to its scores for several classes. In place of keys or
    times, the name of the record's column with the same values may be given.
    """
    columns = {"key": keys, "event_time": times, "decision": decisions, "record": record, **others}
    if scores is not None:
        columns["class" if isinstance(scores, dict) else "score"] = scores
    return pack(columns)


class StoredBatch:
    """A batch of the log, or some of its predictions."""

    def __init__(self, batch: Batch, chosen: NDArray[np.int64] | None = None) -> None:
        self.batch = batch
        self.chosen = chosen  # the places of the predictions in the batch, rising; None for all
        self.rows = batch.rows if chosen is None else len(chosen)

    def read(self, names: Sequence[str]) -> list[LoggedColumn]:
        """Returns the columns with these names; see `Logged.read`."""
        found = Block(self.batch.columns)
        return [self._read(found, name) for name in names]

    def _read(self, found: Block, name: str) -> LoggedColumn:
        within, _, inner = name.partition(".")
        column = found.column(inner, within) if inner else found.column(name)
        if name == "id" and column is None:
            column = LoggedColumn(
                "any", values=[f"{self.batch.batch_id}{number:08x}" for number in self._numbers(found)]
            )
        if column is not None:
            return column if self.chosen is None else column.take(self.chosen)
        value = self.batch._asdict()[name] if name in ("answered_at", "role", "model_version") else None
        return missing_column(self.rows) if value is None else LoggedColumn("any", values=[value] * self.rows)

    def _numbers(self, found: Block) -> Iterable[int]:
        kept = found.column("number")
        return range(self.batch.answered) if kept is None else kept.tolist()

    def place_of(self, identifier: str) -> int | None:
        """Returns a prediction's place among those of this object, by its id; None if it is not one of them."""
        if self.chosen is None and self.batch.rows == self.batch.answered and not self.batch.listed:
            return number_in(identifier, self.batch.batch_id, self.batch.answered)
        return self._places.get(identifier)

    @cached_property
    def _places(self) -> dict[str, int]:
        [ids] = self.read(["id"])
        return {identifier: place for place, identifier in enumerate(ids.tolist())}

    def only(self, places: NDArray[np.int64]) -> "StoredBatch":
        """Returns the predictions at these places, which rise."""
        return StoredBatch(self.batch, places if self.chosen is None else self.chosen[places])

    def has(self, name: str) -> bool:
        """Whether the record has this column."""
        return name in Block(self.batch.columns).names("record")

    def predictions(self) -> list[Prediction]:
        """Returns the predictions one by one; to look at a few, not to compute with many."""
        found = Block(self.batch.columns)
        names, classes = found.names("record"), found.names("class")
        fields = ["id", "answered_at", "role", "key", "event_time", "model_version", "score", "decision"]
        columns = [self._read(found, name).tolist() for name in fields]
        records = _as_json(names, [self._read(found, f"record.{name}").tolist() for name in names], self.rows)
        by_class: Sequence[str | None] = [None] * self.rows
        if classes:
            by_class = _as_json(classes, [self._read(found, f"class.{name}").tolist() for name in classes], self.rows)
        rows = zip(*columns, records, by_class, strict=True)
        return [Prediction(**dict(zip(Prediction._fields, row, strict=True))) for row in rows]


def _as_json(names: Sequence[str], columns: Sequence[Sequence[Any]], rows: int) -> list[str]:
    encode = msgspec.json.Encoder().encode
    values: Iterable[tuple[Any, ...]] = zip(*columns, strict=True) if names else [()] * rows
    return [encode(dict(zip(names, row, strict=True))).decode() for row in values]


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """A part of the log: the limits that are given; intervals are half open."""

    start: datetime | None = None  # event times, in local time
    end: datetime | None = None
    answered_since: str = ""  # UTC
    answered_until: str = ""
    model_version: str | None = None
    roles: Sequence[Role] = ()
    with_outcomes: bool = False  # batches without any outcome are left out

    def condition(self) -> tuple[str, list[Any]]:
        """Returns the SQL condition that the batches `b` meet which may hold such predictions, and its values."""
        limits: list[tuple[str, Any]] = []
        if self.start:
            limits.append(("b.last_event_time >= ?", self.start.isoformat()))
        if self.end:
            limits.append(("b.first_event_time < ?", self.end.isoformat()))
        if self.answered_since:
            limits.append((f"(b.answered_at >= ? or b.batch_id >= '{LISTED}')", self.answered_since))
        if self.answered_until:
            limits.append(("b.answered_at < ?", self.answered_until))
        if self.model_version is not None:
            limits.append(("b.model_version = ?", self.model_version))
        conditions = [condition for condition, _ in limits]
        values = [value for _, value in limits]
        if self.roles:
            conditions.append(f"b.role in ({', '.join('?' * len(self.roles))})")
            values += self.roles
        if self.with_outcomes:
            conditions.append("exists (select 1 from outcomes where batch_id = b.batch_id)")
        return " and ".join(conditions) or "true", values

    def of(self, batch: Batch) -> StoredBatch:
        """Returns the predictions of the batch that belong to this part."""
        stored = StoredBatch(batch)
        bounds = []
        start, end = (bound.isoformat() if bound else "" for bound in (self.start, self.end))
        if (start and batch.first_event_time < start) or (end and batch.last_event_time >= end):
            bounds.append(("event_time", start, end))
        if batch.listed and (self.answered_since or self.answered_until):
            bounds.append(("answered_at", self.answered_since, self.answered_until))
        for name, since, until in bounds:
            [found] = stored.read([name])
            kept = [each >= since and (not until or each < until) for each in found.tolist()]
            stored = stored.only(np.flatnonzero(kept))
        return stored


def merged(batches: Sequence[Batch]) -> tuple[Batch, list[str]]:
    """Returns one batch with the predictions of these, which keep their ids, and the ids.

    The batches have the same role, version and columns.
    """
    logged, first = Logged([StoredBatch(batch) for batch in batches]), Block(batches[0].columns)
    names, classes = first.names("record"), first.names("class")
    found = logged.read(["id", "answered_at", "key", "event_time", "decision", "score"])
    record = logged.records(names)
    # Entity keys and event times are mostly columns of the record, too.
    same = {
        each: next((name for name in names if record[name] == found[each]), found[each])
        for each in ("key", "event_time")
    }
    scores: Any = {name: logged.column(f"class.{name}") for name in classes} or found["score"]
    ids = found["id"].tolist()
    columns = block(
        keys=same["key"],
        times=same["event_time"],
        decisions=found["decision"],
        scores=None if not classes and found["score"].empty else scores,
        record=record,
        id=found["id"],
        answered_at=found["answered_at"],
    )
    return batches[0]._replace(
        batch_id=f"{LISTED}{uuid4().hex}",
        answered_at=min(batch.answered_at for batch in batches),
        first_event_time=min(batch.first_event_time for batch in batches),
        last_event_time=max(batch.last_event_time for batch in batches),
        answered=len(ids),
        rows=len(ids),
        columns=columns,
    ), ids


def number_in(identifier: str, batch_id: str, answered: int) -> int | None:
    """Returns the number that the id of a prediction has in the batch; None if it is not the id of one of them."""
    digits = identifier[ID_LENGTH:]
    if len(digits) != 8 or not identifier.startswith(batch_id) or digits.strip("0123456789abcdef"):
        return None
    number = int(digits, 16)
    return number if number < answered else None


class Logged:
    """Predictions of the log, in columns."""

    def __init__(self, batches: Sequence[StoredBatch]) -> None:
        self.batches = batches
        self.rows = sum(batch.rows for batch in batches)

    def read(self, names: Sequence[str]) -> dict[str, LoggedColumn]:
        """Returns the columns with these names, each with one value per prediction.

        The names are `id`, `answered_at`, `role`, `model_version`, `key`, `event_time`, `score`, `decision`,
        `record.NAME` for a column of the record, and `class.NAME` for the scores of a class. A column that the record
        did not have then holds missing values.
        """
        parts = [batch.read(names) for batch in self.batches]
        return {
            name: joined([part[place] for part in parts]) if parts else missing_column(0)
            for place, name in enumerate(names)
        }

    def has(self, name: str) -> bool:
        """Whether the record of any prediction has this column."""
        return any(batch.has(name) for batch in self.batches)

    def column(self, name: str) -> LoggedColumn:
        """Returns one column; see `read`."""
        return self.read([name])[name]

    def record(self, name: str) -> LoggedColumn:
        """Returns one column of the record."""
        return self.column(f"record.{name}")

    def records(self, names: Sequence[str]) -> dict[str, LoggedColumn]:
        """Returns these columns of the record."""
        found = self.read([f"record.{name}" for name in names])
        return {name: found[f"record.{name}"] for name in names}

    def take(self, rows: NDArray[np.int64]) -> "Logged":
        """Returns the predictions with these row numbers, which rise."""
        ends = np.cumsum([batch.rows for batch in self.batches], dtype=np.int64)
        borders = np.searchsorted(rows, ends)
        taken, begin, first = [], 0, 0
        for batch, border, end in zip(self.batches, borders.tolist(), ends.tolist(), strict=True):
            if border > begin:
                taken.append(batch.only(rows[begin:border] - first))
            begin, first = border, end
        return Logged(taken)

    def sample(self, rows: int) -> "Logged":
        """Returns so many of the predictions, by chance but always the same; all of them if there are not more."""
        if self.rows <= rows:
            return self
        return self.take(np.sort(np.random.default_rng(0).choice(self.rows, rows, replace=False)))

    def predictions(self) -> Iterator[Prediction]:
        """Yields the predictions one by one; to look at a few, not to compute with many."""
        for batch in self.batches:
            yield from batch.predictions()
