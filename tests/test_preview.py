"""`groundwork update` on really written pilots: what it says is what happens, and it happens on request alone."""

import json
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from commands import groundwork
from groundwork.core.errors import UpdateError
from groundwork.documents.template_files import Compared
from groundwork.documents.updating import attempt, behaviour
from groundwork.documents.updating.behaviour import Behaviour
from groundwork.documents.updating.worktree import worktree
from groundwork.documents.upstream import Release, Upstream

from support import PYTHON, ROOT, commit, execute, files, release, update

NEXT, LATER = "v1001.0.0", "v1002.0.0"  # above conftest's RELEASE
OURS = "# ---- the team's ----\n"
THEIRS = "# ---- the next release's ----\n"
RECORD = f"""\
- version: {NEXT[1:]}
  commit: unknown
  date: 2026-12-01
  owners:
    - Restart the service.
"""
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def beside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copier is the one beside the Python that runs the tests."""
    monkeypatch.setenv("PATH", f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def unjudged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What will behave otherwise is not looked for, which takes seconds and is the matter of other tests."""
    monkeypatch.setattr(behaviour, "compare", lambda *_: Behaviour(check="passes", gate_unknown="not tried"))


@pytest.fixture(scope="module")
def source(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template with a next release: it changes, adds, drops and moves files of each owner."""
    folder = tmp_path_factory.mktemp("template") / "groundwork"
    execute(folder.parent, "git", "clone", "--quiet", str(template), str(folder))
    ours = folder / "template"
    for name in ("ruff.toml", "README.md.jinja", "Dockerfile", "src/use_case/model.py"):
        prepend(ours / name, THEIRS)
    (ours / "mypy.ini").unlink()
    (ours / "src/groundwork/added.py").write_text('"""New."""\n')
    (ours / "ops/runbook").mkdir()
    (ours / "docs/runbook.md").rename(ours / "ops/runbook/README.md")
    record = folder / "releases.yaml"
    lines = record.read_text(encoding="utf-8").splitlines(keepends=True)
    first = next(number for number, line in enumerate(lines) if line.startswith("- version"))
    record.write_text("".join([*lines[:first], RECORD, *lines[first:]]), encoding="utf-8")
    release(folder, NEXT)
    return folder


@pytest.fixture(scope="module")
def rendered(template: Path, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project of the release before, committed."""
    project = tmp_path_factory.mktemp("rendered") / "pilot"
    copier_copy(source, project)
    commit(project)
    return project


def append(path: Path, text: str) -> None:
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def prepend(path: Path, text: str) -> None:
    path.write_text(text + path.read_text(encoding="utf-8"), encoding="utf-8")


def copier_copy(source: Path, project: Path, version: str = "v1000.0.0") -> None:
    import copier

    copier.run_copy(str(source), project, vcs_ref=version, defaults=True, quiet=True, unsafe=False)


@pytest.fixture
def project(rendered: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(rendered, tmp_path / "pilot"))


def previewed(project: Path, *words: str, cwd: Path | None = None) -> tuple[int, dict[str, Any]]:
    done = groundwork("update", "--json", *words, cwd=cwd or project)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def kinds(said: dict[str, Any]) -> dict[str, str]:
    return {change["path"]: change["kind"] for change in said["changes"]}


def state(project: Path) -> tuple[str, ...]:
    """All of git's that an update could change, but for the branch that it makes."""
    words = ("status --porcelain", "rev-parse HEAD", "symbolic-ref HEAD", "worktree list", "stash list", "branch")
    return tuple(execute(project, "git", *each.split()) for each in words)


def test_a_preview_changes_nothing_and_on_request_there_is_a_branch_of_what_it_told(
    project: Path, unjudged: None
) -> None:
    append(project / "README.md", OURS)
    append(project / "Dockerfile", OURS)
    append(project / "src/use_case/decision.py", OURS)
    append(project / "compose.yaml", OURS)
    commit(project)
    before = state(project)
    code, said = previewed(project)
    assert code == 0
    assert (said["before"], said["after"], said["branch"]) == ("v1000.0.0", NEXT, None)
    assert said["owners"] == [f"{NEXT[1:]}: Restart the service."]
    found = kinds(said)
    assert (
        found.items()
        >= {
            "ruff.toml": "updated",
            "README.md": "merged",
            "Dockerfile": "merged",
            "src/groundwork/added.py": "new",
            "ops/runbook/README.md": "new",
            "docs/runbook.md": "removed",
            "mypy.ini": "removed",
            "src/use_case/model.py": "kept",
            "src/use_case/decision.py": "kept",
            "compose.yaml": "kept",
        }.items()
    )
    assert set(found) - {name for name, kind in found.items() if kind == "kept"} == {
        *("ruff.toml", "README.md", "Dockerfile", "mypy.ini"),
        *("src/groundwork/added.py", "ops/runbook/README.md", "docs/runbook.md"),
    }
    assert state(project) == before

    code, said = previewed(project, "--apply")
    assert (code, said["branch"]) == (0, "groundwork-update-1001.0.0")
    assert kinds(said) == found
    assert state(project)[:-1] == before[:-1]
    assert execute(project, "git", "rev-parse", f"{said['branch']}^") == execute(project, "git", "rev-parse", "HEAD")
    message = execute(project, "git", "log", "-1", "--format=%B", said["branch"])
    assert message.startswith("Update Groundwork from 1000.0.0 to 1001.0.0\n\n")
    assert said["text"].strip() == message.partition("\n\n")[2].strip()
    assert (project / "data/reports/groundwork-update-1001.0.0.md").read_text() == said["text"]
    assert len(said["text"].splitlines()) <= 40
    assert f"{NEXT[1:]}: Restart the service." in said["text"]

    execute(project, "git", "switch", "--quiet", said["branch"])
    assert all(line in (project / "README.md").read_text() for line in (OURS, THEIRS))
    done = groundwork("update", cwd=project)
    assert done.returncode == 0
    assert f"Groundwork {NEXT} is the newest release: nothing to do" in done.stdout
    done = groundwork("update", "--to", "1000.0.0", cwd=project)
    assert done.returncode == 1
    assert "v1000.0.0 is older than the pilot's version v1001.0.0, and an update goes forward only" in done.stderr


def test_a_conflict_and_edits_that_would_be_lost_are_told_and_stop_it(project: Path, unjudged: None) -> None:
    prepend(project / "ruff.toml", OURS)
    append(project / "docs/runbook.md", OURS)
    append(project / "mypy.ini", OURS)
    commit(project)
    before = state(project)
    done = groundwork("update", "--apply", cwd=project)
    assert done.returncode == 1
    assert "docs/runbook.md: moved to ops/runbook/README.md" in done.stdout
    assert "mypy.ini: dropped by the template" in done.stdout
    assert done.stdout.count(f"+{OURS}") == 3
    assert "1 conflict and 2 edits that would be lost: nothing was changed" in done.stderr
    assert state(project) == before

    code, said = previewed(project, "--apply", "--force")
    assert code == 1, "with the branch, there is still something to resolve"
    found = kinds(said)
    assert (found["ruff.toml"], found["docs/runbook.md"], found["mypy.ini"]) == ("conflict", "lost", "lost")
    text = execute(project, "git", "show", f"{said['branch']}:ruff.toml")
    assert all(part in text for part in (OURS, THEIRS, "<<<<<<<"))
    assert "- conflict: `ruff.toml`" in said["text"]
    assert said["text"].count(f"+{OURS}") == 2, "the lost edits are in the text of the pull request"


def unknown_to_git(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take from git the name of the person who runs this."""
    for role in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{role}_NAME")
        monkeypatch.delenv(f"GIT_{role}_EMAIL")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    for number, key in enumerate(("user.useConfigOnly", "safe.directory")):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", "*" if number else "true")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")


def test_an_answer_can_be_changed_with_a_preview_by_a_person_whom_git_does_not_know(
    project: Path, unjudged: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(project / ".github/workflows/checks.yml", OURS)
    commit(project)
    unknown_to_git(monkeypatch)
    code, said = previewed(project, "--data", "ci=gitlab")
    assert code == 1
    assert kinds(said)[".github/workflows/checks.yml"] == "lost"
    assert kinds(said)[".gitlab-ci.yml"] == "new"


REFUSED: dict[str, tuple[Callable[[Path], object], list[str], str]] = {
    "no repository": (lambda home: shutil.rmtree(home / ".git"), [], "an update needs a git repository"),
    "no commit": (lambda home: execute(home, "git", "update-ref", "-d", "HEAD"), [], "an update needs a first commit"),
    "uncommitted": (
        lambda home: append(home / "ruff.toml", OURS),
        [],
        "uncommitted changes: commit or stash them first (ruff.toml)",
    ),
    "unknown release": (lambda home: None, ["--to", "7.0.0"], "the template has no release 7.0.0: it has 0.1.0, "),
    "unknown question": (lambda home: None, ["--data", "cl=gitlab"], "the template asks no question cl"),
    "no value": (lambda home: None, ["--data", "ci"], "--data ci: write NAME=VALUE"),
    "no such answer": (lambda home: None, ["--data", "ci=jenkins"], "Copier cannot write the template's version"),
    "unreachable": (
        lambda home: change_source(home, "/nowhere/groundwork"),
        [],
        "the template /nowhere/groundwork cannot be fetched",
    ),
    "nobody": (
        lambda home: None,
        ["--apply"],
        "git does not know who commits: run `git config user.name NAME`",
    ),
}


def change_source(home: Path, source: str) -> None:
    answers = home / ".copier-answers.yml"
    lines = answers.read_text(encoding="utf-8").splitlines(keepends=True)
    answers.write_text("".join(f"_src_path: {source}\n" if "_src_path" in line else line for line in lines))
    commit(home)


@pytest.mark.parametrize("reason", REFUSED)
def test_what_is_not_possible_is_refused_in_words(
    project: Path, unjudged: None, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    arrange, words, message = REFUSED[reason]
    arrange(project)
    if reason == "nobody":
        unknown_to_git(monkeypatch)
    done = groundwork("update", *words, cwd=project)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_it_is_right_in_a_shallow_clone_of_a_larger_repository_from_below(
    rendered: Path, tmp_path: Path, unjudged: None
) -> None:
    """With the answers file elsewhere, a detached head, files that git does not know, changes outside the pilot."""
    larger = tmp_path / "larger"
    (larger / "pilots").mkdir(parents=True)
    shutil.copytree(rendered, larger / "pilots/one", ignore=shutil.ignore_patterns(".git"))
    (larger / "other.txt").write_text("another team's\n")
    (larger / "pilots/one/.copier-answers.yml").rename(larger / "pilots/one/.groundwork.yml")
    commit(larger)
    append(larger / "other.txt", "more\n")
    commit(larger)
    clone = tmp_path / "clone"
    execute(tmp_path, "git", "clone", "--quiet", "--depth=1", f"file://{larger}", str(clone))
    execute(clone, "git", "checkout", "--quiet", "--detach")
    (clone / "pilots/one/note.txt").write_text("not in git\n")
    append(clone / "other.txt", "not committed\n")
    code, said = previewed(clone / "pilots/one", "--apply", cwd=clone / "pilots/one/src/use_case")
    assert code == 0
    assert kinds(said)["ruff.toml"] == "updated"
    changed = execute(clone, "git", "diff", "--name-only", "HEAD", said["branch"]).splitlines()
    assert all(name.startswith("pilots/one/") for name in changed)
    assert {"pilots/one/.groundwork.yml", "pilots/one/ruff.toml"} <= set(changed)
    answers = execute(clone, "git", "show", f"{said['branch']}:pilots/one/.groundwork.yml")
    assert f"_commit: {NEXT}\n" in answers
    assert f"_src_path: {Upstream.of(rendered).source}\n" in answers
    assert "ops/delivery.sh monorepo" in said["text"] or not any(".github/" in name for name in changed)


def test_what_an_interrupted_update_left_is_cleared_away(project: Path, unjudged: None) -> None:
    with worktree(project) as mine:
        ...
    code = "import sys, os, pathlib; from groundwork.documents.updating.worktree import worktree\n"
    code += "with worktree(pathlib.Path(sys.argv[1])) as tree: print(tree.root, flush=True); os.kill(os.getpid(), 9)"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "template/src")}
    command = [PYTHON, "-c", code, str(project)]
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    left = Path(killed.stdout.strip())
    assert left.is_dir()
    assert not mine.root.exists()
    with worktree(project) as other:
        assert not left.parent.exists()
        with worktree(project):
            assert other.root.is_dir(), "that of an update that is still running stays"
    assert len(execute(project, "git", "worktree", "list").splitlines()) == 1


def test_a_branch_that_is_there_is_left_as_it_is(project: Path) -> None:
    update = attempt.Update(
        target=attempt.Destination(before="v1.0.0", after="v2.0.0", passed=[Release("v2.0.0", date(2026, 12, 1))]),
        owners=[],
        changes=[],
        compared=Compared(edited=(), missing=(), added=(), undelivered=(), digests={}),
        new_packages=False,
    )

    def committed(content: str) -> bool:
        with worktree(project) as tree:
            (tree.home / "ruff.toml").write_text(content)
            tree.git("add", "--all")
            return attempt.to_branch(update, tree, "The text.")

    assert committed("first")
    made = execute(project, "git", "rev-parse", "groundwork-update-2.0.0")
    assert not committed("first")
    with pytest.raises(
        UpdateError, match=r"there is a branch groundwork-update-2\.0\.0 already: merge it, or delete it"
    ):
        committed("second")
    assert execute(project, "git", "rev-parse", "groundwork-update-2.0.0") == made


def test_scripts_of_a_release_run_only_on_assent_and_bring_an_edit_along(
    source: Path, rendered: Path, tmp_path: Path, unjudged: None
) -> None:
    theirs, project = tmp_path / "theirs", tmp_path / "pilot"
    execute(tmp_path, "git", "clone", "--quiet", str(source), str(theirs))
    shutil.copytree(rendered, project)
    append(project / "ruff.toml", OURS)
    change_source(project, str(theirs))
    (theirs / "template/ruff.toml").rename(theirs / "template/ops/ruff.toml")
    script = theirs / "hooks/migrations/v1002_0_0.py"
    script.write_text('from steps import migrate\n\nMOVES = {"ruff.toml": "ops/ruff.toml"}\n\nmigrate(MOVES)\n')
    command = ["{{ _copier_python }}", f"{{{{ _copier_conf.src_path }}}}/hooks/migrations/{script.name}"]
    migration = {"version": LATER[1:], "command": [*command, "{{ _copier_conf.answers_file }}"], "when": True}
    lines = (theirs / "copier.yml").read_text(encoding="utf-8").replace("_migrations: []\n", "")
    assert "\n_migrations:" not in lines
    (theirs / "copier.yml").write_text(f"{lines}\n_migrations: {json.dumps([migration])}\n", encoding="utf-8")
    release(theirs, LATER)
    done = groundwork("update", cwd=project)
    assert done.returncode == 1
    assert 'MOVES = {"ruff.toml": "ops/ruff.toml"}' in done.stdout
    assert "this update runs scripts of the template (hooks/migrations/v1002_0_0.py)" in done.stderr
    code, said = previewed(project, "--trust", "--apply")
    assert code == 0
    [change] = [change for change in said["changes"] if change["path"] == "ruff.toml"]
    assert (change["kind"], change["note"]) == ("merged", "moved to ops/ruff.toml")
    moved = execute(project, "git", "show", f"{said['branch']}:ops/ruff.toml")
    assert moved.startswith(THEIRS)
    assert moved.endswith(OURS)


def shaken(folder: Path, chance: random.Random, names: list[str], mark: str) -> dict[str, str]:
    """Change some of the files in a folder at random; returns the new line of each that got one, by its path."""
    lines = {}
    for number, name in enumerate(chance.sample(names, 12)):
        file, line = folder / name, f"# {mark} {number}\n"
        action = chance.choice(["insert", "insert", "insert", "append", "delete", "move"])
        if action == "delete" or (action == "move" and mark == "ours"):
            file.unlink()
        elif action == "move":
            file.rename(file.with_name(f"moved-{file.name}"))
        else:
            text = file.read_text(encoding="utf-8").splitlines(keepends=True)
            text.insert(len(text) if action == "append" else chance.randrange(len(text) + 1), line)
            file.write_text("".join(text), encoding="utf-8")
            lines[name] = line
    return lines


@pytest.mark.parametrize(
    "seed", [1, *(pytest.param(seed, marks=[pytest.mark.soak, pytest.mark.night]) for seed in range(2, 26))]
)
def test_what_a_preview_says_is_what_copier_does_and_no_edit_goes_untold(
    source: Path, rendered: Path, tmp_path: Path, seed: int
) -> None:
    """On files that both sides change, drop and move as they like, against the rules of ownership as well."""
    chance = random.Random(seed)
    theirs, project = tmp_path / "theirs", Path(shutil.copytree(rendered, tmp_path / "pilot"))
    execute(tmp_path, "git", "clone", "--quiet", str(source), str(theirs))
    plain = [name for name in files(theirs / "template") if (rendered / name).is_file()]
    few = chance.sample(plain, 24)
    shaken(theirs / "template", chance, [name for name in few if (theirs / "template" / name).is_file()], "theirs")
    release(theirs, "v1003.0.0")
    change_source(project, str(theirs))
    lines = shaken(project, chance, few, "ours")
    commit(project)

    by_copier = Path(shutil.copytree(project, tmp_path / "by-copier"))
    update(by_copier)
    with Upstream.of(project).fetched() as template, worktree(project) as tree:
        target = attempt.choose(template, None, {})
        assert target is not None
        tried = attempt.try_out(template, target, tree, trust=False)
        result = {name: (tree.home / name).read_bytes() for name in files(tree.home)}
    assert result == {name: (by_copier / name).read_bytes() for name in files(by_copier)}
    kind = {change.path: change.kind for change in tried.changes}
    unmerged = execute(by_copier, "git", "diff", "--name-only", "--diff-filter=U").splitlines()
    assert {path for path, found in kind.items() if found == "conflict"} == set(unmerged)
    everything = b"".join(result.values())
    gone = {path for path, line in lines.items() if line.encode() not in everything}
    assert {path for path, found in kind.items() if found == "lost"} >= gone
    assert {path for path in lines if kind.get(path) == "lost"} == gone
    assert tried.stopped == bool(unmerged or gone or [path for path, found in kind.items() if found == "lost"])


@pytest.mark.soak
def test_a_stricter_gate_is_told_with_its_figures_and_nothing_of_the_pilots_changes(
    source: Path, tmp_path: Path
) -> None:
    """The champion of a pilot that has run is judged by the present code and by that of the next release."""
    theirs, home = tmp_path / "theirs", tmp_path / "pilot"
    execute(tmp_path, "git", "clone", "--quiet", str(source), str(theirs))
    copier_copy(theirs, home)
    charter = home / "charter.yaml"
    charter.write_text(charter.read_text(encoding="utf-8").replace("minGainOverRule: 0", "minGainOverRule: -9000"))
    run_in = {name: text for name, text in os.environ.items() if not name.startswith("GROUNDWORK_")}

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [PYTHON, "-m", "groundwork.cli.main", *words]
        environment = run_in | {"PYTHONPATH": str(home / "src")}
        return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)

    for verb in ("owners", "release", "ingest", "release", "ingest", "train"):
        assert (done := run(verb)).returncode == 0, done.stdout + done.stderr
    commit(home)
    judge = theirs / "template/src/groundwork/models/gate/judge.py"
    strict = judge.read_text(encoding="utf-8").replace("seen.lower >= line)", "seen.lower >= line + 20_000)")
    judge.write_text(strict, encoding="utf-8")
    release(theirs, "v1004.0.0")
    before = {str(path): path.read_bytes() for path in (home / "data").rglob("*") if path.is_file()}
    done = run("update", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    behaves = json.loads(done.stdout)["behaviour"]
    assert (behaves["gate_unknown"], behaves["check"]) == ("", "passes")
    [verdict] = behaves["verdicts"]
    assert (verdict["champion"], verdict["before"], verdict["after"]) == (True, True, False)
    [check] = verdict["differences"]
    assert check["name"] == "gain per 1,000 decisions over the no-model rule"
    assert check["before"].startswith("passed: required at least -9,000, found ")
    assert check["after"].startswith("failed: required at least -9,000, found ")
    assert {str(path): path.read_bytes() for path in (home / "data").rglob("*") if path.is_file()} == before
