"""One connection to SQLite (WAL) on a laptop, or to PostgreSQL beyond it; the same statements run on both."""

import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from groundwork.core.errors import GroundworkError, StoreError

# Alembic takes no lock; so a store is made, and migrated, under this one.
LOCK_SCHEMA = "select pg_advisory_xact_lock(hashtext('groundwork'))"


class Transaction:
    """Runs statements with `?` for each value."""

    def __init__(self, cursor: Any, local: bool) -> None:
        self.local = local  # SQLite
        self._cursor = cursor

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run the statement; the number of rows that it changed."""
        self._cursor.execute(self._placeholders(statement), tuple(values))
        return int(self._cursor.rowcount)

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        self._cursor.executemany(self._placeholders(statement), list(rows))

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of the query's result."""
        self._cursor.execute(self._placeholders(query), tuple(values))
        return list(self._cursor.fetchall())

    def _placeholders(self, statement: str) -> str:
        return statement if self.local else statement.replace("?", "%s")


class Connection:
    """One connection, shared by threads; opened again after it broke. Raises StoreError when a statement fails."""

    def __init__(self, url: str) -> None:
        """Take `sqlite:///PATH` or `postgresql://…`; the first transaction opens it."""
        self.url = url
        self._lock = threading.Lock()
        self._connection: Any = None

    @property
    def file(self) -> Path | None:
        """SQLite's file; None on PostgreSQL."""
        return sqlite_file(self.url)

    @contextmanager
    def transaction(self, alone: bool = False) -> Iterator[Transaction]:
        """One transaction; `alone` waits until no other process makes or migrates the store.

        A connection that failed is dropped, so that the next transaction opens a new one.
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
        """All rows of the query's result, in a transaction of its own."""
        with self.transaction() as transaction:
            return transaction.rows(query, values)

    def empty_log(self) -> None:
        """Move what SQLite keeps in the write-ahead log into its file, so that the log holds nothing erased."""
        with self._lock:
            self._connection.execute("pragma wal_checkpoint(truncate)")

    def close(self) -> None:
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is broken already
                connection.rollback()  # or a lock would live as long as anybody remembers the error
            with suppress(Exception):
                connection.close()


def connect(url: str) -> Any:
    """A connection in which transactions are begun and ended by hand. Raises ValueError for an unknown address."""
    path = sqlite_file(url)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=10, isolation_level=None, check_same_thread=False)
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = normal")  # a commit outlives the process; only power can lose it
        return connection
    if url.startswith(("postgresql://", "postgres://")):
        import psycopg

        return psycopg.connect(url, autocommit=True, connect_timeout=5)
    raise ValueError("its address must begin with sqlite:/// or postgresql://")


def sqlite_file(url: str) -> Path | None:
    """The file of a `sqlite:///PATH` address; None for any other."""
    return Path(url.removeprefix("sqlite:///")) if url.startswith("sqlite:///") else None


def insertion(table: str, columns: Sequence[str]) -> str:
    """The statement that inserts one row and names its columns, so that a migration may add some."""
    return f"insert into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"


def utc_text(moment: datetime) -> str:
    """The moment as the store writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


def without_password(url: str) -> str:
    """The URL as it may be shown and logged: without user and password."""
    return re.sub("://[^/]*@", "://", url)
