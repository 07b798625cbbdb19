"""What an update of a pilot depends on, examined: each thing that needs a hand, why, and the command that mends it."""

import shlex
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from groundwork.core.errors import UpdateError
from groundwork.core.settings import Settings
from groundwork.documents.updating.worktree import require_clean
from groundwork.readiness.doctor import Ailment, Examined, examine
from groundwork.store import schema
from groundwork.store.database import Store
from groundwork.store.migrate import pending
from stores import load_old_store
from templates import ANSWERS, FIRST, SECOND, commit, git, make_pilot, record, write

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def project(small_template: Path, tmp_path: Path) -> Path:
    return make_pilot(small_template, tmp_path / "pilot", SECOND)


def looked_at(settings: Settings) -> Examined:
    """With the pilot's store as the one thing to migrate."""
    return examine(settings, [lambda: pending(settings.store)])


def kinds(home: Path) -> list[str]:
    return [ailment.kind for ailment in looked_at(Settings(home=home)).ailments]


def only(home: Path) -> Ailment:
    [ailment] = looked_at(Settings(home=home)).ailments
    return ailment


def test_a_pilot_of_the_newest_release_is_healthy(project: Path, small_template: Path) -> None:
    examined = examine(Settings(home=project))
    assert (examined.code, examined.ailments, examined.unknown) == (0, (), ())
    assert (examined.template, examined.version, examined.newest) == (str(small_template), SECOND, SECOND)
    assert (examined.exact, examined.releases_behind, examined.days_behind) == (True, 0, 0)
    assert git(project, "status", "--porcelain", "--ignored") == ""  # nothing was written


def test_versions_behind_are_counted_in_releases_and_days(small_template: Path, tmp_path: Path) -> None:
    home = make_pilot(small_template, tmp_path / "pilot", FIRST)
    examined = examine(Settings(home=home))
    assert (examined.code, examined.releases_behind, examined.days_behind) == (1, 1, 14)
    assert only(home).what == f"{FIRST} is 1 release and 14 days behind {SECOND}"
    assert examined.exact  # compared with its own version


def edit(home: Path) -> None:
    write(home, "ruff.toml", "line-length = 90\n")


def edit_above(home: Path) -> None:
    write(home, "README.md", "ours\n" + (home / "README.md").read_text())


def delete(home: Path) -> None:
    (home / ".gitignore").unlink()


def leave_over(home: Path) -> None:
    write(home, "src/groundwork/old.py", "old = 1\n")


def never_deliver(home: Path) -> None:
    git(home, "rm", "-q", "docs/data-dictionary.md")
    git(home, "commit", "-q", "--amend", "-m", "A pilot of an earlier release")


def edit_answers(home: Path) -> None:
    write(home, ANSWERS, (home / ANSWERS).read_text() + "colour: blue\n")


@pytest.mark.parametrize(
    ("ail", "kind", "path"),
    [
        (edit, "edited", "ruff.toml"),
        (edit_above, "edited-above-the-line", "README.md"),
        (delete, "missing", ".gitignore"),
        (leave_over, "added", "src/groundwork/old.py"),
        (never_deliver, "never-delivered", "docs/data-dictionary.md"),
        (edit_answers, "answers", ANSWERS),
    ],
)
def test_what_it_tells_is_mended_by_the_command_that_it_names(
    ail: Callable[[Path], None], kind: str, path: str, project: Path
) -> None:
    ail(project)
    commit(project) if git(project, "status", "--porcelain") else None
    ailment = only(project)
    assert (ailment.kind, ailment.paths) == (kind, (path,))
    assert path in ailment.what
    mend(project, ailment)
    commit(project)
    assert examine(Settings(home=project)).code == 0


def mend(home: Path, ailment: Ailment) -> None:
    """Type the command; `doctor` prints the diff, and Copier is the tests' own."""
    doctor, piped, command = ailment.mend.rpartition(" | ")
    assert doctor in ("", "uv run groundwork doctor")
    words = shlex.split(command)
    if words[0] in ("copier", "uvx"):
        words = [sys.executable, "-m", "copier", *words[1 if words[0] == "copier" else 2 :]]
    subprocess.run(words, cwd=home, input=ailment.diff.encode() if piped else None, check=True, capture_output=True)


