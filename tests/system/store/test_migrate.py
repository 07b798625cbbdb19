"""A store that older code wrote comes to this code's schema with every row, whatever interrupts it on the way."""

import json
import random
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from groundwork.store import schema
from groundwork.store.connection import Connection
from groundwork.store.database import Store
from groundwork.store.migrate import Migration, migrate
from groundwork.store.migrations.versions import version_1, version_2
from stores import ROWS, change, file_of, known, load_old_store, outline, query, rows, version

COPY = f"store.db.before-{schema.VERSION}"


def test_every_row_is_intact_after_the_migration(old_url: str) -> None:
    assert rows(old_url) == ROWS
    done = migrate(old_url)
    assert (done.before, done.after) == (0, schema.VERSION)
    assert rows(old_url) == ROWS
    assert version(old_url) == schema.VERSION


def test_a_log_of_many_kinds_of_rows_keeps_each(store_url: str) -> None:
    """Values of every type, columns that came and went, versions and roles; more than one batch of each holds."""
    chance = random.Random(0)
    values: list[Any] = [None, True, 0, -(2**63), 2**63 - 1, 2.0, 1e300, -0.0, 0.1, 1.3770079800638095e18, ""]
    values += ["Zürich", "two\nlines"]
    rows_before: list[tuple[Any, ...]] = []
    for number in range(3 * version_2.ROWS):
        at = f"2013-03-{1 + number % 28:02}T0{number % 10}:00:00" + ("+01:00" if number % 3 else "")
        record: dict[str, Any] = {"at": at, "distance": number / 3, "count": number}
        role, model, score, scores = "champion", "1", number / 7, None
        if number % 6 == 0:
            record |= {f"c{(number + each) % 7}": chance.choice(values) for each in range(number % 4)}
            role, model = chance.choice(("canary", "shadow", "batch", "no-model")), str(number % 5)
            score, scores = chance.choice(((None, None), (0.5, None), (None, json.dumps({"a": 0.1, "b": number}))))
        text = json.dumps(record, ensure_ascii=False)
        answered_at = f"2026-11-{1 + number % 28}"
        row = (f"{number:032x}", answered_at, role, f"key-{number}", at, model, score, "keep", text, scores)
        rows_before.append(row)
    with closing(Connection(store_url)) as connection, connection.transaction() as transaction:
        schema.make_version_table(transaction)
        for statement in version_1.STATEMENTS["sqlite" if transaction.local else "postgresql"]:
            transaction.execute(statement)
        transaction.execute("insert into groundwork_schema values ('1')")
        transaction.execute_many(f"insert into predictions values ({', '.join('?' * 10)})", rows_before)
        told = [(row[0], 1.0, "2026") for row in rows_before[::3]]
        transaction.execute_many("insert into outcomes (prediction_id, outcome, received_at) values (?, ?, ?)", told)
    assert migrate(store_url).before == 1
    with Store(store_url) as store:
        found = {each.prediction_id: each for each in store.predictions.between(datetime.min, datetime.max)}
        assert len(found) == len(rows_before)
        for row in rows_before:
            kept = found[row[0]]
            assert kept[:8] == row[:8]
            for text, before in zip(kept[8:], row[8:], strict=True):
                assert (text and repr(json.loads(text))) == (before and repr(json.loads(before)))
        assert known(store) == {identifier: 1.0 for identifier, *_ in told}
        assert store.predictions.find(rows_before[777][0]) == found[rows_before[777][0]]


def test_the_copy_is_the_store_as_it_was(old_url: str, tmp_path: Path) -> None:
    local = old_url.startswith("sqlite")
    if local:
        file_of(old_url).chmod(0o640)
    before = outline(old_url)
    done = migrate(old_url)
    assert done.copy == (tmp_path / COPY if local else None)
    if done.copy is not None:
        url = f"sqlite:///{done.copy}"
        assert (rows(url), outline(url), version(url)) == (ROWS, before, 0)
        assert query(url, "pragma integrity_check") == [("ok",)]
        assert done.copy.stat().st_mode & 0o777 == 0o640
        assert migrate(url).before == 0  # it can take the store's place
    assert migrate(old_url) == Migration(schema.VERSION, schema.VERSION, None)
    assert len(list(tmp_path.glob("*before*"))) == (2 if local else 0)


