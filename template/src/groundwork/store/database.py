"""The operational store, with one attribute per kind of record.

Records are predictions, outcomes, runs, schedules, ingested windows, proofs, drift and shadow results, and promotions.
Commands that read no prediction do not import NumPy, which the columns of the log need.
"""

import re
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from groundwork.core.errors import Busy, StoreError
from groundwork.core.locks import try_lock
from groundwork.store import schema
from groundwork.store.connection import Connection, Transaction, connect, sqlite_file, without_password
from groundwork.store.drifts import Drifts
from groundwork.store.ingested import IngestedWindows
from groundwork.store.promotion_log import Promotions
from groundwork.store.proofs import Proofs
from groundwork.store.runs import Runs
from groundwork.store.schedules import Schedules
from groundwork.store.shadows import Shadows

if TYPE_CHECKING:
    from groundwork.store.outcomes import Outcomes
    from groundwork.store.predictions import Predictions


class Store:
    """The records of one pilot. Threads may share a store. Raises StoreError if a statement fails."""

    def __init__(self, url: str) -> None:
        """Open `sqlite:///PATH` or `postgresql://…`; an empty database gets the schema of this code.

        Raises SchemaMismatch if the store has an older or a newer schema.
        """
        self.url = url
        self._connection = Connection(url)
        try:
            schema.require(self._connection)
        except StoreError:
            self.close()
            raise
        self.runs = Runs(self._connection)
        self.schedules = Schedules(self._connection)
        self.ingested = IngestedWindows(self._connection)
        self.drift = Drifts(self._connection)
        self.shadow = Shadows(self._connection)
        self.proofs = Proofs(self._connection)
        self.promotions = Promotions(self._connection)

    @cached_property
    def predictions(self) -> "Predictions":
        from groundwork.store.predictions import Predictions

        return Predictions(self._connection)

    @cached_property
    def outcomes(self) -> "Outcomes":
        from groundwork.store.outcomes import Outcomes

        return Outcomes(self._connection)

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def seconds_ahead(self) -> float | None:
        """Returns how far this machine's clock is ahead of the database's; None if the store is a file."""
        if self._connection.file is not None:
            return None
        asked_at = time.time()
        [(theirs,)] = self._connection.rows("select extract(epoch from clock_timestamp())")
        return (asked_at + time.time()) / 2 - float(theirs)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Returns the rows of a query written by the team; the transaction is rolled back, so changes are discarded.

        A query may use the table `predictions`, which has one row per prediction and is made for it.
        """
        from groundwork.store.predictions import show_as_table

        try:
            with closing(connect(self.url)) as connection:
                cursor = connection.cursor()
                cursor.execute("begin")
                if re.search(r"\bpredictions\b", query, re.IGNORECASE):
                    show_as_table(Transaction(cursor, self._connection.file is not None))
                cursor.execute(query)
                found = cursor.fetchall()
                cursor.execute("rollback")
        except Exception as error:
            raise StoreError(f"the store {without_password(self.url)} refused the query: {error}") from error
        return list(found)

    @contextmanager
    def alone(self, flow: str) -> Iterator[None]:
        """Hold the lock of the flow during the block. Raises Busy if another process holds it.

        It is a file lock, or an advisory lock of PostgreSQL, so it is released if the process dies.
        """
        with ExitStack() as held:
            try:
                free = _lock(self.url, flow, held)
            except Exception as error:
                raise StoreError(f"the store {without_password(self.url)} cannot be locked: {error}") from error
            if not free:
                raise Busy(
                    f"another {flow} is running; this one changed nothing. Run it again when the other has ended."
                )
            yield


def _lock(url: str, name: str, held: ExitStack) -> bool:
    """Take the lock with this name until `held` is closed; returns False if another process holds it."""
    path = sqlite_file(url)
    if path is not None:
        return try_lock(held.enter_context(path.with_name(f"{path.name}.{name}.lock").open("a")))
    connection = connect(url)
    held.callback(connection.close)
    key = f"groundwork {name}"
    [free] = connection.execute("select pg_try_advisory_lock(hashtextextended(%s, 0))", (key,)).fetchone()
    held.callback(_unlock, connection, key)
    return bool(free)


def _unlock(connection: Any, key: str) -> None:
    """Release the lock at once; PostgreSQL would release it some time after the connection is closed."""
    with suppress(Exception):  # a lost connection holds no lock
        connection.execute("select pg_advisory_unlock(hashtextextended(%s, 0))", (key,))