def test_answers_that_cannot_be_read_are_told_and_nothing_is_passed(project: Path) -> None:
    write(project, ANSWERS, "<<<<<<< before\n_commit: x\n=======\n")
    commit(project)
    examined = examine(Settings(home=project))
    assert (examined.code, examined.exact) == (1, None)
    assert only(project).what.startswith(f"{ANSWERS}: cannot be read")


@pytest.mark.parametrize("answer", [{"_src_path": "/nowhere/groundwork.git"}, {"_commit": "v0.0.9"}])
def test_a_template_that_is_out_of_reach_is_unknown_and_never_passed(answer: dict[str, str], project: Path) -> None:
    record(project, **answer)
    commit(project)
    examined = examine(Settings(home=project))
    assert (examined.code, examined.ailments, examined.exact) == (2, (), None)
    [sentence] = examined.unknown
    assert "\n" not in sentence
    edit(project)  # is not committed, which needs a hand
    examined = examine(Settings(home=project))
    assert [ailment.kind for ailment in examined.ailments] == ["git"]
    assert examined.code == 2


def test_data_that_is_not_migrated_is_told(project: Path) -> None:
    (project / "data").mkdir()
    load_old_store(f"sqlite:///{project / 'data/groundwork.db'}")
    assert only(project) == Ailment(
        kind="not-migrated",
        what=f"migrate the store from no schema version to schema version {schema.VERSION}",
        why="Until then, the commands that need it refuse to run.",
        mend="uv run groundwork migrate",
    )


def test_a_store_of_this_version_is_fine_and_one_that_is_newer_is_not(project: Path) -> None:
    url = f"sqlite:///{project / 'data/groundwork.db'}"
    Store(url).close()
    assert kinds(project) == []
    with closing(sqlite3.connect(project / "data/groundwork.db")) as store:
        store.execute(f"update {schema.VERSION_TABLE} set version_num = {schema.VERSION + 1}")
        store.commit()
    assert kinds(project) == ["newer-data"]


def test_a_store_that_does_not_answer_is_unknown(project: Path) -> None:
    settings = Settings(home=project, store_url="postgresql://ada:secret@127.0.0.1:9/none")
    examined = looked_at(settings)
    assert (examined.code, len(examined.unknown)) == (2, 1)
    assert "secret" not in examined.unknown[0]


def change(home: Path) -> None:
    write(home, "charter.yaml", "name: other\n")


def stage(home: Path) -> None:
    write(home, "staged.txt", "staged\n")
    git(home, "add", "staged.txt")


def forget_the_commits(home: Path) -> None:
    shutil.rmtree(home / ".git")
    git(home, "init", "-q")


@pytest.mark.parametrize(
    ("state", "what"),
    [
        (change, "1 changed file not committed"),
        (stage, "1 changed file not committed"),
        (lambda home: shutil.rmtree(home / ".git"), "the project is not in a git repository"),
        (forget_the_commits, "the project is not committed"),
    ],
)
def test_a_state_of_git_is_told_in_which_an_update_is_refused(
    state: Callable[[Path], None], what: str, project: Path
) -> None:
    write(project, "untracked.txt", "not the update's business\n")
    assert kinds(project) == []
    require_clean(project)
    state(project)
    ailment = only(project)
    assert (ailment.kind, ailment.what) == ("git", what)
    with pytest.raises(UpdateError):
        require_clean(project)


def test_a_clone_without_its_history_is_told(project: Path, tmp_path: Path) -> None:
    write(project, "note.txt", "a note\n")
    commit(project)
    git(tmp_path, "clone", "-q", "--depth", "1", project.as_uri(), "shallow")
    ailment = only(tmp_path / "shallow")
    assert ailment.what == "the clone has no complete history"
    subprocess.run(ailment.mend, shell=True, cwd=tmp_path / "shallow", check=True)
    assert kinds(tmp_path / "shallow") == []


def test_an_unknown_author_is_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AUTHOR_NAME", "AUTHOR_EMAIL", "COMMITTER_NAME", "COMMITTER_EMAIL"):
        monkeypatch.delenv(f"GIT_{name}", raising=False)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(write(tmp_path, "config", "[user]\n\tuseConfigOnly = true\n")))
    assert only(project).what == "git does not know who you are"


def test_what_is_unknown_outranks_what_needs_a_hand_because_there_may_be_more() -> None:
    ailing = Examined(ailments=(Ailment("git", "", "", ""),), unknown=())
    assert (ailing.code, replace(ailing, unknown=("x",)).code) == (1, 2)
