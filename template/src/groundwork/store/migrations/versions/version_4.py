"""Tells of each piece of time that was read when it was last compared with the source, and by which code."""

from groundwork.store.migrations.versions import run

revision = "4"
down_revision = "3"

_ADDED = (
    "alter table windows_read add column compared_at text",  # UTC; null in a row from before this version
    "alter table windows_read add column compared_by text",  # digest of the source's address and code
)

STATEMENTS = {"sqlite": _ADDED, "postgresql": _ADDED}


def upgrade() -> None:
    run(STATEMENTS)
