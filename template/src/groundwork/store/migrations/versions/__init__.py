"""The schema, version by version: the only place of its statements.

`version_N.py` has its number in `revision`, the one before it in `down_revision`, and for each database the statements
that lead from there to here. A new store is made by all statements of all versions, without Alembic. An older one is
brought up by Alembic, which calls `upgrade()`: that may also change rows, in Python, but not the schema. A version that
was released is never edited.
"""

from collections.abc import Mapping, Sequence


def run(statements: Mapping[str, Sequence[str]]) -> None:
    """Run the statements for the database that Alembic is migrating."""
    from alembic import op

    connection = op.get_bind()
    for statement in statements[connection.dialect.name]:
        connection.exec_driver_sql(statement)
