"""The prediction log in batches of columns, instead of one row of text per prediction."""

import json
from collections.abc import Iterator
from typing import Any

from groundwork.core.progress import tell
from groundwork.store.migrations.versions import run

revision = "2"
down_revision = "1"

ROWS = 4096  # of a batch that is made of rows
HELD = 16 * ROWS  # rows of all unfinished batches: the memory stays the same, however many rows there are

_MADE = (
    """
    create table prediction_batches (
      batch_id text primary key,      -- a prediction's id is this and its number in the batch, as 8 hexadecimal digits
      answered_at text not null,      -- UTC
      role text not null,             -- who answered: champion, canary, shadow, batch or no-model
      model_version text not null,    -- empty for the no-model rule
      first_event_time text not null,
      last_event_time text not null,
      answered integer not null,      -- number of predictions at first
      rows integer not null,          -- number of predictions without the erased ones
      columns {bytes} not null        -- see store/columns.py
    )
    """,
    "create index prediction_batches_by_event_time on prediction_batches (last_event_time)",
    """
    create table prediction_ids (     -- of predictions from before the log had batches
      prediction_id text primary key,
      batch_id text not null
    ) {without_rowid}
    """,
    "alter table outcomes add column batch_id text",
    "create index outcomes_by_batch on outcomes (batch_id)",
)
_GONE = ("drop table predictions",)
_WORDS = {
    "sqlite": {"bytes": "blob", "without_rowid": "without rowid"},
    "postgresql": {"bytes": "bytea", "without_rowid": ""},
}
_FILLED = {name: [each.format(**words) for each in _MADE] for name, words in _WORDS.items()}

STATEMENTS = {name: (*made, *_GONE) for name, made in _FILLED.items()}


def upgrade() -> None:
    """Make the tables, move every row, and drop the table of rows."""
    from alembic import op

    connection = op.get_bind()
    local = connection.dialect.name == "sqlite"
    if local:
        connection.exec_driver_sql("pragma secure_delete = on")  # what is erased later must not remain in free pages
    run(_FILLED)
    mark = "?" if local else "%s"
    into_batches = f"insert into prediction_batches values ({', '.join([mark] * 9)})"
    into_ids = f"insert into prediction_ids values ({mark}, {mark})"
    for batch, ids in _batches(connection):
        connection.exec_driver_sql(into_batches, batch)
        connection.exec_driver_sql(into_ids, [(each, batch[0]) for each in ids])
    connection.exec_driver_sql(
        "update outcomes set batch_id = coalesce((select i.batch_id from prediction_ids i"
        " where i.prediction_id = outcomes.prediction_id), substr(prediction_id, 1, 24))"
    )
    run(dict.fromkeys(STATEMENTS, _GONE))


def _batches(connection: Any) -> Iterator[tuple[tuple[Any, ...], list[str]]]:
    """Yield the rows of each batch to insert, and the ids of its predictions."""
    number, done, held = 0, 0, 0
    total = connection.exec_driver_sql("select count(*) from predictions").scalar()
    open_batches: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for row in _rows(connection):
        _, _, role, _, _, version, score, _, record, by_class = row
        fields, scores = json.loads(record), json.loads(by_class) if by_class else None
        kind = (role, version, score is None, tuple(fields), tuple(scores or ()))
        open_batches.setdefault(kind, []).append((*row[:8], fields, scores))
        held += 1
        if len(open_batches[kind]) == ROWS or held == HELD:
            kind = max(open_batches, key=lambda each: len(open_batches[each]))
            rows = open_batches.pop(kind)
            number, done, held = number + 1, done + len(rows), held - len(rows)
            yield _batch(number, rows)
            tell("predictions moved", done, total)
    for rows in open_batches.values():
        number, done = number + 1, done + len(rows)
        yield _batch(number, rows)
        tell("predictions moved", done, total)


def _rows(connection: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of the log by event time, a few at a time."""
    query = (
        "select prediction_id, answered_at, role, entity_key, event_time, model_version, score, decision, record,"
        " class_scores from predictions order by event_time"
    )
    driver = connection.connection.driver_connection
    cursor = driver.cursor() if connection.dialect.name == "sqlite" else driver.cursor(name="rows_to_move")
    cursor.execute(query)
    while rows := cursor.fetchmany(1000):
        yield from rows
    cursor.close()


def _batch(number: int, rows: list[tuple[Any, ...]]) -> tuple[tuple[Any, ...], list[str]]:
    from groundwork.store.columns import pack  # imported here, so that commands that only read the store start faster

    ids, answered, roles, keys, times, versions, scores, decisions, records, by_class = map(
        list, zip(*rows, strict=True)
    )
    columns: dict[str, Any] = {"id": ids, "answered_at": answered, "key": keys, "event_time": times}
    columns |= {"decision": decisions, "record": {name: [each[name] for each in records] for name in records[0]}}
    if by_class[0] is not None:
        columns["class"] = {name: [each[name] for each in by_class] for name in by_class[0]}
    if scores[0] is not None:
        columns["score"] = scores
    for name, same in (("key", keys), ("event_time", times)):
        columns[name] = next((each for each, values in columns["record"].items() if values == same), same)
    head = (f"listed-{number:012}", min(answered), roles[0], versions[0], min(times), max(times), len(ids), len(ids))
    return (*head, pack(columns)), ids
