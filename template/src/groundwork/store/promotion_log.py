"""The promotion log: its newest entry that a trusted key has signed names the champion (`models/serving/chain.py`)."""

import json
from typing import NamedTuple

from groundwork.store.connection import Connection, insertion


class Promotion(NamedTuple):
    """One entry of the promotion log; its fields are the table's columns."""

    model: str
    number: int  # 1, 2, 3, …: the writer of n + 1 has read n
    promoted_at: str  # UTC
    promoted_by: str
    from_version: str  # empty for the first entry
    to_version: str  # empty if the champion was lost and there was none to go back to
    why: str
    evidence_sha256: str  # of the gate's verdict on to_version; empty if there is no verdict
    bundle_sha256: str
    verdict: str = ""  # of the gate on to_version: passed; empty if there is none
    serves: str = "model"  # or no-model: today's rule answers, whichever version is champion
    kind: str = ""  # adopted: the first signed entry after unsigned ones; mended: what was broken before it is accepted
    previous_sha256: str = ""  # of the signed entry before it
    signature: str = ""  # of all other fields, in base64; empty in entries of 0.2.0 and earlier

    def as_json(self) -> str:
        """Returns the entry as one line of JSON."""
        return json.dumps(self._asdict())

    @classmethod
    def from_json(cls, text: str) -> "Promotion | None":
        """Returns the entry that `as_json` wrote; None if it is another text."""
        try:
            return cls(**json.loads(text))
        except (ValueError, TypeError):
            return None


_SELECT = f"select {', '.join(Promotion._fields)} from promotions where model = ?"
_INSERT = insertion("promotions", Promotion._fields) + " on conflict do nothing"


class Promotions:
    """The promotion log. It is append-only: database triggers refuse changes and deletions."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def of(self, model: str) -> list[Promotion]:
        """Returns the model's promotion log, oldest entry first; not all entries need be genuine."""
        return [
            Promotion(**dict(zip(Promotion._fields, row, strict=True)))
            for row in self._connection.rows(f"{_SELECT} order by number", (model,))
        ]

    def latest(self, model: str) -> Promotion | None:
        """Returns the newest entry, which need not be genuine; None if there is no promotion yet."""
        rows = self._connection.rows(f"{_SELECT} order by number desc limit 1", (model,))
        return Promotion(**dict(zip(Promotion._fields, rows[0], strict=True))) if rows else None

    def append(self, promotion: Promotion) -> bool:
        """Append the entry; returns False if another process has already written an entry with its number."""
        with self._connection.transaction() as transaction:
            return transaction.execute(_INSERT, promotion) == 1
