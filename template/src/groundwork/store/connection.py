"""One connection to SQLite (in WAL mode) or PostgreSQL; the same statements run on both."""

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from groundwork.core.errors import GroundworkError, StoreError

# Alembic takes no lock, so stores are created and migrated under this one.
LOCK_SCHEMA = "select pg_advisory_xact_lock(hashtext('groundwork'))"


class Transaction:
    """An open transaction; statements have `?` for each value."""

    def __init__(self, cursor: Any, local: bool) -> None:
        self.local = local  # SQLite
        self._cursor = cursor

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run the statement; returns the number of changed rows."""
        self._cursor.execute(self._placeholders(statement), tuple(values))
        return int(self._cursor.rowcount)

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(self._placeholders(statement), list(rows))

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of the query's result."""
        self._cursor.execute(self._placeholders(query), tuple(values))
        return list(self._cursor.fetchall())

    def _placeholders(self, statement: str) -> str:
        return statement if self.local else statement.replace("?", "%s")


class Connection:
    """One connection, shared by threads and reopened after an error. Raises StoreError if a statement fails."""

    def __init__(self, url: str) -> None:
        """`url` is `sqlite:///PATH` or `postgresql://…`; the first transaction opens the connection."""
        self.url = url
        self._lock = threading.Lock()
        self._connection: Any = None

    @property
    def file(self) -> Path | None:
        """The SQLite file; None on PostgreSQL."""
        return sqlite_file(self.url)

    @contextmanager
    def transaction(self, alone: bool = False) -> Iterator[Transaction]:
        """Run the block in one transaction. `alone` waits until no other process creates or migrates the store.

        After an error the connection is dropped, so that the next transaction opens a new one.
        """
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = connect(self.url)
                local = self.file is not None
                cursor = self._connection.cursor()
                cursor.execute("begin immediate" if alone and local else "begin")
                if alone and not local:
                    cursor.execute(LOCK_SCHEMA)
                yield Transaction(cursor, local)
                cursor.execute("commit")
            except GroundworkError:
                self._drop()
                raise
            except Exception as error:
                self._drop()
                raise StoreError(f"the store {without_password(self.url)} failed: {error}") from error
            except BaseException:
                self._drop()
                raise

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Returns all rows of the query's result, read in a separate transaction."""
        with self.transaction() as transaction:
            return transaction.rows(query, values)

    def empty_log(self) -> None:
        """Move SQLite's write-ahead log into its file and empty it, so that the log contains no erased data."""
        with self._lock:
            self._connection.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # the connection may be broken already
                connection.rollback()  # otherwise a lock would be held as long as the error is referenced
            with suppress(Exception):
                connection.close()


def connect(url: str) -> Any:
    """Returns a connection without automatic transactions. Raises ValueError for an unknown address."""
    path = sqlite_file(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")  # a commit survives a kill; only a power failure can lose it
        return connection
    if url.startswith(("postgresql://", "postgres://")):
        import psycopg

        return psycopg.connect(url, autocommit=True, connect_timeout=5)
    raise ValueError("the address must begin with sqlite:/// or postgresql://")


def sqlite_file(url: str) -> Path | None:
    """Returns the file of a `sqlite:///PATH` address; None for other addresses."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def insertion(table: str, columns: Sequence[str]) -> str:
    """Returns the statement that inserts one row. It names the columns, so that a migration may add columns."""
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"


def utc_text(moment: datetime) -> str:
    """Returns the moment as the store writes it: ISO 8601 in UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def without_password(url: str) -> str:
    """Returns the URL without user and password, for messages and logs."""
    return re.sub("://[^/]*@", "://", url)
