"""Nobody has to trust the template: copying and updating run nothing, unless a release has a migration."""

from pathlib import Path

import pytest
import yaml
from copier.errors import UnsafeTemplateError

from support import PYTHON, ROOT, commit, copy, execute, release, update


def test_the_template_asks_to_run_nothing() -> None:
    asked = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    assert {"_tasks", "_jinja_extensions", "_external_data"} & asked.keys() == set()
    assert all("version" in migration for migration in asked["_migrations"])  # another would be run in every update


def test_copy_and_update_need_no_trust(template: Path, tmp_path: Path) -> None:
    """The helpers copy and update without trust, and Copier refuses where trust is needed."""
    source, project = tmp_path / "template", tmp_path / "pilot"
    execute(tmp_path, "git", "clone", "--quiet", str(template), str(source))
    copy(source, project)
    commit(project)
    (source / "template/ruff.toml").write_text("line-length = 99\n")
    release(source, "v1001.0.0")
    update(project)
    assert (project / "ruff.toml").read_text() == "line-length = 99\n"


def test_a_template_with_a_task_would_be_refused(template: Path, tmp_path: Path) -> None:
    """So the test above can fail."""
    source = tmp_path / "template"
    execute(tmp_path, "git", "clone", "--quiet", str(template), str(source))
    with (source / "copier.yml").open("a") as settings:
        settings.write('\n_tasks: ["true"]\n')
    release(source, "v1001.0.0")
    with pytest.raises(UnsafeTemplateError):
        copy(source, tmp_path / "pilot")


def test_the_command_line_says_what_to_type_next(template: Path, tmp_path: Path) -> None:
    printed = execute(tmp_path, PYTHON, "-m", "copier", "copy", "--defaults", str(template), "it's mine")
    for line in (r"""cd 'it'"'"'s mine'""", "git init", "uv sync", "uv run groundwork up"):
        assert f"\n  {line}" in printed
