"""Pilots as fixtures: new, with a champion, on a source of its own; real flights; a real PostgreSQL."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.documents.pilot import Pilot
from groundwork.documents.upstream import Template
from groundwork.pipeline import by_hand
from pilots import Postgres, enter, write_pilot
from stores import load_old_store
from templates import copy, make_template

from support import missing


@pytest.fixture(scope="session")
def first_weeks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The flights of the first seven days of every month, as the operational system holds them."""
    seed = pytest.importorskip(
        "use_case.seed", reason="the example's data is gone; the template's repository tests the system with it"
    )
    import duckdb

    folder = tmp_path_factory.mktemp("flights")
    seed.release(folder / "year.duckdb", seed.LAST_MONTH)
    with duckdb.connect(str(folder / "weeks.duckdb")) as connection:
        connection.execute(f"attach '{folder / 'year.duckdb'}' as year (read_only)")
        connection.execute("create table flights as from year.flights where day <= 7")
    return folder / "weeks.duckdb"


@pytest.fixture(scope="session")
def flights(first_weeks: Path) -> Path:
    """The first weeks of January and February alone."""
    import duckdb

    database = first_weeks.parent / "operational.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(f"attach '{first_weeks}' as weeks (read_only)")
        connection.execute("create table flights as from weeks.flights where month <= 2")
    return database


@pytest.fixture
def new_pilot(tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch) -> Pilot:
    """A pilot that has documents and a source, and has not run yet."""
    write_pilot(tmp_path / "new", flights)
    return enter(tmp_path / "new", monkeypatch)


@pytest.fixture
def plain(tmp_path: Path, first_weeks: Path, monkeypatch: pytest.MonkeyPatch) -> Pilot:
    """A pilot whose source is a table `rows` of the contract's own columns, empty at first.

    Beside it is a table `all_rows`, with every seventh row of January, February and March.
    """
    import duckdb
    from groundwork.core.windows import Window
    from groundwork.data.source import connected, expression
    from use_case import source

    write_pilot(tmp_path / "plain", first_weeks)
    pilot = enter(tmp_path / "plain", monkeypatch)
    with connected(pilot) as backend:
        quarter = Window(datetime(2013, 1, 1), datetime(2013, 4, 1))
        rows = expression(backend, pilot.contract.dataset, quarter).to_pyarrow()
    rows = rows.take(list(range(0, rows.num_rows, 7)))
    database = pilot.settings.data_folder / "operational.duckdb"
    database.unlink()
    with duckdb.connect(str(database)) as engine:
        engine.register("arrow", rows)
        engine.execute("create table all_rows as from arrow")
        engine.execute("create table rows as from all_rows limit 0")
    monkeypatch.setattr(
        source,
        "rows",
        lambda backend, start, end: backend.table("rows").filter(
            lambda each: (each.scheduled_departure >= start) & (each.scheduled_departure < end)
        ),
    )
    return pilot


@pytest.fixture(scope="session")
def pilot(tmp_path_factory: pytest.TempPathFactory, flights: Path) -> Iterator[Pilot]:
    """A pilot with a champion, trained on January and judged on February. It is shared: only read it."""

    home = tmp_path_factory.mktemp("pilots") / "pilot"
    write_pilot(home, flights)
    with pytest.MonkeyPatch.context() as patch:
        pilot = enter(home, patch)
        by_hand.ingest(pilot)
        assert by_hand.train(pilot).in_service
        yield pilot


@pytest.fixture
def pilot_copy(pilot: Pilot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pilot:
    """A copy of the pilot to change."""
    shutil.copytree(pilot.settings.home, tmp_path / "copy")
    return enter(tmp_path / "copy", monkeypatch)


@pytest.fixture(scope="session", params=["multiclass", "regression"])
def trained_once(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, flights: Path) -> Any:
    """One pilot that predicts no yes or no, per kind, for all tests; they put back what they change."""
    from other_tasks import first_training

    return first_training(request.param, tmp_path_factory.mktemp("tasks") / "pilot", flights)


@pytest.fixture
def ran(trained_once: Any) -> Iterator[Any]:
    """That pilot, with the code of its use case."""
    from other_tasks import use_case_of

    with use_case_of(trained_once.variant, trained_once.pilot.settings.home) as pilot:
        yield trained_once._replace(pilot=pilot)


@pytest.fixture
def asked(ran: Any) -> Iterator[Any]:
    """A client of its service, with the champion of the cache."""
    from serving import served_here

    with served_here(ran.pilot, from_cache=True) as client:
        yield client


@pytest.fixture
def sql() -> Callable[..., list[tuple]]:
    """Run SQL statements in a pilot's operational system, as if it had changed; returns the last one's rows."""
    import duckdb

    def run(pilot: Pilot, *statements: str) -> list[tuple]:
        with duckdb.connect(str(pilot.settings.data_folder / "operational.duckdb")) as connection:
            for statement in statements:
                result = connection.execute(statement)
            return result.fetchall()

    return run


@pytest.fixture
def set_in() -> Callable[[Path, str, Any], None]:
    """Set one value, named by its dotted path, in a YAML document."""

    def change(document: Path, path: str, value: Any) -> None:
        content = yaml.safe_load(document.read_text(encoding="utf-8"))
        part = content
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps:
            part = part[step]
        part[last] = value
        document.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    return change


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        missing("PostgreSQL is not installed")
    # Not among pytest's own folders, which each run of pytest on the machine closes to all but its user.
    with tempfile.TemporaryDirectory(prefix="postgres-") as folder:
        server = Postgres(Path(folder), Path(found).parent)
        server.start()
        yield server
        server.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, on SQLite and on a real PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    return str(request.getfixturevalue("postgres").empty_database())


@pytest.fixture
def old_url(store_url: str) -> str:
    """The address of a store as the code without schema versions wrote it."""
    load_old_store(store_url)
    return store_url


@pytest.fixture(params=["duckdb", "postgresql"])
def engine(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A database that Ibis speaks to: DuckDB and PostgreSQL, unless a test asks for others."""
    import ibis

    at = {"duckdb": "duckdb://", "sqlite": "sqlite://"}
    backend = ibis.connect(at.get(request.param) or request.getfixturevalue("postgres").url)
    yield backend
    backend.disconnect()


@pytest.fixture(scope="session")
def small_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template of a few files, with two releases."""
    return make_template(tmp_path_factory.mktemp("small") / "template")


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copier writes projects in this process: a command of its own would take a second to start, each time."""

    def render(self: Template, version: str, folder: Path) -> None:
        answers = dict(self.pilot.answers)
        copy(str(self.clone), folder, self.commit_of(version), answers, answers_file=self.pilot.answers_file)
        self._record(folder / self.pilot.answers_file, version, self.pilot.source)

    monkeypatch.setattr(Template, "render", render)
