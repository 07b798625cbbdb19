"""Data sets that are not the example's, each brought to a new pilot by the team's own files: see tests/data_sets."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
import yaml

from support import ROOT, Project

pytestmark = pytest.mark.soak

FOLDER = ROOT / "tests/data_sets"


class DataSet(NamedTuple):
    """A folder in tests/data_sets, and what is to be seen of it."""

    name: str
    table: str  # SQL that fills the operational system from a file in the folder
    metric: str  # of the gate, as `up` prints it
    prediction: str  # of the service, as `up` prints it
    days: tuple[str, str] | None = None  # with few rows in a window: those to score before drift is known


DATA_SETS = [
    DataSet(
        name="movies",
        table="create table movies as select row_number() over () as movie_no, * from read_json('movies.json.gz')",
        metric=r"accuracy 0\.\d{2,4}\b",
        prediction=r"2238: (R|PG-13|PG|G), R \d+%",
    ),
    DataSet(
        name="housing",
        table="create table months as from read_csv('txhousing.csv.gz', nullstr = 'NA')",
        metric=r"mae [45],\d{3}\b",
        prediction=r"Abilene-2015-07: (sell|wait), score 1\d\d,\d{3}\b",
    ),
    DataSet(
        name="birdstrikes",
        table="create table strikes as select row_number() over () as report, * from read_csv('birdstrikes.csv.gz') "
        "where \"Flight Date\" >= date '1996-01-01'",
        metric=r"roc_auc 0\.8\d+\b",
        prediction=r"\d+: (inspect|fly), score 0\.\d+",
        days=("2001-08-27", "2002-07-29"),
    ),
]


class Brought(NamedTuple):
    """A pilot with a data set's files, before its first run."""

    project: Project
    expected: DataSet


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(each, id=each.name, marks=[] if each.name == "birdstrikes" else pytest.mark.night)
        for each in DATA_SETS  # birdstrikes is the hardest: rare, of uneven windows, with text
    ],
)
def brought(request: pytest.FixtureRequest, render: Callable[..., Path], pilot: Path) -> Brought:
    """A new pilot whose team took the example out as the guide says; it runs in the environment of the example's."""
    expected: DataSet = request.param
    files = FOLDER / expected.name
    folder = render(expected.name, **yaml.safe_load((files / "answers.yml").read_text(encoding="utf-8")))
    (folder / "src/use_case/seed.py").unlink()
    shutil.rmtree(folder / "tests/use_case")
    shutil.copytree(files / "pilot", folder, dirs_exist_ok=True)
    (folder / "data").mkdir()
    with duckdb.connect(str(folder / "data/operational.duckdb")) as connection:
        connection.execute(f"set file_search_path = '{files}'")
        connection.execute(expected.table)
    project = Project(folder, pilot / ".venv")
    project.run("groundwork.cli.main", "dictionary")
    project.run("groundwork.cli.main", "owners")
    return Brought(project, expected)


def test_its_documents_have_no_mistake(brought: Brought) -> None:
    assert "\u2717" not in brought.project.run("groundwork.cli.main", "check")


def test_it_runs_the_whole_loop(brought: Brought) -> None:
    """To a champion that is served as what was trained, a prediction of it, and a drift report."""
    if brought.expected.days is None:
        said = brought.project.run("groundwork.cli.main", "up", "--once")
    else:
        with pytest.raises(AssertionError, match="ended with 2") as unknown:  # drift, on the rows of one window
            brought.project.run("groundwork.cli.main", "up", "--once")
        said = str(unknown.value)
        assert re.search(
            r"the newest window, .* gate\.minRows is 1,000: the newest 4\d with known outcomes are judged", said
        )
        assert re.search(r"\bmonitor +drift in .* is unknown: the logged predictions: \d+ rows", said)
    assert "version 1 is now the champion" in said
    assert "served as ONNX: proven equal to the pipeline" in said
    assert ", 0 decisions differ," in said
    assert re.search(rf"version 1 .* USD per 1,000 decisions, {brought.expected.metric}", said)
    assert re.search(rf"\bpredict +{brought.expected.prediction}, by version 1, logged as ", said)
    if brought.expected.days:
        since, until = brought.expected.days
        brought.project.run("groundwork.cli.main", "score", "--since", since, "--until", until)
        said = brought.project.run("groundwork.cli.main", "monitor")
    assert re.search(r"\bmonitor +(drift|ok): \d", said)
    assert re.search(r"report: .*/data/reports/drift-.*\.html", said)


def test_its_own_tests_pass_with_none_skipped(brought: Brought) -> None:
    """Those of the team and the short proof, on the source that `up` has read."""
    said = brought.project.run("pytest", "-q", "-p", "no:cacheprovider")
    assert " passed" in said
    assert "skipped" not in said


def test_its_code_is_in_order_where_it_stands(brought: Brought) -> None:
    brought.project.run("ruff", "check", "src/use_case", "tests/use_case")
    brought.project.run("ruff", "format", "--check", "src/use_case", "tests/use_case")


@pytest.mark.parametrize("name", [each.name for each in DATA_SETS])
def test_its_files_are_the_teams_own(name: str) -> None:
    """Nothing that an update of the template would take back."""
    yours = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))["_skip_if_exists"]
    pilot = FOLDER / name / "pilot"
    files = [path.relative_to(pilot) for path in pilot.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(files) >= 6
    assert [str(file) for file in files if not any(file.is_relative_to(path) for path in yours)] == []
