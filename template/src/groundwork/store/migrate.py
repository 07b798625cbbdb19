"""Migrates a store to the schema version of this code. Alembic is imported only if the store is older."""

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundwork.core.errors import GroundworkError, StoreError
from groundwork.store import schema
from groundwork.store.connection import LOCK_SCHEMA, Connection, Transaction, connect, sqlite_file, without_password
from groundwork.store.copies import copy_before, path_before

MIGRATIONS = Path(__file__).with_name("migrations")


@dataclass(frozen=True)
class Migration:
    """The result of a migration."""

    before: int | None  # schema version; 0 for a store without one, None if the store did not exist
    after: int
    copy: Path | None  # copy of an SQLite store before the migration; None if nothing was changed

    @property
    def summary(self) -> list[str]:
        """One line of text per thing that was done; empty if the store had the version already."""
        if self.before is None:
            return [f"created a new store with schema version {self.after}"]
        if self.before == self.after:
            return []
        copy = [f"copy of the store before the migration: {self.copy}"] if self.copy else []
        return [f"migrated the store from {_named(self.before)} to schema version {self.after}", *copy]


def _named(version: int) -> str:
    return f"schema version {version}" if version else "no schema version"


def pending(url: str) -> list[str]:
    """Returns one line of text per thing that `migrate` would do to an existing store, and changes nothing.

    Raises SchemaMismatch if the store is newer than this code.
    """
    version, file = version_of(url), sqlite_file(url)
    if version is None or version == schema.VERSION:
        return []
    copy = [f"copy the store to {path_before(file, schema.VERSION)} first"] if file else []
    return [f"migrate the store from {_named(version)} to schema version {schema.VERSION}", *copy]


def version_of(url: str) -> int | None:
    """Returns the store's schema version; None if there is no store. Raises SchemaMismatch if it is newer."""
    if (file := sqlite_file(url)) and not file.is_file():
        return None
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        version = schema.version_of(transaction)
    if version is not None:
        schema.check(url, version)
    return version


def migrate(url: str) -> Migration:
    """Migrate the store to this code's schema version, and copy an SQLite file first; create the store if missing.

    The migration runs in one transaction, so a killed migration changes nothing. A second migration at the same time
    waits for the first. Raises SchemaMismatch if the store is newer than this code.
    """
    version = version_of(url)
    if version is None:
        with closing(Connection(url)) as connection:
            schema.require(connection)
        return Migration(None, schema.VERSION, None)
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
