"""What will behave otherwise after an update: `judge` and `check`, run with the present code and with the new.

Each runs as a command of its own, in the environment of its code. Nothing of the pilot's is written: the commands get
another data folder and another store, and read the snapshots and models where they are.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from groundwork.core.errors import shortened
from groundwork.core.settings import Settings
from groundwork.documents.updating.attempt import Update
from groundwork.documents.updating.worktree import Worktree
from groundwork.documents.upstream import run_aside

_PATIENCE = 1800  # seconds for one command on the pilot's own data
Progress = Callable[[str], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class CheckOfGate:
    """A check of the gate that differs with the new code; a text is empty where the code has no such check."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Rejudged:
    """The gate's verdict on one version, on the same data with the present and with the new code."""

    version: str
    champion: bool
    before: bool | None  # passed; None if it cannot be judged
    after: bool | None
    differences: list[CheckOfGate] = field(default_factory=list)

    @property
    def sentence(self) -> str:
        """The two verdicts in words."""
        words = {True: "passes", False: "is refused", None: "cannot be judged"}
        kind = "the champion" if self.champion else "the newest"
        if self.before == self.after:
            same = "with the same figures" if not self.differences else "with other figures"
            return f"version {self.version}, {kind}, {words[self.before]} before and after, {same}"
        return f"version {self.version}, {kind}, {words[self.before]} now, and {words[self.after]} with the new code"


@dataclass(frozen=True, kw_only=True)
class Behaviour:
    """What was found; what could not be found out is unknown, for a reason."""

    verdicts: list[Rejudged] = field(default_factory=list)
    gate_unknown: str = ""
    check: Literal["passes", "fails", "fails already", "unknown"] = "unknown"
    check_says: str = ""

    @property
    def check_sentence(self) -> str:
        """What `groundwork check` says with the new code, on one line."""
        why = " ".join(self.check_says.split())
        return {
            "passes": "passes with the new code",
            "fails": f"passes now, and will fail: {why}",
            "fails already": f"fails, now as well: {why}",
            "unknown": f"unknown: {why}",
        }[self.check]


