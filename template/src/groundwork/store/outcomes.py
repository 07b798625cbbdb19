"""Outcomes, by the id of their prediction."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from groundwork.store.batches import ID_LENGTH, Logged, LogPart
from groundwork.store.connection import Connection, insertion, utc_text
from groundwork.store.predictions import batch_ids, those

_FIELDS = ("prediction_id", "outcome", "outcome_class", "received_at", "batch_id")
_INSERT = insertion("outcomes", _FIELDS) + " on conflict do nothing"


class KnownOutcomes(NamedTuple):
    """The predictions whose outcome is known."""

    rows: NDArray[np.int64]  # their row numbers, rising
    outcomes: list[float | str]  # 0 or 1 for a boolean, a quantity, or the name of a class


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
        told = [
            (each, None, value) if isinstance(value, str) else (each, float(value), None) for each, value in outcomes
        ]
        ids = [each for each, *_ in told]
        with self._connection.transaction(alone=True) as transaction:  # not while batches are put together
            batches = batch_ids(transaction, ids)
            rows = [
                (*each, now, batches.get(each[0], each[0][:ID_LENGTH]))
                for each in told
                if keep_unknown or each[0] in batches
            ]
            transaction.execute_many(_INSERT, rows)
            query = "select prediction_id, outcome, outcome_class from outcomes where prediction_id"
            kept = {each: value for each, *value in those(transaction, query, [row[0] for row in rows])}
        contradicting = [each for each, *value in told if kept.get(each, value) != value]
        return [each for each in ids if each not in batches], contradicting

    def of(self, logged: Logged, part: LogPart) -> KnownOutcomes:
        """Returns the known outcomes of the predictions, which belong to this part of the log."""
        condition, values = part.condition()
        rows = self._connection.rows(
            "select o.batch_id, o.prediction_id, o.outcome, o.outcome_class"
            f" from prediction_batches b join outcomes o on o.batch_id = b.batch_id where {condition}",
            values,
        )
        begins, begin = {}, 0
        for stored in logged.batches:
            begins[stored.batch.batch_id] = (begin, stored)
            begin += stored.rows
        found: dict[int, float | str] = {}
        for batch_id, identifier, number, name in rows:
            if batch_id in begins:  # otherwise none of its predictions belongs to the part
                begin, stored = begins[batch_id]
                if (place := stored.place_of(identifier)) is not None:
                    found[begin + place] = number if name is None else name
        known = sorted(found)
        return KnownOutcomes(np.array(known, np.int64), [found[row] for row in known])
