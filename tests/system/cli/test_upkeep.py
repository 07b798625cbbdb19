"""The verbs that keep a pilot up to date, as they are typed."""

import hashlib
import json
from pathlib import Path

import pytest
from commands import groundwork
from templates import ANSWERS, FIRST, SECOND, commit, git, make_pilot, record, update, write

pytestmark = pytest.mark.usefixtures("in_process")


@pytest.fixture
def project(small_template: Path, tmp_path: Path) -> Path:
    return make_pilot(small_template, tmp_path / "pilot", SECOND)


def test_doctor_says_that_nothing_needs_a_hand(project: Path) -> None:
    """From a folder below, and although the charter is none that Groundwork could read."""
    done = groundwork("doctor", cwd=project / "src/use_case")
    assert done.returncode == 0, done.stdout
    first, second, third = done.stdout.splitlines()
    assert first.endswith(f" {SECOND}, the newest")
    assert second.startswith("files     exactly the template's; sha256 ")
    assert third == "✓ nothing needs a hand"


def test_what_doctor_prints_can_be_applied(project: Path) -> None:
    original = {name: (project / name).read_text() for name in ("ruff.toml", "src/groundwork/loop.py")}
    for name, text in original.items():
        write(project, name, f"\t[red]first[/]\n{text}" + "x" * 300)
    commit(project)
    done = groundwork("doctor", cwd=project)
    assert done.returncode == 1
    assert done.stdout.count("✗ ") == 2
    write(project.parent, "said", done.stdout)
    git(project, "apply", "--reverse", "--include", "ruff.toml", str(project.parent / "said"))
    git(project, "apply", "--reverse", str(project.parent / "said"), "--include", "src/groundwork/loop.py")
    assert {name: (project / name).read_text() for name in original} == original


def test_doctor_as_json_has_everything(project: Path) -> None:
    write(project, "ruff.toml", "line-length = 90\n")
    write(project, "src/groundwork/a_leftover.py", "left = 1\n")
    commit(project)
    done = groundwork("doctor", "--json", cwd=project)
    said = json.loads(done.stdout)
    assert (done.returncode, said["exact"], said["version"], said["releases_behind"]) == (1, False, SECOND, 0)
    edited, left = said["ailments"]
    assert (edited["kind"], edited["paths"]) == ("edited", ["ruff.toml"])
    assert (left["kind"], left["paths"]) == ("added", [code("a_leftover")])
    assert set(said["files"]) == {ANSWERS, ".gitignore", "README.md", "ruff.toml", *map(code, NAMES)}
    lines = "".join(f"{digest}  {path}\n" for path, digest in said["files"].items())  # as jq writes them in the guide
    assert hashlib.sha256(lines.encode()).hexdigest() == said["digest"]


NAMES = ("a_leftover", "added", "loop")


def code(name: str) -> str:
    return f"src/groundwork/{name}.py"


def test_doctor_says_what_it_could_not_find_out(project: Path) -> None:
    record(project, _src_path="/nowhere/groundwork.git")
    commit(project)
    done = groundwork("doctor", cwd=project)
    assert done.returncode == 2
    assert done.stdout.startswith("? unknown: the template /nowhere/groundwork.git cannot be fetched: ")


def test_doctor_verifies_a_change(small_template: Path, tmp_path: Path) -> None:
    project = make_pilot(small_template, tmp_path / "pilot", FIRST)
    update(project)
    commit(project)
    done = groundwork("doctor", "--since", "HEAD~1", cwd=project)
    assert done.returncode == 0
    assert done.stdout.startswith("✓ 6 files of the template are exactly those of v0.2.0 of ")
    write(project, "src/groundwork/loop.py", "import os\n")
    commit(project)
    done = groundwork("doctor", "--since", "HEAD~2", cwd=project)
    assert done.returncode == 1
    assert "✗ 1 of the template's files are not as v0.2.0 of " in done.stdout
    assert "+import os\n" in done.stdout
    done = groundwork("doctor", "--since", "HEAD~1", "--json", cwd=project)  # that change alone is no update
    assert (done.returncode, json.loads(done.stdout)["wrong"]) == (0, ["src/groundwork/loop.py"])
