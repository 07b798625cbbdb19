"""Stores as tests look at them: the one that older code wrote, every row, and the whole schema."""

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from groundwork.store import schema
from groundwork.store.batches import Batch, LogPart, Prediction, block
from groundwork.store.connection import Connection
from groundwork.store.database import Store
from groundwork.store.migrations.versions import version_1
from groundwork.store.predictions import Predictions

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


def batch(numbers: Iterable[int], at: datetime = MARCH, **changed: Any) -> Batch:
    """A batch of the champion's, as the service logs it, with one prediction per number."""
    listed = list(numbers)
    fields = {
        "batch_id": os.urandom(12).hex(),
        "answered_at": "2026-11-23T08:00:00.000+00:00",
        "role": "champion",
        "model_version": "1",
        "first_event_time": at.isoformat(),
        "last_event_time": at.isoformat(),
        "answered": len(listed),
        "rows": len(listed),
        "columns": block(
            keys="flight_id",
            times=[at.isoformat() for _ in listed],
            decisions=["keep" for _ in listed],
            scores=[number / 1000 for number in listed],
            record={"flight_id": [f"flight-{number}" for number in listed]},
        ),
    }
    return Batch(**fields | changed)


def log(store: Store, predictions: Iterable[Prediction]) -> None:
    """Log predictions that have ids of their own, as the migration keeps those from before the log had batches."""
    with closing(Connection(store.url)) as connection:
        for each in predictions:
            record, by_class = json.loads(each.record), json.loads(each.class_scores or "null")
            columns = block(
                keys=[each.entity_key],
                times=[each.event_time],
                decisions=[each.decision],
                scores={name: [score] for name, score in by_class.items()} if by_class else _listed(each.score),
                record={name: [value] for name, value in record.items()},
                id=[each.prediction_id],
                answered_at=[each.answered_at],
            )
            changed = {"batch_id": f"listed-{each.prediction_id}", "columns": columns, "role": each.role}
            changed |= {"answered_at": each.answered_at, "model_version": each.model_version}
            store.predictions.log([batch([1], datetime.fromisoformat(each.event_time))._replace(**changed)])
            with connection.transaction() as transaction:
                transaction.execute(
                    "insert into prediction_ids (prediction_id, batch_id) values (?, ?) on conflict do nothing",
                    (each.prediction_id, f"listed-{each.prediction_id}"),
                )


def _listed(score: float | None) -> list[float] | None:
    return None if score is None else [score]


def asked(file: Path, statement: str) -> list[tuple[Any, ...]]:
    """The rows of a team's query of the store in this file."""
    with Store(f"sqlite:///{file}") as store:
        return store.ask(statement)


def ids_logged(file: Path) -> set[str]:
    """The ids of all predictions in the store in this file."""
    return {identifier for (identifier,) in asked(file, "select prediction_id from predictions")}


def known(store: Store, part: LogPart = LogPart()) -> dict[str, float | str]:  # noqa: B008
    """The outcomes that are known, by the id of their prediction."""
    logged = store.predictions.read(part)
    found = store.outcomes.of(logged, part)
    return dict(zip(logged.take(found.rows).column("id").tolist(), found.outcomes, strict=True))


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


def write_as_0_2_0(url: str, flows: Iterable[str] = ()) -> None:
    """Write the store anew as release 0.2.0 made it, with its promotions and schedules of these flows alone."""
    promotions = [row[:9] for row in query(url, "select * from promotions order by number")]
    for file in file_of(url).parent.glob(f"{file_of(url).name}*"):
        file.unlink()
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        for statement in version_1.STATEMENTS["sqlite"]:
            transaction.execute(statement)
        schema.make_version_table(transaction)
        transaction.execute(f"insert into {schema.VERSION_TABLE} values ('1')")
        transaction.execute_many(f"insert into promotions values ({', '.join('?' * 9)})", promotions)
        transaction.execute_many("insert into schedules values (?, '2026-11-01T00:00:00+00:00')", [(f,) for f in flows])


def change(url: str, statement: str) -> None:
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        transaction.execute(statement)


def version(url: str) -> int | None:
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        return schema.version_of(transaction)


def rows(url: str) -> dict[str, list[list[Any]]]:
    """Every row of every table, in the order in which the fixture's are kept; of the log, every prediction."""
    tables = dict.fromkeys(ROWS, "*") | {"outcomes": "prediction_id, outcome, received_at, outcome_class"}
    in_batches = version(url) not in (0, 1)
    if in_batches:
        del tables["predictions"]
    found = {
        table: [list(row)[: len(ROWS[table][0])] for row in query(url, f"select {kept} from {table}")]
        for table, kept in tables.items()
    }
    if in_batches:
        with closing(Connection(url)) as connection:
            logged = Predictions(connection).between(datetime.min, datetime.max)
        found["predictions"] = [[*each[:9], _spaced(each.class_scores)] for each in logged]
    return {table: sorted(found[table], key=kept.index) for table, kept in ROWS.items()}


def _spaced(text: str | None) -> str | None:
    """A JSON object as the fixture has it."""
    return text and json.dumps(json.loads(text))


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
