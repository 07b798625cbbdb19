"""Stores as tests look at them: the one that older code wrote, every row, and the whole schema."""

import json
import shutil
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from groundwork.store import schema
from groundwork.store.connection import Connection
from groundwork.store.predictions import Prediction

FIXTURE = Path(__file__).parents[1] / "fixtures" / "store-before-migrations"
ROWS: dict[str, list[list[Any]]] = json.loads((FIXTURE / "rows.json").read_text(encoding="utf-8"))
ERASED = ("flight-7", "flight-12")
MARCH, APRIL = datetime(2013, 3, 1), datetime(2013, 4, 1)


def prediction(number: int, at: datetime = MARCH) -> Prediction:
    """One of the champion, as the tests of the store log it."""
    return Prediction(
        prediction_id=f"id-{number}",
        answered_at="2026-11-23T08:00:00.000+00:00",
        role="champion",
        entity_key=f"flight-{number}",
        event_time=at.isoformat(),
        model_version="1",
        score=number / 1000,
        decision="keep",
        record="{}",
    )


def load_old_store(url: str) -> None:
    """Fill the empty database with the store that the code without schema versions wrote."""
    if url.startswith("sqlite"):
        shutil.copy(FIXTURE / "store.db", file_of(url))
        return
    import psycopg

    with psycopg.connect(url) as connection:
        connection.execute((FIXTURE / "store.sql").read_bytes())


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(Connection(url)) as connection:
        return connection.rows(statement)


def change(url: str, statement: str) -> None:
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        transaction.execute(statement)


def version(url: str) -> int | None:
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        return schema.version_of(transaction)


def rows(url: str) -> dict[str, list[list[Any]]]:
    """Every row of every table, in the order of the fixture, without the columns that were added since."""
    found = {
        table: [list(row)[: len(kept[0])] for row in query(url, f"select * from {table}")]
        for table, kept in ROWS.items()
    }
    return {table: sorted(kept, key=ROWS[table].index) for table, kept in found.items()}


def outline(url: str) -> list[tuple[Any, ...]]:
    """The whole schema: tables with their columns in order, keys, indexes and triggers."""
    if url.startswith("sqlite"):
        found = query(url, "select type, name, tbl_name, sql from sqlite_master")
        return sorted(
            (*names, " ".join(line.split("--")[0].strip() for line in (sql or "").splitlines()))
            for *names, sql in found
        )
    statements = (
        "select table_name, ordinal_position, column_name, data_type, character_maximum_length, is_nullable,"
        " column_default from information_schema.columns where table_schema = 'public'",
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        " where connamespace = 'public'::regnamespace",
        "select indexname, indexdef from pg_indexes where schemaname = 'public'",
        "select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal",
        "select proname, prosrc from pg_proc where pronamespace = 'public'::regnamespace",
    )
    return sorted((row for statement in statements for row in query(url, statement)), key=repr)
