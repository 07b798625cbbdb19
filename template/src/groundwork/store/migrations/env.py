"""Run by Alembic: migrates over the connection, and in the transaction, that `groundwork.store.migrate` hands over."""

from alembic import context

from groundwork.store.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
