"""What is the template's in a pilot, compared with what the template wrote."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from groundwork.documents.template_files import Comparison, compare
from groundwork.documents.upstream import Upstream
from templates import ANSWERS, FIRST, LINE, commit, git, make_pilot, write

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture(scope="module")
def copied(small_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_pilot(small_template, tmp_path_factory.mktemp("copied") / "pilot")


@pytest.fixture
def pilot(copied: Path, tmp_path: Path) -> Path:
    shutil.copytree(copied, tmp_path / "pilot")
    return tmp_path / "pilot"


def compared(pilot: Path) -> Comparison:
    with Upstream.of(pilot).fetched() as template:
        template.render(FIRST, pilot.parent / "written")
        return compare(pilot, template, FIRST, pilot.parent / "written")


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_a_new_pilot_is_exactly_the_templates(pilot: Path) -> None:
    assert compared(pilot).exact
    assert compared(pilot).undelivered == ()


def test_what_is_yours_may_be_anything(pilot: Path) -> None:
    write(pilot, "charter.yaml", "name: other\n")
    write(pilot, "src/use_case/more/model.py", "more = 1\n")
    write(pilot, "src/elsewhere/own.py", "own = 1\n")
    (pilot / "src/use_case/model.py").unlink()
    for shared in ("README.md", ".gitignore"):
        append(pilot / shared, "ours\n")
    found = compared(pilot)
    assert found.exact
    assert found.undelivered == ()  # the model was here, and the team deleted it


def test_an_edit_is_told_with_its_diff(pilot: Path) -> None:
    append(pilot / "ruff.toml", "preview = true\n")
    [edit] = compared(pilot).edited
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
def test_a_shared_file_is_edited_above_its_line_or_not(change: Callable[[str], str], pilot: Path) -> None:
    """Its line itself is the template's."""
    for name in ("README.md", ".gitignore"):
        append(pilot / name, "below\n")
        write(pilot, name, change((pilot / name).read_text()))
    assert {(edit.path, edit.shared) for edit in compared(pilot).edited} == {("README.md", True), (".gitignore", True)}


def test_a_marked_line_hides_nothing_in_a_file_of_the_templates(pilot: Path) -> None:
    append(pilot / "src/groundwork/loop.py", f"{LINE}import os\n")
    [edit] = compared(pilot).edited
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
    pilot = make_pilot(small_template, tmp_path / "repository" / folder / "pilot")
    shutil.rmtree(pilot / ".git")
    readme = pilot / "README.md"
    original = readme.read_text()
    ours = "" if edit == "no end of line" else "## Notes\n\nours\n"
    write(pilot, "README.md", EDITS[edit](original) + ours)
    commit(tmp_path / "repository")
    [found] = compared(pilot).edited
    assert found.changes
    subprocess.run(["git", "apply", "--reverse"], cwd=pilot, input=found.diff.encode(), check=True)
    assert readme.read_text() == original + ours


def test_files_that_are_missing_and_files_that_are_left_over_are_told(pilot: Path) -> None:
    (pilot / "ruff.toml").unlink()
    (pilot / ".gitignore").unlink()
    (pilot / "mypy.ini").unlink()
    (pilot / "mypy.ini").symlink_to("/etc/hostname")
    write(pilot, "src/groundwork/old.py", "import os\n")
    write(pilot, "src/groundwork/__pycache__/old.pyc", "")
    write(pilot, "src/groundwork/ignored.py", "")
    write(pilot, ".git/info/exclude", "ignored.py\n__pycache__\n")
    found = compared(pilot)
    assert found.missing == (".gitignore", "mypy.ini", "ruff.toml")
    assert found.added == ("src/groundwork/old.py",)
    assert not found.exact


def test_a_file_of_yours_that_was_never_here_is_told(pilot: Path) -> None:
    """A later release added it, and an update keeps away from what is the team's."""
    git(pilot, "rm", "-q", "docs/data-dictionary.md", "src/use_case/model.py")
    git(pilot, "commit", "-q", "--amend", "-m", "A pilot of an earlier release")
    assert compared(pilot).undelivered == ("docs/data-dictionary.md", "src/use_case/model.py")
    write(pilot, "src/use_case/model.py", "ours = 1\n")
    commit(pilot)
    git(pilot, "rm", "-q", "src/use_case/model.py")
    git(pilot, "commit", "-q", "-m", "The model went elsewhere")
    assert compared(pilot).undelivered == ("docs/data-dictionary.md",)


def test_where_the_history_is_incomplete_a_file_of_yours_may_have_been_deleted(pilot: Path, tmp_path: Path) -> None:
    git(pilot, "rm", "-q", "docs/data-dictionary.md")
    git(pilot, "commit", "-q", "-m", "No dictionary")
    git(tmp_path, "clone", "-q", "--depth", "1", pilot.as_uri(), "shallow")
    assert compared(tmp_path / "shallow").undelivered == ()


def test_the_digest_can_be_made_with_sha256sum(pilot: Path) -> None:
    """As docs/how-to/maintain-a-fleet.md says: what sha256sum prints of each file, sorted by path."""
    append(pilot / "README.md", "ours\n")
    found = compared(pilot)
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
    printed = subprocess.run(["bash", "-c", script, "-", *listed], cwd=pilot, capture_output=True, check=True).stdout
    assert hashlib.sha256(printed).hexdigest() == found.digest


@pytest.mark.parametrize("change", ["edit", "delete", "add", "answer"])
def test_any_other_state_has_another_digest(change: str, pilot: Path) -> None:
    before = compared(pilot).digest
    if change == "edit":
        append(pilot / "ruff.toml", "\n")
    elif change == "delete":
        (pilot / "ruff.toml").unlink()
    elif change == "add":
        write(pilot, "src/groundwork/new.py", "")
    else:
        append(pilot / ANSWERS, "more: 1\n")
    shutil.rmtree(pilot.parent / "written")
    assert compared(pilot).digest != before
