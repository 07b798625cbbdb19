"""The verbs that keep the pilot running: `migrate`, what refuses to run before it, and `serve`."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from commands import groundwork
from groundwork.documents.pilot import Pilot
from groundwork.store import schema
from stores import ROWS, file_of, load_old_store, rows


def run(*module_and_arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *module_and_arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture
def old_store(new_pilot: Pilot) -> Path:
    """The pilot's store, as older code wrote it."""
    load_old_store(new_pilot.settings.store)
    return file_of(new_pilot.settings.store)


def test_migrate_says_what_it_did_and_where_the_copy_is(new_pilot: Pilot, old_store: Path) -> None:
    done = run("groundwork.cli.main", "migrate")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"migrated the store from no schema version to schema version {schema.VERSION}" in done.stdout
    copy = old_store.with_name(f"groundwork.db.before-{schema.VERSION}")
    assert f"copy of the store before the migration: {copy}\n" in done.stdout
    assert rows(new_pilot.settings.store) == rows(f"sqlite:///{copy}") == ROWS
    again = run("groundwork.cli.main", "migrate", "--json")
    assert json.loads(again.stdout) == {"dry_run": False, "steps": {}}


def test_migrate_makes_a_store_that_is_not_there(new_pilot: Pilot) -> None:
    done = run("groundwork.cli.main", "migrate", "--json")
    made = f"created a new store with schema version {schema.VERSION}"
    assert json.loads(done.stdout) == {"dry_run": False, "steps": {"store": [made]}}
    assert file_of(new_pilot.settings.store).is_file()


@pytest.mark.parametrize(
    "command", [*(f"groundwork.cli.main {verb}" for verb in ("ingest", "status", "worker")), "groundwork.service"]
)
def test_what_needs_the_store_refuses_an_older_one_in_one_line(old_store: Path, command: str) -> None:
    done = run(*command.split())
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.endswith("run `groundwork migrate`")
    assert "was written before stores had a schema version" in line
    assert rows(f"sqlite:///{old_store}") == ROWS


def test_a_port_in_use_is_said_to_be_in_use(new_pilot: Pilot) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        done = groundwork("serve", GROUNDWORK_PORT=port)
    assert done.returncode == 1
    assert f"port {port} on 127.0.0.1 is in use: stop the process that uses it, or set GROUNDWORK_PORT" in done.stderr
