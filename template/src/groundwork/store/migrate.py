"""Brings a store to the schema version of this code. Alembic is imported only where a store is older."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundwork.core.errors import GroundworkError, StoreError
from groundwork.store import schema
from groundwork.store.connection import LOCK_SCHEMA, Connection, Transaction, connect, sqlite_file, without_password
from groundwork.store.copies import copy_before

MIGRATIONS = Path(__file__).with_name("migrations")


@dataclass(frozen=True)
class Migration:
    """What was done to a store."""

    before: int | None  # its schema version; 0 before there were versions, None if it did not exist
    after: int
    copy: Path | None  # of an SQLite store as it was before; None where nothing was changed

    @property
    def changed(self) -> bool:
        """Whether a store was there and is at another version now."""
        return self.before is not None and self.before != self.after

    @property
    def told(self) -> list[str]:
        """What was done, for people: one line each."""
        if self.before is None:
            return [f"the store is new, at schema version {self.after}"]
        if not self.changed:
            return [f"the store is at schema version {self.after}: there was nothing to do"]
        before = f"schema version {self.before}" if self.before else "the time before schema versions"
        copy = [f"the store as it was before: {self.copy}"] if self.copy else []
        return [f"the store went from {before} to schema version {self.after}", *copy]


def migrate(url: str) -> Migration:
    """Bring the store to this code's version, after a copy of an SQLite file; make it if there is none.

    All in one transaction: a migration that is killed has changed nothing. Of two at once, the second waits.
    Raises SchemaMismatch if the store is newer than this code.
    """
    with closing(Connection(url)) as connection:
        with connection.transaction() as transaction:
            version = schema.version_of(transaction)
        if version is None:
            schema.require(connection)
            return Migration(None, schema.VERSION, None)
    schema.check(url, version)
    if version == schema.VERSION:
        return Migration(version, version, None)
    try:
        return _upgrade(url)
    except GroundworkError:
        raise
    except Exception as error:
        raise StoreError(f"the store {without_password(url)} cannot be migrated; it is as it was: {error}") from error


def _upgrade(url: str) -> Migration:
    from sqlalchemy import NullPool, create_engine

    file = sqlite_file(url)
    engine = create_engine(
        "sqlite://" if file else "postgresql+psycopg://", creator=lambda: _connect(url), poolclass=NullPool
    )
    with engine.connect() as connection:
        # Or SQLite would commit each statement: its driver begins no transaction before one that changes the schema.
        connection.exec_driver_sql("begin immediate" if file else LOCK_SCHEMA)
        transaction = Transaction(connection.connection.cursor(), local=file is not None)
        before = schema.version_of(transaction) or schema.UNVERSIONED
        if before == schema.VERSION:  # another process migrated it while this one waited
            return Migration(before, before, None)
        copy = copy_before(file, schema.VERSION) if file else None
        schema.make_version_table(transaction)
        _run_alembic(connection)
        connection.commit()
    return Migration(before, schema.VERSION, copy)


def _run_alembic(connection: Any) -> None:
    """Run the versions that are missing, within the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _connect(url: str) -> Any:
    """A connection for SQLAlchemy: that of the store, and on PostgreSQL with transactions begun by the driver."""
    connection = connect(url)
    if sqlite_file(url) is None:
        connection.autocommit = False
    return connection
