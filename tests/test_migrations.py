"""A release may move a file that teams edit: its migration brings every edit along, if the update is trusted to run it.

No release so far moves anything, so these are releases that the tests make up.
"""

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml
from copier.errors import UnsafeTemplateError
from scan_moves import entry

from support import ROOT, commit, copy, execute, release

STEPS = ROOT / "hooks/migrations/steps.py"
MIGRATION = '''"""Made up by a test."""

from steps import migrate

MOVES = {moves!r}
ANSWERS = {answers!r}

migrate(MOVES, ANSWERS)
'''


def with_migration(
    source: Path, version: str, moves: dict[str, str | None], answers: dict[str, dict[str, str]] | None = None
) -> None:
    """Give a template the migration of a version, as docs/how-to/maintain-a-fleet.md says."""
    script = source / "hooks/migrations" / f"v{version.replace('.', '_')}.py"
    script.write_text(MIGRATION.format(moves=moves, answers=answers or {}))
    settings = (source / "copier.yml").read_text(encoding="utf-8")
    listed = [*yaml.safe_load(settings)["_migrations"], entry(script)]
    text, found = re.subn("^_migrations: .*$", f"_migrations: {json.dumps(listed)}", settings, flags=re.MULTILINE)
    assert found == 1
    (source / "copier.yml").write_text(text, encoding="utf-8")


def moved(source: Path, old: str, new: str) -> Path:
    """Move a file of a template."""
    (source / "template" / new).parent.mkdir(parents=True, exist_ok=True)
    execute(source / "template", "git", "mv", old, new)
    return source / "template" / new


def update(project: Path, **settings: Any) -> None:
    """`copier update --defaults --trust`, since the release has a migration."""
    copier.run_update(project, defaults=True, overwrite=True, quiet=True, unsafe=True, **settings)


