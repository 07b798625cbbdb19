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
def project(small_template: Path, tmp_path: Path) -> Path:
    return make_pilot(small_template, tmp_path / "pilot")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("src/use_case/model.py", "this change touches nothing of the template's"),
        ("src/elsewhere/own.py", "this change leaves the template's files as they were"),
    ],
)
def test_a_change_of_what_is_the_teams_passes(name: str, sentence: str, project: Path) -> None:
    write(project, name, "ours = 1\n")
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.update, judged.sentence) == (0, False, sentence)


def test_an_edit_of_the_templates_files_is_told_and_passes(project: Path) -> None:
    write(project, "mypy.ini", "[mypy]\n")
    commit(project)
    write(project, "ruff.toml", "line-length = 90\n")
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.update, judged.wrong) == (0, False, ("ruff.toml",))  # the other was there before
    assert "+line-length = 90" in judged.edits[0].diff


def test_an_update_passes_if_it_is_exactly_the_templates(project: Path) -> None:
    write(project, "src/use_case/model.py", "ours = 1\n")
    commit(project)
    update(project)
    commit(project)
    judged = judge(project, "HEAD~1")
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
    name: str, text: str, project: Path, small_template: Path
) -> None:
    update(project)
    write(project, name, text.format(template=small_template))
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.wrong) == (1, (name,))


def test_an_edit_that_was_there_before_passes_as_long_as_it_is_the_same(project: Path) -> None:
    write(project, "src/groundwork/loop.py", (project / "src/groundwork/loop.py").read_text() + "ours = 1\n")
    write(project, "src/groundwork/own.py", "own = 1\n")
    (project / ".gitignore").unlink()
    commit(project)
    update(project)
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.wrong) == (0, ())
    assert judged.kept == (".gitignore", "src/groundwork/loop.py", "src/groundwork/own.py")
    changed = judged.kept[1:]
    for name in changed:
        write(project, name, (project / name).read_text() + "more = 1\n")
    git(project, "commit", "-q", "-a", "--amend", "--no-edit")
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.wrong, judged.kept) == (1, changed, (".gitignore",))


def test_an_update_names_what_the_digest_does_not_cover(project: Path) -> None:
    """What is the team's, whoever changed it; not the file that the template dropped."""
    write(project, "notes.txt", "notes\n")
    commit(project)
    update(project)
    write(project, "src/use_case/model.py", "ours = 1\n")
    write(project, "mypy.py", "import os\n")
    (project / "notes.txt").unlink()
    write(project, "README.md", (project / "README.md").read_text() + "below\n")
    commit(project)
    judged = judge(project, "HEAD~1")
    assert judged.code == 0
    assert judged.rest == ("README.md", "mypy.py", "notes.txt", "src/use_case/model.py")


def test_an_update_that_cannot_be_verified_is_unknown(project: Path) -> None:
    update(project)
    record(project, _src_path=UNREACHABLE)
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.update, judged.unknown) == (2, True, True)
    assert judged.sentence.startswith(
        "unknown whether this is the template's, and an update must be verified: the temp"
    )


def test_another_change_that_cannot_be_verified_says_so_and_passes(project: Path) -> None:
    record(project, _src_path=UNREACHABLE)
    commit(project)
    write(project, "src/use_case/model.py", "ours = 1\n")
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.update, judged.unknown) == (0, False, True)
    assert "only an update must be verified" in judged.sentence


@pytest.mark.parametrize("knows_the_earlier_version", [True, False])
def test_another_template_is_told_even_if_the_files_are_exactly_its_own(
    knows_the_earlier_version: bool, project: Path, small_template: Path
) -> None:
    other = project.parent / "other"
    git(project.parent, "clone", "-q", str(small_template), str(other))
    if not knows_the_earlier_version:
        git(other, "tag", "--delete", FIRST)
    update(project)
    write(project, ANSWERS, (project / ANSWERS).read_text().replace(str(small_template), str(other)))
    commit(project)
    judged = judge(project, "HEAD~1")
    assert (judged.code, judged.wrong) == (1, (ANSWERS,))
    assert judged.sentence == f"the template is now {other}, and was {small_template}"


def test_the_first_commit_of_a_pilot_in_a_repository_is_judged_as_an_update(
    small_template: Path, tmp_path: Path
) -> None:
    root = tmp_path / "all"
    write(root, "README.md", "# Everything\n")
    base = commit(root)
    project = make_pilot(small_template, root / "pilots/late")
    shutil.rmtree(project / ".git")
    commit(root)
    judged = judge(project, base)
    assert (judged.code, judged.update, judged.wrong) == (0, True, ())
    assert judged.sentence.startswith("6 files of the template are exactly those of v0.1.0 ")
    assert judged.rest == ("OWNERS", "charter.yaml", "docs/data-dictionary.md", "src/use_case/model.py")


def test_a_change_elsewhere_in_a_larger_repository_does_not_matter(small_template: Path, tmp_path: Path) -> None:
    root = tmp_path / "all"
    project = make_pilot(small_template, root / "pilots/late")
    shutil.rmtree(project / ".git")
    write(root, "ruff.toml", "line-length = 79\n")
    commit(root)
    write(root, "ruff.toml", "line-length = 80\n")
    commit(root)
    assert judge(project, "HEAD~1").sentence == "this change touches nothing of the template's"


def test_what_the_other_branch_did_meanwhile_is_no_part_of_the_change(project: Path) -> None:
    git(project, "branch", "main-line")
    write(project, "src/use_case/model.py", "ours = 1\n")
    commit(project)
    git(project, "checkout", "-q", "main-line")
    write(project, "ruff.toml", "line-length = 90\n")
    commit(project)
    git(project, "checkout", "-q", "-")
    assert judge(project, "main-line").sentence == "this change touches nothing of the template's"


def test_an_unknown_commit_is_an_error(project: Path) -> None:
    with pytest.raises(GroundworkError, match="git finds no common history with"):
        judge(project, "0" * 40)
