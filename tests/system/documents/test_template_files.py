"""What is the template's in a pilot, compared with what the template wrote."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from groundwork.documents.template_files import Compared, compare
from groundwork.documents.upstream import Upstream
from templates import ANSWERS, FIRST, LINE, commit, git, make_pilot, write

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture(scope="module")
def copied(small_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pilot(small_template, tmp_path_factory.mktemp("copied") / "pilot")


@pytest.fixture
def project(copied: Path, tmp_path: Path) -> Path:
    shutil.copytree(copied, tmp_path / "pilot")
    return tmp_path / "pilot"


def compared(project: Path) -> Compared:
    with Upstream.of(project).fetched() as template:
        template.render(FIRST, project.parent / "written")
        return compare(project, template, FIRST, project.parent / "written")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_a_new_pilot_is_exactly_the_templates(project: Path) -> None:
    assert compared(project).exact
    assert compared(project).undelivered == ()


def test_what_is_yours_may_be_anything(project: Path) -> None:
    write(project, "charter.yaml", "name: other\n")
    write(project, "src/use_case/more/model.py", "more = 1\n")
    write(project, "src/elsewhere/own.py", "own = 1\n")
    (project / "src/use_case/model.py").unlink()
    for shared in ("README.md", ".gitignore"):
        append(project / shared, "ours\n")
    found = compared(project)
    assert found.exact
    assert found.undelivered == ()  # the model was here, and the team deleted it


def test_an_edit_is_told_with_its_diff(project: Path) -> None:
    append(project / "ruff.toml", "preview = true\n")
    [edit] = compared(project).edited
    assert (edit.path, edit.shared) == ("ruff.toml", False)
    assert edit.diff == "--- a/ruff.toml\n+++ b/ruff.toml\n@@ -1 +1,2 @@\n line-length = 120\n+preview = true\n"


def above(text: str) -> str:
    return text.replace(LINE, f"ours\n{LINE}")


def moved(text: str) -> str:
    return LINE + text.replace(LINE, "")


def removed(text: str) -> str:
    return text.replace(LINE, "")


def doubled(text: str) -> str:
    return f"{LINE}ours\n{text}"


@pytest.mark.parametrize("change", [above, moved, removed, doubled])
def test_a_shared_file_is_edited_above_its_line_or_not(change: Callable[[str], str], project: Path) -> None:
    """Its line itself is the template's."""
    for name in ("README.md", ".gitignore"):
        append(project / name, "below\n")
        write(project, name, change((project / name).read_text()))
    assert {(edit.path, edit.shared) for edit in compared(project).edited} == {
        ("README.md", True),
        (".gitignore", True),
    }


def test_a_marked_line_hides_nothing_in_a_file_of_the_templates(project: Path) -> None:
    append(project / "src/groundwork/loop.py", f"{LINE}import os\n")
    [edit] = compared(project).edited
    assert "+import os\n" in edit.diff


EDITS: dict[str, Callable[[str], str]] = {
    "first line": lambda text: f"first\n{text}",
    "last line above": above,
    "no marked line": removed,
    "no end of line": lambda text: text.rstrip("\n"),
    "other separators": lambda text: text.replace("Run", "\x0cRu\u2028n\r"),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("folder", ["", "pilots/late/"])
def test_the_diff_takes_the_edit_back_and_leaves_the_teams_part(
    edit: str, folder: str, small_template: Path, tmp_path: Path
) -> None:
    project = make_pilot(small_template, tmp_path / "repository" / folder / "pilot")
    shutil.rmtree(project / ".git")
    readme = project / "README.md"
    original = readme.read_text()
    ours = "" if edit == "no end of line" else "## Notes\n\nours\n"
    write(project, "README.md", EDITS[edit](original) + ours)
    commit(tmp_path / "repository")
    [found] = compared(project).edited
    assert found.changes
    subprocess.run(["git", "apply", "--reverse"], cwd=project, input=found.diff.encode(), check=True)
    assert readme.read_text() == original + ours


def test_files_that_are_missing_and_files_that_are_left_over_are_told(project: Path) -> None:
    (project / "ruff.toml").unlink()
    (project / ".gitignore").unlink()
    (project / "mypy.ini").unlink()
    (project / "mypy.ini").symlink_to("/etc/hostname")
    write(project, "src/groundwork/old.py", "import os\n")
    write(project, "src/groundwork/__pycache__/old.pyc", "")
    write(project, "src/groundwork/ignored.py", "")
    write(project, ".git/info/exclude", "ignored.py\n__pycache__\n")
    found = compared(project)
    assert found.missing == (".gitignore", "mypy.ini", "ruff.toml")
    assert found.added == ("src/groundwork/old.py",)
    assert not found.exact


def test_a_file_of_yours_that_was_never_here_is_told(project: Path) -> None:
    """A later release added it, and an update keeps away from what is the team's."""
    git(project, "rm", "-q", "docs/data-dictionary.md", "src/use_case/model.py")
    git(project, "commit", "-q", "--amend", "-m", "A pilot of an earlier release")
    assert compared(project).undelivered == ("docs/data-dictionary.md", "src/use_case/model.py")
    write(project, "src/use_case/model.py", "ours = 1\n")
    commit(project)
    git(project, "rm", "-q", "src/use_case/model.py")
    git(project, "commit", "-q", "-m", "The model went elsewhere")
    assert compared(project).undelivered == ("docs/data-dictionary.md",)


def test_where_the_history_is_incomplete_a_file_of_yours_may_have_been_deleted(project: Path, tmp_path: Path) -> None:
    git(project, "rm", "-q", "docs/data-dictionary.md")
    git(project, "commit", "-q", "-m", "No dictionary")
    git(tmp_path, "clone", "-q", "--depth", "1", project.as_uri(), "shallow")
    assert compared(tmp_path / "shallow").undelivered == ()


def test_the_digest_can_be_made_with_sha256sum(project: Path) -> None:
    """As docs/how-to/maintain-a-fleet.md says: what sha256sum prints of each file, sorted by path."""
    append(project / "README.md", "ours\n")
    found = compared(project)
    listed = sorted(found.digests)
    assert listed == [
        ".copier-answers.yml",
        ".gitignore",
        "README.md",
        "mypy.ini",
        "ruff.toml",
        "src/groundwork/loop.py",
    ]
    script = (
        "for file; do sed '/Above: the template.s.*Below: yours[.]/q' $file | sha256sum | sed \"s|-$|$file|\"; done"
    )
    printed = subprocess.run(["bash", "-c", script, "-", *listed], cwd=project, capture_output=True, check=True).stdout
    assert hashlib.sha256(printed).hexdigest() == found.digest


@pytest.mark.parametrize("change", ["edit", "delete", "add", "answer"])
def test_any_other_state_has_another_digest(change: str, project: Path) -> None:
    before = compared(project).digest
    if change == "edit":
        append(project / "ruff.toml", "\n")
    elif change == "delete":
        (project / "ruff.toml").unlink()
    elif change == "add":
        write(project, "src/groundwork/new.py", "")
    else:
        append(project / ANSWERS, "more: 1\n")
    shutil.rmtree(project.parent / "written")
    assert compared(project).digest != before