@pytest.fixture
def old_sqlite_url(tmp_path: Path) -> str:
    """For what happens on SQLite alone, of which a copy is taken."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    load_old_store(url)
    return url


def test_rows_that_are_in_the_write_ahead_log_alone_are_copied_too(old_sqlite_url: str) -> None:
    with closing(sqlite3.connect(file_of(old_sqlite_url))) as writer:
        writer.execute("insert into schedules (flow, since) values ('late', '2026-11-23T08:00:00.000+00:00')")
        writer.commit()
        done = migrate(old_sqlite_url)
        for url in (old_sqlite_url, f"sqlite:///{done.copy}"):
            assert query(url, "select count(*) from schedules where flow = 'late'") == [(1,)]


# Stops where it is told, and says so; the test kills it there.
STOPPING = """
import sys, time
from groundwork.store import migrate, schema
from groundwork.store.migrations import versions
from groundwork.store.copies import copy_before

url, where = sys.argv[1:]

def stop():
    print("stopped", flush=True)
    time.sleep(600)

def run(statements):
    from alembic import op
    connection = op.get_bind()
    for number, statement in enumerate(statements[connection.dialect.name]):
        if where == str(number):
            stop()
        connection.exec_driver_sql(statement)

def copied(*arguments):
    copy = copy_before(*arguments)
    stop()
    return copy

def migrated(connection):
    run_alembic(connection)
    stop()

versions.run, run_alembic = run, migrate._run_alembic
if where == "copied":
    migrate.copy_before = copied
if where == "before the end":
    migrate._run_alembic = migrated
migrate.migrate(url)
print("not stopped", flush=True)
"""


def kill(url: str, where: str) -> None:
    """Migrate in a process of its own, and kill it where it says."""
    command = [sys.executable, "-c", STOPPING, url, where]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "stopped\n"
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize("where", ["0", "5", "11", "before the end"])
def test_a_migration_that_was_killed_runs_again_to_the_same_result(old_url: str, where: str) -> None:
    change(old_url, "drop table schedules")  # as older code left it, so that a statement has something to do
    kept = ROWS | {"schedules": []}
    before = outline(old_url)
    kill(old_url, where)
    if not old_url.startswith("sqlite"):  # until the server has noticed that the killed process is gone
        query(old_url, "select pg_advisory_xact_lock(hashtext('groundwork'))::text")
    assert (outline(old_url), version(old_url)) == (before, 0)
    assert migrate(old_url).before == 0
    assert rows(old_url) == kept


def test_a_migration_that_was_killed_at_its_copy_takes_another(old_sqlite_url: str, tmp_path: Path) -> None:
    before = outline(old_sqlite_url)
    (tmp_path / f"{COPY}.part").write_bytes(b"half a copy" * 1000)
    kill(old_sqlite_url, "copied")
    (tmp_path / COPY).write_bytes(b"of another time")
    assert (outline(old_sqlite_url), version(old_sqlite_url)) == (before, 0)
    done = migrate(old_sqlite_url)
    assert (outline(f"sqlite:///{done.copy}"), rows(f"sqlite:///{done.copy}")) == (before, ROWS)
    assert not list(tmp_path.glob("*.part*"))


def test_of_two_migrations_at_once_one_does_it_and_the_other_waits(old_url: str) -> None:
    code = "import sys; from groundwork.store.migrate import migrate; print(migrate(sys.argv[1]).before)"
    together = [
        subprocess.Popen([sys.executable, "-c", code, old_url], stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = sorted(child.communicate(timeout=120)[0] for child in together)
    assert [child.returncode for child in together] == [0, 0]
    assert said == ["0\n", f"{schema.VERSION}\n"]
    assert rows(old_url) == ROWS


def test_migrations_in_two_threads_do_not_meet(old_url: str) -> None:
    done: list[int | None] = []
    threads = [threading.Thread(target=lambda: done.append(migrate(old_url).before)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, done)) == ["0", str(schema.VERSION)]
    assert rows(old_url) == ROWS


def test_a_store_that_is_not_there_is_made(store_url: str, tmp_path: Path) -> None:
    assert asdict(migrate(store_url)) == {"before": None, "after": schema.VERSION, "copy": None}
    assert not list(tmp_path.glob("*before*"))
    Store(store_url).close()


def test_an_erasure_takes_the_copies_too(old_sqlite_url: str, tmp_path: Path) -> None:
    migrate(old_sqlite_url)
    assert b"flight-19" in (tmp_path / COPY).read_bytes()
    with Store(old_sqlite_url) as store:
        assert store.predictions.erase({"flight-19"}, "flight_id", "flight-19") == (3, 0)
    assert not [file for file in tmp_path.iterdir() if b"flight-19" in file.read_bytes()]
