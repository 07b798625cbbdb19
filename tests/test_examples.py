"""The second example, which predicts a quantity: the demo with documents and a use case of its own."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support import ROOT, Project, variants

pytestmark = pytest.mark.soak

EXAMPLE = ROOT / "examples/predicted-delay"


@pytest.fixture(scope="module")
def example(render: Callable[..., Path], pilot: Path) -> Project:
    folder = render("predicted-delay", **variants()["predicted-delay"])
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True)
    return Project(folder, pilot / ".venv")


def test_its_files_replace_those_of_a_project() -> None:
    """Nothing that stands nowhere in a project, and nothing that an update would take back."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    files = [path.relative_to(EXAMPLE) for path in EXAMPLE.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(files) == 8
    for file in files:
        assert any((ROOT / "template" / name).exists() for name in (file, f"{file}.jinja"))
        assert any(file.is_relative_to(yours) for yours in settings["_skip_if_exists"])


def test_it_runs_the_whole_loop_on_minutes(example: Project) -> None:
    said = example.run("groundwork.cli.main", "up", "--once")
    assert "version 1 is now the champion" in said
    assert "served as ONNX: proven equal to the pipeline" in said
    assert "per 1,000 decisions, rmse 4" in said
    assert ", 0 quarantined" in said
    assert "monitor  drift: " in said or "monitor  ok: " in said
    example.run("groundwork.cli.main", "dictionary")
    example.run("groundwork.cli.main", "owners")
    assert "\u2717" not in example.run("groundwork.cli.main", "check")
    said = example.run("pytest", "-q")  # on the source that `up` has filled: its own tests and the proof
    assert " passed" in said
    assert "skipped" not in said


def test_its_code_is_in_order_where_it_stands(example: Project) -> None:
    example.run("ruff", "check", "src/use_case", "tests/use_case")
    example.run("ruff", "format", "--check", "src/use_case", "tests/use_case")


def test_its_gate_blocks_a_model_that_errs_by_more_minutes(example: Project) -> None:
    charter = example.folder / "charter.yaml"
    text = charter.read_text(encoding="utf-8")
    assert "  maximum: 50 " in text
    charter.write_text(text.replace("  maximum: 50 ", "  maximum: 20 "), encoding="utf-8")
    with pytest.raises(AssertionError, match=r"rmse: required at most 20, found 4\d\."):
        example.run("groundwork.cli.main", "train")
    assert "champion  version 1" in example.run("groundwork.cli.main", "status")