def test_the_page_shows_migrations_as_they_are_here() -> None:
    page = (ROOT / "docs/how-to/maintain-a-fleet.md").read_text(encoding="utf-8")
    [listed] = re.findall(r"^```yaml\n(_migrations:.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert yaml.safe_load(listed) == {"_migrations": [entry(Path("v0_3_0.py"))]}
    shown = re.findall(r"^```python\n# hooks/migrations/v\d_\d_\d.py\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert len(shown) == 2
    for script in shown:
        names = {node.id for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Name)}
        assert names <= {"MOVES", "ANSWERS", "migrate"}
        assert script.strip().splitlines()[2] == MIGRATION.splitlines()[2]


# ------------------------------------------------- a file of Groundwork's own ----

WAS, ABOVE = "uv run pytest        ", "uv run pytest -q     "
BELOW = "\nThe team's own page.\n"


@pytest.fixture(scope="module")
def after(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pilot after a release that moved three of its files and changed them: one edited here, one not, one deleted."""
    folder = tmp_path_factory.mktemp("moved")
    source, project = folder / "groundwork", folder / "pilot"
    execute(folder, "git", "clone", "--quiet", str(template), str(source))
    copy(source, project)
    readme = project / "README.md"
    text = readme.read_text(encoding="utf-8")
    assert WAS in text
    readme.write_text(text.replace(WAS, ABOVE) + BELOW, encoding="utf-8")
    (project / ".env.example").unlink()
    commit(project)
    moves: dict[str, str | None] = {
        "README.md": "docs/start.md",
        "docs/runbook.md": "docs/how-to/runbook.md",
        ".env.example": "ops/compose/.env.example",
    }
    for old, new in moves.items():
        suffix = ".jinja" if old == "README.md" else ""
        path = moved(source, old + suffix, f"{new}{suffix}")
        path.write_text("A line of the next release.\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    with_migration(source, "1001.0.0", moves)
    release(source, "v1001.0.0")
    with pytest.raises(UnsafeTemplateError):
        copier.run_update(project, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert execute(project, "git", "status", "--porcelain") == ""
    update(project)
    return project


@pytest.mark.slow
def test_every_edit_of_a_file_moves_with_it(after: Path) -> None:
    """Edits above the line, which a team may not make, and below it; the template's own change arrives too."""
    before = execute(after, "git", "show", "HEAD:README.md")
    assert ABOVE in before
    assert before.endswith(BELOW)
    assert (after / "docs/start.md").read_text(encoding="utf-8") == "A line of the next release.\n" + before
    assert not (after / "README.md").exists()


@pytest.mark.slow
def test_a_file_without_edits_is_the_templates_at_its_new_place(after: Path) -> None:
    before = execute(after, "git", "show", "HEAD:docs/runbook.md")
    assert (after / "docs/how-to/runbook.md").read_text(encoding="utf-8") == "A line of the next release.\n" + before
    assert not (after / "docs/runbook.md").exists()


@pytest.mark.slow
def test_a_file_that_was_deleted_stays_deleted(after: Path) -> None:
    assert not (after / ".env.example").exists()
    assert not (after / "ops/compose/.env.example").exists()


@pytest.mark.slow
def test_a_move_without_conflict_leaves_nothing_to_merge(after: Path) -> None:
    assert execute(after, "git", "ls-files", "--unmerged") == ""
    assert execute(after, "git", "diff", "--cached", "--name-only") == ""  # as Copier leaves it


# ------------------------------------------ every other case, in a small template ----

QUESTIONS = """
_subdirectory: template
_exclude: ["{{ 'theirs' if _copier_operation == 'update' }}", "{{ 'owned' if _copier_operation == 'update' }}"]
_migrations: []
ci: {type: str, choices: [github, gitlab, none], default: github}
"""
WITH_ANSWERS = "{{ _copier_conf.answers_file }}.jinja"
LINES = "".join(f"line {number}\n" for number in range(1, 21))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small template with this repository's `hooks/`, released as 1.0.0."""
    source = tmp_path / "small"
    (source / "hooks/migrations").mkdir(parents=True)
    shutil.copy(STEPS, source / "hooks/migrations")
    (source / "template/theirs").mkdir(parents=True)
    (source / "copier.yml").write_text(QUESTIONS)
    (source / "template" / WITH_ANSWERS).write_text("{{ _copier_answers|to_nice_yaml }}")
    for name in ("twice.md", "same-lines.md", "dropped.md", "unedited.md", "taken.md", "theirs/document.md"):
        (source / "template" / name).write_text(LINES)
    (source / "template/{% if ci == 'gitlab' %}gitlab.yml{% endif %}").write_text(LINES)
    (source / "template/{% if ci == 'gitlab' %}extra.yml{% endif %}").write_text(LINES)
    (source / "template/{% if ci == 'github' %}github.yml{% endif %}").write_text(LINES)
    release(source, "v1.0.0")
    return source


def edit(path: Path, number: int, text: str = "ours") -> None:
    """Replace a numbered line of a file."""
    path.write_text(path.read_text().replace(f"line {number}\n", f"{text}\n"))


def test_edits_survive_every_way_that_a_file_can_go(small: Path, tmp_path: Path) -> None:
    """In a folder of a larger repository, over two releases at once, with the answers file elsewhere."""
    project = tmp_path / "larger/pilot"
    copier.run_copy(str(small), project, defaults=True, quiet=True, answers_file="answers/file.yml")
    for name in ("twice.md", "same-lines.md", "dropped.md", "taken.md"):
        edit(project / name, 5)
    (project / "new").mkdir()
    (project / "new/taken.md").write_text("a file of the team's\n")
    commit(tmp_path / "larger")

    moved(small, "twice.md", "once/twice.md")
    edit(moved(small, "same-lines.md", "new/same-lines.md"), 5, "theirs")
    edit(moved(small, "taken.md", "new/taken.md"), 15, "theirs")
    (small / "template/dropped.md").unlink()
    (small / "template/unedited.md").unlink()
    with_migration(
        small,
        "2.0.0",
        {
            "twice.md": "once/twice.md",
            "same-lines.md": "new/same-lines.md",
            "taken.md": "new/taken.md",
            "dropped.md": None,
            "unedited.md": None,
        },
    )
    release(small, "v2.0.0")
    edit(moved(small, "once/twice.md", "there/twice.md"), 15, "theirs")
    moved(small, "theirs/document.md", "owned/document.md")
    with_migration(small, "3.0.0", {"once/twice.md": "there/twice.md", "theirs/document.md": "owned/document.md"})
    release(small, "v3.0.0")
    update(project, answers_file="answers/file.yml")

    ours = LINES.replace("line 5\n", "ours\n")
    assert (project / "there/twice.md").read_text() == ours.replace("line 15\n", "theirs\n")
    assert (project / "dropped.md").read_text() == ours  # a file of the team's from now on
    assert (project / "taken.md").read_text() == ours  # to be merged by hand: the new place was taken
    assert (project / "owned/document.md").read_text() == LINES  # no update writes it, so the migration moved it
    for name in ("twice.md", "once", "same-lines.md", "unedited.md", "theirs/document.md"):
        assert not (project / name).exists()
    conflict = (project / "new/same-lines.md").read_text()
    assert "<<<<<<< before updating\nours\n" in conflict
    assert "theirs\n>>>>>>> after updating\n" in conflict
    assert set(execute(project, "git", "diff", "--name-only", "--relative", "--diff-filter=U").split()) == {
        "new/same-lines.md",
        "new/taken.md",
    }


def test_a_variant_that_is_taken_away_leaves_its_edited_files_and_another_answer(small: Path, tmp_path: Path) -> None:
    """Copier alone would answer with the default, and write the files of GitHub."""
    project = tmp_path / "pilot"
    copy(small, project, ci="gitlab")
    edit(project / "gitlab.yml", 5)
    commit(project)
    for name in ("gitlab.yml", "extra.yml"):
        (small / f"template/{{% if ci == 'gitlab' %}}{name}{{% endif %}}").unlink()
    (small / "copier.yml").write_text(QUESTIONS.replace("gitlab, ", ""))
    with_migration(small, "2.0.0", {"gitlab.yml": None, "extra.yml": None}, {"ci": {"gitlab": "none"}})
    release(small, "v2.0.0")
    update(project)
    assert (project / "gitlab.yml").read_text() == LINES.replace("line 5\n", "ours\n")
    assert not (project / "extra.yml").exists()
    assert not (project / "github.yml").exists()
    assert "ci: none\n" in (project / ".copier-answers.yml").read_text()


def test_only_an_update_that_passes_the_release_of_a_migration_needs_trust(small: Path, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    copy(small, old)
    moved(small, "twice.md", "once/twice.md")
    with_migration(small, "2.0.0", {"twice.md": "once/twice.md"})
    release(small, "v2.0.0")
    copy(small, new)  # nor does a copy
    (small / "template/unedited.md").write_text("new\n")
    release(small, "v2.1.0")
    for project in (old, new):
        commit(project)
    copier.run_update(new, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert (new / "unedited.md").read_text() == "new\n"
    with pytest.raises(UnsafeTemplateError, match="migrations"):
        copier.run_update(old, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert (old / "twice.md").exists()
