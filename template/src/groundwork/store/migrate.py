"""Migrates a store to the schema version of this code. Alembic is imported only if the store is older."""

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
    """The result of a migration."""

    before: int | None  # schema version; 0 for a store without one, None if the store did not exist
    after: int
    copy: Path | None  # copy of an SQLite store before the migration; None if nothing was changed

    @property
    def changed(self) -> bool:
        """Whether an existing store was migrated to another version."""
        return self.before is not None and self.before != self.after

    @property
    def summary(self) -> list[str]:
        """One line of text per thing that was done."""
        if self.before is None:
            return [f"created a new store with schema version {self.after}"]
        if not self.changed:
            return [f"the store already has schema version {self.after}: nothing to migrate"]
        before = f"schema version {self.before}" if self.before else "no schema version"
        copy = [f"copy of the store before the migration: {self.copy}"] if self.copy else []
        return [f"migrated the store from {before} to schema version {self.after}", *copy]


def migrate(url: str) -> Migration:
    """Migrate the store to this code's schema version, and copy an SQLite file first; create the store if missing.

    The migration runs in one transaction, so a killed migration changes nothing. A second migration at the same time
    waits for the first. Raises SchemaMismatch if the store is newer than this code.
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
        raise StoreError(
            f"the store {without_password(url)} cannot be migrated and was not changed: {error}"
        ) from error


def pending(url: str) -> str:
    """Returns what `migrate` has to do, as a sentence; empty if there is nothing. It creates no store and changes none.

    Raises SchemaMismatch if the store is newer than this code.
    """
    file = sqlite_file(url)
    if file and not file.is_file():
        return ""
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        version = schema.version_of(transaction)
    schema.check(url, version or 0)
    if version in (None, schema.VERSION):
        return ""
    return f"the store has schema version {version}, and the code needs version {schema.VERSION}"


def _upgrade(url: str) -> Migration:
    from sqlalchemy import NullPool, create_engine

    file = sqlite_file(url)
    engine = create_engine(
        "sqlite://" if file else "postgresql+psycopg://", creator=lambda: _connect(url), poolclass=NullPool
    )
    with engine.connect() as connection:
        # Begin explicitly: Python's SQLite driver begins no transaction before a statement that changes the schema,
        # so each one would be committed by itself.
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
    """Run the missing migrations in the connection's transaction."""
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    command.upgrade(config, "head")


def _connect(url: str) -> Any:
    """Returns a connection for SQLAlchemy; on PostgreSQL, the driver begins the transactions."""
    connection = connect(url)
    if sqlite_file(url) is None:
        connection.autocommit = False
    return connection
