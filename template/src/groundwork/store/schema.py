"""The store's schema version: which one this code needs, which one a store has, and how a new store is made.

The service imports this; so nothing here imports Alembic or SQLAlchemy.
"""

from groundwork.core.errors import SchemaMismatch
from groundwork.store.connection import Connection, Transaction, without_password
from groundwork.store.migrations.versions import version_1

REVISIONS = (version_1,)
VERSION = int(REVISIONS[-1].revision)
VERSION_TABLE = "groundwork_schema"
UNVERSIONED = 0  # written by code from before there were versions

# As Alembic would make it.
_VERSION_TABLE = f"""
    create table if not exists {VERSION_TABLE} (
      version_num varchar(32) not null,
      constraint {VERSION_TABLE}_pkc primary key (version_num)
    )
    """


def require(connection: Connection) -> None:
    """Make the schema in an empty database. Raises SchemaMismatch if a store is there and has another version."""
    with connection.transaction() as transaction:
        version = version_of(transaction)
    if version is None:
        with connection.transaction(alone=True) as transaction:
            version = version_of(transaction)  # another process may have made it in between
            if version is None:
                _create(transaction)
                version = VERSION
    check(connection.url, version)
    if version < VERSION:
        found = f"has schema version {version}" if version else "was written before stores had a schema version"
        raise SchemaMismatch(
            f"the store {without_password(connection.url)} {found}, and this code needs version {VERSION}: "
            "stop the service and the worker, then run `groundwork migrate`"
        )


def check(url: str, version: int) -> None:
    """Raises SchemaMismatch if the store's version is newer than this code."""
    if version > VERSION:
        raise SchemaMismatch(
            f"the store {without_password(url)} has schema version {version}, and this code knows versions up to "
            f"{VERSION}: update the pilot's code"
        )


def version_of(transaction: Transaction) -> int | None:
    """The store's schema version; None if the database holds no store yet."""
    tables = {name for (name,) in transaction.rows(_TABLES[transaction.local], (VERSION_TABLE, "predictions"))}
    if VERSION_TABLE in tables:
        rows = transaction.rows(f"select version_num from {VERSION_TABLE}")
        return int(rows[0][0]) if rows else UNVERSIONED
    return UNVERSIONED if tables else None


def make_version_table(transaction: Transaction) -> None:
    """Make the table in which Alembic keeps the version."""
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
