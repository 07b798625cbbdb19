"""What the tests do over and over: run commands, find tools and ports, commit, release, write a project."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import copier
import pytest
import yaml

ROOT = Path(__file__).parents[1]
RELEASE = "v1000.0.0"  # above every real one, so that this is the version that a copy chooses
ROOMS = ("data", "documents", "models", "monitoring", "pipeline", "readiness", "service", "store")
PYTHON = sys.executable  # with the tools of requirements-dev.txt

HOSTILE_ANSWERS: dict[str, Any] = {
    "project_name": 'Who\'s "late" # again: 🛫',
    "decision": "{{ 7*7 }} C:\\new",
    "decision_owner": 'O\'Brien "Obi" Überall @obi',
    "hit_value": "12.50",
    "action_cost": 3,
    "day0": "2026-11-23",
    "ci": "gitlab",
}


def execute(folder: Path, *command: str) -> str:
    """Run a command in a folder and return what it printed; if it fails, the test fails with its words."""
    done = subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stdout[-8000:]}"
    return done.stdout


def missing(reason: str) -> NoReturn:
    """Skip the test for want of something on this machine; on a machine of CI's, fail."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def tool(*names: str, lacking: str) -> str:
    """The first of these commands that there is, also beside the Python that runs the tests; `lacking` if none is."""
    path = f"{Path(PYTHON).parent}{os.pathsep}{os.environ['PATH']}"
    return next(filter(None, (shutil.which(name, path=path) for name in names)), None) or missing(lacking)


def free_port(address: str = "127.0.0.1") -> int:
    """A port of this machine on which nothing listens."""
    with socket.socket() as free:
        free.bind((address, 0))
        return int(free.getsockname()[1])


def wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Until the process answers there."""
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)


@contextmanager
def serving(pilot: Path, log: Path, home: Path | None = None, **environment: str) -> Iterator[str]:
    """The address of the pilot's service once it is ready; with `home`, of the documents and data in that folder."""
    port = free_port()
    with log.open("w") as out:
        process = subprocess.Popen(
            [pilot / ".venv/bin/groundwork", "serve"],
            cwd=home or pilot,
            env=os.environ | environment | {"GROUNDWORK_PORT": str(port)},
            stdout=out,
            stderr=out,
        )
    try:
        wait_for(f"http://127.0.0.1:{port}/health/ready", process, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        ended = process.wait(20)
    assert ended == 0, log.read_text()


class Project:
    """A project that runs in the environment of another one, which is installed."""

    def __init__(self, folder: Path, environment: Path) -> None:
        self.folder = folder
        self._python = str(environment / "bin/python")

    def run(self, *module: str) -> str:
        return execute(self.folder, "env", f"PYTHONPATH={self.folder / 'src'}", self._python, "-m", *module)


def files(folder: Path) -> list[str]:
    """What git knows of in a folder, or would add: nothing that was deleted, nothing ignored."""
    listed = execute(folder, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    return [name for name in listed if (folder / name).is_file()]


def commit(folder: Path) -> None:
    """Commit everything in a folder; make it a repository first, if it is none."""
    execute(folder, "git", "init", "--quiet")
    execute(folder, "git", "add", "--all")
    execute(folder, "git", "-c", "commit.gpgsign=false", "commit", "--quiet", "--no-verify", "--message", "Change")


def release(folder: Path, version: str) -> None:
    """Commit everything in a template and tag it as a version."""
    commit(folder)
    execute(folder, "git", "-c", "tag.gpgsign=false", "tag", "--annotate", version, "--message", version)


def copy(template: Path, project: Path, vcs_ref: str | None = None, **answers: Any) -> None:
    """Write a project as `copier copy --defaults` does, without trust."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        copier.run_copy(str(template), project, answers, vcs_ref=vcs_ref, defaults=True, quiet=True, unsafe=False)


def update(project: Path, vcs_ref: str | None = None, **answers: Any) -> None:
    """Bring a project up to date as `copier update --defaults` does, without trust."""
    copier.run_update(project, data=answers, vcs_ref=vcs_ref, defaults=True, overwrite=True, quiet=True, unsafe=False)


def shrink(template: Path, folder: Path, versions: list[str]) -> None:
    """Write a template with these releases of another, without most of the system's modules: quick to copy."""
    for version in versions:
        execute(template, "git", "archive", "--output", f"{folder}.tar", version)
        for name in files(folder) if folder.exists() else []:
            (folder / name).unlink()
        shutil.unpack_archive(f"{folder}.tar", folder)
        for heavy in ("tests", "docs", *(f"template/src/groundwork/{room}" for room in ROOMS)):
            shutil.rmtree(folder / heavy, ignore_errors=True)
        release(folder, version)


def variants() -> dict[str, dict[str, Any]]:
    """The answers of each supported combination, by its name in variants.yaml."""
    listed = yaml.safe_load((ROOT / "tests/variants.yaml").read_text(encoding="utf-8"))
    return {
        each["name"]: from_file(each["file"]) | each["answers"] if "file" in each else each["answers"]
        for each in listed
    }


def from_file(name: str) -> dict[str, Any]:
    """The answers that a file of this repository holds."""
    answers: dict[str, Any] = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    return answers


def releases() -> list[dict[str, Any]]:
    """The recorded releases, newest first: version, commit, date, and lines for owners of pilots."""
    recorded: list[dict[str, Any]] = yaml.safe_load((ROOT / "releases.yaml").read_text(encoding="utf-8"))
    return recorded


def tag_releases(clone: Path) -> None:
    """Tag each recorded release in a clone of this repository, whose tags need not have travelled with it."""
    for recorded in releases():
        name = f"v{recorded['version']}"
        execute(
            clone,
            "git",
            "-c",
            "tag.gpgsign=false",
            "tag",
            "--force",
            "--annotate",
            name,
            recorded["commit"],
            "-m",
            name,
        )
