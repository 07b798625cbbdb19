"""What `copier update` itself does outside the ownership rule and in odd places, as the docs say it does.

`groundwork update`, which tells before it changes, has its own tests.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from support import PYTHON, commit, copy, execute, release, releases, shrink, update

OLD, NOW, NEXT = f"v{releases()[0]['version']}", "v1000.0.0", "v1001.0.0"
OURS = "# ---- the team's ----\n"
THEIRS = "# ---- the next release's ----\n"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The present state, and a next release that changes, adds, moves and drops files."""
    folder = tmp_path_factory.mktemp("shrunk") / "groundwork"
    shrink(template, folder, [OLD, NOW])
    ours = folder / "template"
    for name in ("ruff.toml", "Dockerfile", "compose.yaml", "mypy.ini", "README.md.jinja"):
        prepend(ours / name, THEIRS)
    (ours / "docs/runbook.md").rename(ours / "ops/runbook.md")
    (ours / ".importlinter").unlink()
    (ours / "docs/added.md").write_text(THEIRS)
    release(folder, NEXT)
    return folder


@pytest.fixture(scope="module")
def written(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    project = tmp_path_factory.mktemp("written") / "pilot"
    copy(source, project, vcs_ref=NOW)
    commit(project)
    return project


@pytest.fixture
def project(written: Path, tmp_path: Path) -> Path:
    """A committed project of the release before, to change."""
    return Path(shutil.copytree(written, tmp_path / "pilot"))


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def prepend(path: Path, text: str) -> None:
    path.write_text(text + path.read_text(encoding="utf-8"), encoding="utf-8")


def by_hand(folder: Path, *options: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`copier update` as it is typed, by a machine: there is no terminal."""
    return subprocess.run(
        [PYTHON, "-m", "copier", "update", *options],
        cwd=folder,
        env=os.environ | environment,
        stdin=subprocess.DEVNULL,
        text=True,
        capture_output=True,
    )


def test_edits_of_the_templates_files_are_merged_or_left_in_conflict(project: Path) -> None:
    prepend(project / "ruff.toml", OURS)  # where the release edits too
    append(project / "Dockerfile", OURS)  # elsewhere
    append(project / ".dockerignore", OURS)  # which the release leaves as it is
    (project / "mypy.ini").unlink()
    (project / "docs/added.md").write_text(OURS)  # a name that the release takes too
    (project / "src/groundwork/ours.py").write_text(OURS)
    commit(project)
    update(project)
    unmerged = set(execute(project, "git", "diff", "--name-only", "--diff-filter=U").split())
    assert unmerged == {"ruff.toml", "docs/added.md"}
    for name in ("ruff.toml", "docs/added.md"):
        text = (project / name).read_text(encoding="utf-8")
        assert [each in text for each in ("<<<<<<<", OURS, THEIRS, ">>>>>>>")] == [True] * 4
    assert (project / "Dockerfile").read_text(encoding="utf-8").startswith(THEIRS)
    assert [
        (project / name).read_text(encoding="utf-8").endswith(OURS) for name in ("Dockerfile", ".dockerignore")
    ] == [
        True,
        True,
    ]
    assert not (project / "mypy.ini").exists(), "a file that the team deleted does not come back"
    assert (project / "src/groundwork/ours.py").read_text() == OURS


def test_an_edit_of_a_file_that_is_moved_or_dropped_is_in_the_last_commit_alone(project: Path) -> None:
    """Why docs/how-to/maintain-a-fleet.md says to preview; a release that moves such a file brings a migration."""
    for name in ("docs/runbook.md", ".importlinter"):
        append(project / name, OURS)
    commit(project)
    update(project)
    assert OURS not in (project / "ops/runbook.md").read_text(encoding="utf-8")
    deleted = execute(project, "git", "diff", "--name-only", "--diff-filter=D", "HEAD").split()
    assert deleted == [".importlinter", "docs/runbook.md"]
    assert OURS in execute(project, "git", "show", "HEAD:docs/runbook.md")


def test_a_machine_updates_a_shallow_clone_of_a_larger_repository(written: Path, tmp_path: Path) -> None:
    """Without a terminal and a name for commits, and with the answers file elsewhere; a second time changes nothing."""
    larger, clone = tmp_path / "larger", tmp_path / "clone"
    shutil.copytree(written, larger / "pilots/one", ignore=shutil.ignore_patterns(".git"))
    (larger / "README.md").write_text(OURS)
    (larger / "pilots/one/.copier-answers.yml").rename(larger / "pilots/one/.groundwork.yml")
    append(larger / "pilots/one/README.md", OURS)
    commit(larger)
    commit_of = execute(larger, "git", "rev-parse", "HEAD")
    execute(tmp_path, "git", "clone", "--quiet", "--depth=1", f"file://{larger}", str(clone))
    pilot = clone / "pilots/one"
    nobody = {name: "" for name in os.environ if name.startswith("GIT_")} | {"HOME": str(tmp_path), "EMAIL": ""}
    done = by_hand(pilot, "--defaults", "--answers-file", ".groundwork.yml", **nobody)
    assert done.returncode == 0, done.stderr
    assert execute(clone, "git", "rev-parse", "HEAD") == commit_of
    changed = execute(clone, "git", "status", "--porcelain", "--untracked-files=all").splitlines()
    assert all("pilots/one/" in line for line in changed)
    readme = (pilot / "README.md").read_text(encoding="utf-8")
    assert readme.startswith(THEIRS)
    assert readme.endswith(OURS)
    assert f"_commit: {NEXT}" in (pilot / ".groundwork.yml").read_text(encoding="utf-8")

    commit(clone)
    assert by_hand(pilot, "--defaults", "--answers-file", ".groundwork.yml").returncode == 0
    assert execute(clone, "git", "status", "--porcelain") == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--defaults", "--vcs-ref", OLD], f"You are downgrading from {NOW[1:]} to {OLD[1:]}"),
        (["--defaults", "--data", "ci=jenkins"], "Invalid choice for 'ci'"),
        (["--defaults", "--answers-file", "elsewhere.yml"], "Template not found"),
        ([], "Interactive session required"),
    ],
)
def test_what_copier_cannot_do_it_refuses_and_changes_nothing(project: Path, options: list[str], words: str) -> None:
    done = by_hand(project, *options)
    assert done.returncode != 0
    assert words in done.stderr
    assert execute(project, "git", "status", "--porcelain") == ""


def test_uncommitted_work_is_refused(project: Path) -> None:
    append(project / "charter.yaml", OURS)
    done = by_hand(project, "--defaults")
    assert done.returncode != 0
    assert "Destination repository is dirty" in done.stderr
    assert execute(project, "git", "status", "--porcelain") == " M charter.yaml\n"


def test_it_is_run_in_the_pilots_own_folder(project: Path) -> None:
    """Below it, Copier finds no answers file, and says it oddly; `groundwork update` finds its way."""
    done = by_hand(project / "src", "--defaults")
    assert done.returncode != 0
    assert "Template not found" in done.stderr


def test_another_ci_leaves_the_workflows_that_are_the_teams(project: Path) -> None:
    """Its edit of the template's workflow goes with the workflow; `groundwork update` says so before."""
    append(project / ".github/workflows/checks.yml", OURS)
    (project / ".github/workflows/ours.yml").write_text(OURS)
    commit(project)
    update(project, ci="gitlab")
    assert [path.name for path in (project / ".github/workflows").iterdir()] == ["ours.yml"]
    assert (project / ".gitlab-ci.yml").exists()
    assert "checks.yml" in execute(project, "git", "diff", "--name-only", "--diff-filter=D", "HEAD")


def test_a_recopy_drops_what_is_below_the_line_and_git_brings_it_back(project: Path) -> None:
    shared = ["README.md", "pyproject.toml", ".gitignore"]
    for name in (*shared, "charter.yaml", "src/use_case/model.py"):
        append(project / name, OURS)
    commit(project)
    execute(project, PYTHON, "-m", "copier", "recopy", "--defaults", "--overwrite", "--vcs-ref", NOW)
    assert sorted(execute(project, "git", "diff", "--name-only").split()) == sorted(shared)
    execute(project, "git", "checkout", "HEAD", "--", *shared)
    assert (project / "README.md").read_text(encoding="utf-8").endswith(OURS)
