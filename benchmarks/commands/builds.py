"""The two builds that are compared: each is a clone of this repository at a revision, and a pilot written from it."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parents[1]  # the environment of requirements-dev.txt, in which this runs
# No setting or environment of the person who measures may decide what is measured.
ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith(
        ("GROUNDWORK_", "MLFLOW_", "PREFECT_", "COPIER_", "VIRTUAL_ENV", "PYTHON", "UV_PROJECT", "GIT_")
    )
} | {"PATH": f"{os.environ['PATH']}{os.pathsep}{TOOLS / 'bin'}"}


@dataclass(frozen=True)
class Build:
    """One revision: a folder with its clone and, once it is made, its pilot."""

    name: str
    commit: str
    folder: Path

    @property
    def clone(self) -> Path:
        return self.folder / "groundwork"

    @property
    def pilot(self) -> Path:
        return self.folder / "late-flights"

    @property
    def data_commits(self) -> list[str]:
        """The commits of the snapshots: their number tells whether a command brought in anything."""
        return sorted(each.name for each in self.pilot.glob("data/snapshots/*/_delta_log/*.json"))

    def prepare(self, loop: bool) -> None:
        """Write and install the pilot, and run its loop once if that is wanted; what is there already is kept."""
        self._once("cloned", self._clone)
        self._once("installed", self._install)
        if loop:
            self._once("looped", lambda: run(self.pilot, ".venv/bin/groundwork", "up", "--once"))

    def _once(self, step: str, work: Callable[[], object]) -> None:
        done = self.folder / f"{step}.done"
        if not done.exists():
            print(f"{self.name}: to be {step}", file=sys.stderr, flush=True)
            work()
            done.touch()

    def _clone(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        run(ROOT, "git", "clone", "--quiet", "--no-checkout", str(ROOT), str(self.clone))
        run(self.clone, "git", "checkout", "--quiet", "--detach", self.commit)
        with (self.clone / ".git/info/exclude").open("a") as exclude:
            exclude.write("/.venv\n")  # or the link would be an uncommitted change, of which Copier warns
        (self.clone / ".venv").symlink_to(TOOLS)  # where scripts/demo looks for Copier

    def _install(self) -> None:
        """As scripts/demo does; and committed, as a pilot in use is."""
        shutil.rmtree(self.pilot, ignore_errors=True)
        answers = str(self.clone / "examples/late-flights.yml")
        copier = ["copier", "copy", "--quiet", "--defaults", "--vcs-ref", self.commit, "--data-file", answers]
        run(self.folder, *copier, str(self.clone), str(self.pilot))
        run(self.pilot, "uv", "sync", "--quiet")
        run(self.pilot, ".venv/bin/groundwork", "owners")
        who = ["-c", "user.name=Ada Lovelace", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false"]
        for verb in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--no-verify", "--message", "Begin"]):
            run(self.pilot, "git", *who, *verb)


def commit_of(revision: str) -> str:
    """The full hash of a revision of this repository."""
    return run(ROOT, "git", "rev-parse", "--verify", f"{revision}^{{commit}}").strip()


def run(folder: Path, *command: str) -> str:
    """What a command printed; if it fails, the program ends with its words."""
    done = subprocess.run(
        command, cwd=folder, env=ENVIRONMENT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    if done.returncode:
        sys.exit(f"`{' '.join(command)}` in {folder} ended with {done.returncode}:\n{done.stdout[-4000:]}")
    return done.stdout
