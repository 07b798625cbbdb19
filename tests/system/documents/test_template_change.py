"""Whether a change leaves the template's part of a pilot as the template wrote it."""

import shutil
from pathlib import Path

import pytest
from groundwork.core.errors import GroundworkError
from groundwork.documents.template_change import judge
from templates import ANSWERS, FIRST, SECOND, commit, git, make_pilot, record, update, write

pytestmark = pytest.mark.usefixtures("in_process")
UNREACHABLE = "/nowhere/groundwork.git"


@pytest.fixture
def pilot(small_template: Path, tmp_path: Path) -> Path:
    return make_pilot(small_template, tmp_path / "pilot")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("src/use_case/model.py", "this change touches nothing of the template's"),
        ("src/elsewhere/own.py", "this change leaves the template's files as they were"),
    ],
)
def test_a_change_of_what_is_the_teams_passes(name: str, sentence: str, pilot: Path) -> None:
    write(pilot, name, "ours = 1\n")
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.update, judged.sentence) == (0, False, sentence)


def test_an_edit_of_the_templates_files_is_told_and_passes(pilot: Path) -> None:
    write(pilot, "mypy.ini", "[mypy]\n")
    commit(pilot)
    write(pilot, "ruff.toml", "line-length = 90\n")
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.update, judged.wrong) == (0, False, ("ruff.toml",))  # the other was there before
    assert "+line-length = 90" in judged.edits[0].diff


def test_an_update_passes_if_it_is_exactly_the_templates(pilot: Path) -> None:
    write(pilot, "src/use_case/model.py", "ours = 1\n")
    commit(pilot)
    update(pilot)
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.update, judged.wrong, judged.kept) == (0, True, (), ())
    assert judged.sentence.startswith(f"6 files of the template are exactly those of {SECOND} of /")
    assert len(judged.digest) == 64


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("src/groundwork/loop.py", "import os  # among hundreds of files\n"),
        ("src/groundwork/helper.py", "import os  # a file that the template does not have\n"),
        ("README.md", "# The line is gone\n"),
        (ANSWERS, f"_commit: {SECOND}\n_src_path: {{template}}\nproject_name: Late flights\ndecision_owner: ''\n"),
    ],
)
def test_an_update_with_anything_else_in_the_templates_part_fails(
    name: str, text: str, pilot: Path, small_template: Path
) -> None:
    update(pilot)
    write(pilot, name, text.format(template=small_template))
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.wrong) == (1, (name,))


def test_an_edit_that_was_there_before_passes_as_long_as_it_is_the_same(pilot: Path) -> None:
    write(pilot, "src/groundwork/loop.py", (pilot / "src/groundwork/loop.py").read_text() + "ours = 1\n")
    write(pilot, "src/groundwork/own.py", "own = 1\n")
    (pilot / ".gitignore").unlink()
    commit(pilot)
    update(pilot)
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.wrong) == (0, ())
    assert judged.kept == (".gitignore", "src/groundwork/loop.py", "src/groundwork/own.py")
    changed = judged.kept[1:]
    for name in changed:
        write(pilot, name, (pilot / name).read_text() + "more = 1\n")
    git(pilot, "commit", "-q", "-a", "--amend", "--no-edit")
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.wrong, judged.kept) == (1, changed, (".gitignore",))


def test_an_update_names_what_the_digest_does_not_cover(pilot: Path) -> None:
    """What is the team's, whoever changed it; not the file that the template dropped."""
    write(pilot, "notes.txt", "notes\n")
    commit(pilot)
    update(pilot)
    write(pilot, "src/use_case/model.py", "ours = 1\n")
    write(pilot, "mypy.py", "import os\n")
    (pilot / "notes.txt").unlink()
    write(pilot, "README.md", (pilot / "README.md").read_text() + "below\n")
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert judged.code == 0
    assert judged.rest == ("README.md", "mypy.py", "notes.txt", "src/use_case/model.py")


def test_an_update_that_cannot_be_verified_is_unknown(pilot: Path) -> None:
    update(pilot)
    record(pilot, _src_path=UNREACHABLE)
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.update, judged.unknown) == (2, True, True)
    assert judged.sentence.startswith(
        "unknown whether this is the template's, and an update must be verified: the temp"
    )


def test_another_change_that_cannot_be_verified_says_so_and_passes(pilot: Path) -> None:
    record(pilot, _src_path=UNREACHABLE)
    commit(pilot)
    write(pilot, "src/use_case/model.py", "ours = 1\n")
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.update, judged.unknown) == (0, False, True)
    assert "only an update must be verified" in judged.sentence


@pytest.mark.parametrize("knows_the_earlier_version", [True, False])
def test_another_template_is_told_even_if_the_files_are_exactly_its_own(
    knows_the_earlier_version: bool, pilot: Path, small_template: Path
) -> None:
    other = pilot.parent / "other"
    git(pilot.parent, "clone", "-q", str(small_template), str(other))
    if not knows_the_earlier_version:
        git(other, "tag", "--delete", FIRST)
    update(pilot)
    write(pilot, ANSWERS, (pilot / ANSWERS).read_text().replace(str(small_template), str(other)))
    commit(pilot)
    judged = judge(pilot, "HEAD~1")
    assert (judged.code, judged.wrong) == (1, (ANSWERS,))
    assert judged.sentence == f"the template is now {other}, and was {small_template}"


def test_the_first_commit_of_a_pilot_in_a_repository_is_judged_as_an_update(
    small_template: Path, tmp_path: Path
) -> None:
    root = tmp_path / "all"
    write(root, "README.md", "# Everything\n")
    base = commit(root)
    pilot = make_pilot(small_template, root / "pilots/late")
    shutil.rmtree(pilot / ".git")
    commit(root)
    judged = judge(pilot, base)
    assert (judged.code, judged.update, judged.wrong) == (0, True, ())
    assert judged.sentence.startswith("6 files of the template are exactly those of v0.1.0 ")
    assert judged.rest == ("OWNERS", "charter.yaml", "docs/data-dictionary.md", "src/use_case/model.py")


def test_a_change_elsewhere_in_a_larger_repository_does_not_matter(small_template: Path, tmp_path: Path) -> None:
    root = tmp_path / "all"
    pilot = make_pilot(small_template, root / "pilots/late")
    shutil.rmtree(pilot / ".git")
    write(root, "ruff.toml", "line-length = 79\n")
    commit(root)
    write(root, "ruff.toml", "line-length = 80\n")
    commit(root)
    assert judge(pilot, "HEAD~1").sentence == "this change touches nothing of the template's"


def test_what_the_other_branch_did_meanwhile_is_no_part_of_the_change(pilot: Path) -> None:
    git(pilot, "branch", "main-line")
    write(pilot, "src/use_case/model.py", "ours = 1\n")
    commit(pilot)
    git(pilot, "checkout", "-q", "main-line")
    write(pilot, "ruff.toml", "line-length = 90\n")
    commit(pilot)
    git(pilot, "checkout", "-q", "-")
    assert judge(pilot, "main-line").sentence == "this change touches nothing of the template's"


def test_an_unknown_commit_is_an_error(pilot: Path) -> None:
    with pytest.raises(GroundworkError, match="git finds no common history with"):
        judge(pilot, "0" * 40)
