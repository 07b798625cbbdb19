"""The examples of docs/how-to/maintain-the-template.md, put into a template: they do what the page says."""

import re
import shutil
from pathlib import Path
from textwrap import dedent

import pytest

from support import ROOT, commit, copy, execute, release, update

PAGE = (ROOT / "docs/how-to/maintain-the-template.md").read_text(encoding="utf-8")
QUESTION, ENTRIES = (dedent(found) for found in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
[LANDS] = (dedent(found) for found in re.findall(r"```jinja\n(.*?)```", PAGE, re.DOTALL))
NOTES = "docs/notes.md"


@pytest.fixture
def source(template: Path, tmp_path: Path) -> Path:
    """A template to change, without the system, which is most of its files and plays no part here."""
    execute(tmp_path, "git", "clone", "--quiet", str(template), str(tmp_path / "template"))
    shutil.rmtree(tmp_path / "template/template/src/groundwork")
    release(tmp_path / "template", "v1001.0.0")
    return tmp_path / "template"


def add(source: Path, before: str, lines: str) -> None:
    """Put lines into copier.yml before one that is there."""
    settings = source / "copier.yml"
    text = settings.read_text(encoding="utf-8")
    assert text.count(before) == 1
    settings.write_text(text.replace(before, lines + before), encoding="utf-8")


@pytest.mark.slow
def test_a_question_and_a_file_of_the_teams_reach_pilots_that_exist(source: Path, tmp_path: Path) -> None:
    """The file as one that a new capability needs: it arrives, and from then on the team's edits stay."""
    old = tmp_path / "old"
    copy(source, old)
    commit(old)
    for_copies, _ = re.findall(r"^  - .*\n", ENTRIES, re.MULTILINE)
    add(source, "_exclude:\n", for_copies)
    add(source, "ci:\n", QUESTION)
    (source / f"template/{NOTES}.jinja").write_text(LANDS)
    release(source, "v1002.0.0")

    copy(source, tmp_path / "new", region='eu "west"')
    assert (tmp_path / "new" / NOTES).read_text() == 'region: "eu \\"west\\""\n'
    with pytest.raises(ValueError, match="Type the region on one line, or nothing while it is open"):
        copy(source, tmp_path / "wrong", region="eu\nwest")
    update(old)
    assert (old / NOTES).read_text() == 'region: "TBD"\n'

    (old / NOTES).write_text("The team's.\n")
    commit(old)
    (source / f"template/{NOTES}.jinja").write_text(f"# Notes\n{LANDS}")
    release(source, "v1003.0.0")
    update(old)
    assert (old / NOTES).read_text() == "The team's.\n"


@pytest.mark.slow
def test_a_file_in_both_lists_reaches_no_pilot_that_exists(source: Path, tmp_path: Path) -> None:
    copy(source, tmp_path / "old")
    commit(tmp_path / "old")
    for_copies, for_updates = re.findall(r"^  - .*\n", ENTRIES, re.MULTILINE)
    add(source, "_exclude:\n", for_copies)
    add(source, "  - __pycache__ #", for_updates)
    (source / "template" / NOTES).write_text("New.\n")
    release(source, "v1002.0.0")
    update(tmp_path / "old")
    assert not (tmp_path / "old" / NOTES).exists()
    copy(source, tmp_path / "new")
    assert (tmp_path / "new" / NOTES).exists()
