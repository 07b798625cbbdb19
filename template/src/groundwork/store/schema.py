"""The store's schema version: the one this code needs, the one a store has, and how a new store is created.

The service imports this module, so it imports neither Alembic nor SQLAlchemy.
"""

from groundwork.core.errors import SchemaMismatch
from groundwork.store.connection import Connection, Transaction, without_password
from groundwork.store.migrations.versions import version_1, version_2, version_3, version_4

REVISIONS = (version_1, version_2, version_3, version_4)
VERSION = int(REVISIONS[-1].revision)
VERSION_TABLE = "groundwork_schema"
UNVERSIONED = 0  # a store from before schema versions

# The same table that Alembic creates.
_VERSION_TABLE = f"""
    create table if not exists {VERSION_TABLE} (
      version_num varchar(32) not null,
      constraint {VERSION_TABLE}_pkc primary key (version_num)
    )
    """


def require(connection: Connection) -> None:
    """Create the schema in an empty database. Raises SchemaMismatch if the database has a store of another version."""
    with connection.transaction() as transaction:
        version = version_of(transaction)
    if version is None:
        with connection.transaction(alone=True) as transaction:
            version = version_of(transaction)  # another process may have created it meanwhile
            if version is None:
                _create(transaction)
                version = VERSION
    check(connection.url, version)
    if version < VERSION:
        found = f"has schema version {version}" if version else "was written before stores had a schema version"
        raise SchemaMismatch(
            f"the store {without_password(connection.url)} {found}, but this code needs version {VERSION}: "
            "stop the service and the worker, then run `groundwork migrate`"
        )


def check(url: str, version: int) -> None:
    """Raises SchemaMismatch if the store's schema version is newer than this code."""
    if version > VERSION:
        raise SchemaMismatch(
            f"the store {without_password(url)} has schema version {version}, but this code supports versions up to "
            f"{VERSION}: update the pilot's code"
        )


def version_of(transaction: Transaction) -> int | None:
    """Returns the store's schema version, UNVERSIONED for a store without one; None if the database has no store."""
    tables = {name for (name,) in transaction.rows(_TABLES[transaction.local], (VERSION_TABLE, "predictions"))}
    if VERSION_TABLE in tables:
        rows = transaction.rows(f"select version_num from {VERSION_TABLE}")
        return int(rows[0][0]) if rows else UNVERSIONED
    return UNVERSIONED if tables else None


def make_version_table(transaction: Transaction) -> None:
    """Create Alembic's version table if it does not exist."""
    transaction.execute(_VERSION_TABLE)


_TABLES = {
    True: "select name from sqlite_master where type = 'table' and name in (?, ?)",
    False: "select tablename from pg_tables where schemaname = current_schema() and tablename in (?, ?)",
}


def _create(transaction: Transaction) -> None:
    make_version_table(transaction)
    for revision in REVISIONS:
        for statement in revision.STATEMENTS["sqlite" if transaction.local else "postgresql"]:
            transaction.execute(statement)
    transaction.execute(f"insert into {VERSION_TABLE} (version_num) values (?)", (str(VERSION),))
