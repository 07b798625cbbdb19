"""The entries of the promotion log are signed, linked, and say what serves: see `Promotion` in `promotion_log.py`."""

from groundwork.store.migrations.versions import run

revision = "3"
down_revision = "2"

_COLUMNS = {"verdict": "", "serves": "model", "kind": "", "previous_sha256": "", "signature": ""}
_ADDED = tuple(
    f"alter table promotions add column {name} text not null default '{default}'" for name, default in _COLUMNS.items()
)
STATEMENTS = {"sqlite": _ADDED, "postgresql": _ADDED}


def upgrade() -> None:
    run(STATEMENTS)