@dataclass(frozen=True)
class _Code:
    """The code of one tree, the Python that runs it, and what its environment names."""

    home: Path
    python: str
    environment: Mapping[str, str]

    def run(self, verb: str) -> dict[str, Any]:
        """Returns what the verb prints as JSON; `error` if it fails."""
        code = str(self.home / "src")
        environment = _without_own(os.environ) | dict(self.environment) | {"GROUNDWORK_HOME": str(self.home)}
        try:
            done = subprocess.run(
                [self.python, "-m", "groundwork.cli.main", verb, "--json"],
                cwd=self.home,
                env=environment | {"PYTHONPATH": code},
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return {"error": shortened(str(error))}
        for line in reversed(done.stdout.splitlines()):
            if line.startswith("{"):
                return dict(json.loads(line))
        said = [line for line in done.stderr.splitlines() if line.strip()] or [f"it ended with {done.returncode}"]
        return {"error": shortened(said[-1])}


def compare(settings: Settings, update: Update, tree: Worktree, progress: Progress) -> Behaviour:
    """Run `check` and `judge` with the present code and with the new, and return what differs."""
    paths = [each.path for each in update.of_kind("conflict")]
    if conflicts := [path for path in paths if path.startswith("src/") or path == "pyproject.toml"]:
        reason = f"the new code has conflicts ({', '.join(conflicts)})"
        return Behaviour(gate_unknown=reason, check_says=reason)
    with tempfile.TemporaryDirectory(prefix="groundwork-judge-") as folder:
        with progress("environment of the new code"):
            python, problem = _environment(update, tree)
        if problem:
            return Behaviour(gate_unknown=problem, check_says=problem)
        present = _Code(settings.home, sys.executable, _aside(settings, Path(folder) / "present"))
        new = _Code(tree.home, python, _aside(settings, Path(folder) / "new"))
        with progress("check with the new code"):
            now, then = present.run("check"), new.run("check")
        with progress("judge with the present code"):
            before = present.run("judge")
        after = {}
        if "error" not in before:
            with progress("judge with the new code"):
                after = new.run("judge")
    verdicts, unknown = _verdicts(before, after)
    if "error" not in then:
        return Behaviour(verdicts=verdicts, gate_unknown=unknown, check="passes")
    check: Literal["fails", "fails already"] = "fails already" if "error" in now else "fails"
    return Behaviour(verdicts=verdicts, gate_unknown=unknown, check=check, check_says=str(then["error"]))


def _verdicts(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[list[Rejudged], str]:
    """Returns the verdicts on the versions that both have judged, or why they are unknown."""
    for which, said in (("present", before), ("new", after)):
        if "error" in said:
            return [], f"the {which} code cannot judge: {said['error']}"
    new = {each["version"]: each for each in after["judged"]}
    found = []
    for each in before["judged"]:
        other = new.get(each["version"])
        if other is None:
            continue
        found.append(
            Rejudged(
                version=each["version"],
                champion=each["champion"],
                before=each["passed"],
                after=other["passed"],
                differences=_differences(each, other),
            )
        )
    return found, "" if found else "the new code judged other versions"


def _differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[CheckOfGate]:
    """Returns the checks whose verdict, line or figure differs. CPU time always does, so that its verdict decides."""
    now, then = ({each["name"]: each for each in said["evidence"].get("checks", [])} for said in (before, after))
    found = []
    for name in {**now, **then}:
        one, other = now.get(name), then.get(name)
        parts = ("passed", "wanted") if name.startswith("CPU time") else ("passed", "wanted", "seen")
        if one and other and all(one[part] == other[part] for part in parts):
            continue
        found.append(CheckOfGate(name=name, before=_told(one), after=_told(other)))
    return found


def _told(check: Mapping[str, Any] | None) -> str:
    if check is None:
        return ""
    mark = {True: "passed", False: "failed", None: "unknown"}[check["passed"]]
    return f"{mark}: required {check['wanted']}, found {check['seen']}"


def _environment(update: Update, tree: Worktree) -> tuple[str, str]:
    """Returns the Python for the new code, or why there is none. Where the packages differ, uv installs them aside."""
    if not update.new_packages:
        return sys.executable, ""
    if not shutil.which("uv"):
        return "", "the new code needs other packages, and uv is not installed"
    try:
        run_aside("uv", "uv", "sync", "--quiet", "--project", str(tree.home))
    except Exception as error:
        return "", f"the packages of the new code cannot be installed: {error}"
    if tree.paths("ls-files", "-z", "uv.lock"):
        tree.git("add", "uv.lock")  # renewed by uv
    return str(tree.home / ".venv" / "bin" / "python"), ""


def _aside(settings: Settings, folder: Path) -> dict[str, str]:
    """Returns the variables by which a command reads the pilot's snapshots and models, and writes elsewhere."""
    folder.mkdir()
    tracking = settings.tracking_uri
    if tracking.startswith("sqlite:///"):  # a copy, because a newer MLflow may want to change it
        database = Path(tracking.removeprefix("sqlite:///"))
        tracking = f"sqlite:///{folder / 'mlflow.db'}"
        if database.is_file():
            with closing(sqlite3.connect(database)) as source, closing(sqlite3.connect(folder / "mlflow.db")) as copy:
                source.backup(copy)
    found = {
        "GROUNDWORK_DATA": str(folder / "data"),
        "GROUNDWORK_STORE_URL": f"sqlite:///{folder / 'groundwork.db'}",
        "GROUNDWORK_SNAPSHOTS_URL": settings.snapshots_url or str(settings.data_folder),
        "MLFLOW_TRACKING_URI": tracking,
    }
    if settings.signing_key_file.is_file():
        found["GROUNDWORK_SIGNING_KEY"] = str(settings.signing_key_file.resolve())
    return found


def _without_own(environment: Mapping[str, str]) -> dict[str, str]:
    own = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT")
    return {name: value for name, value in environment.items() if name not in own}
