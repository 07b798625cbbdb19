"""Measures how long `groundwork-fleet` takes for many pilots: `python benchmarks/fleet/run.py [--pilots 200]`.

Four pilots are written from this repository, two of each of two versions, with edits of the template's files, a
decision, and an update on a branch; the others are clones of them (`git clone --shared`), each with its own charter.
They are read twice: as paths, and over HTTP from git's own http-backend, as from a company's server. Needs the packages
of requirements-dev.txt.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path

import copier
import yaml

sys.path.append(str(Path(__file__).parents[1]))
sys.path.append(str(Path(__file__).parents[2] / "tests"))

from page import publish

from serving_git import git_over_http
from support import ROOT, commit, execute, release, tag_releases

DOCS = ROOT / "docs/how-to/maintain-a-fleet.md"
BEFORE, NEXT = "v0.1.0", "v1000.0.0"


def template_in(folder: Path) -> Path:
    """A clone of this repository with two releases: the recorded 0.1.0, and what is committed now."""
    clone = folder / "groundwork"
    execute(ROOT, "git", "clone", "--quiet", str(ROOT), str(clone))
    tag_releases(clone)
    (clone / "RELEASE").write_text(NEXT)
    release(clone, NEXT)
    return clone


def originals(template: Path, folder: Path) -> list[Path]:
    """Four pilots: as made, edited, decided, and with an update on a branch."""
    made = []
    for number, version in enumerate((NEXT, NEXT, BEFORE, BEFORE)):
        project = folder / f"original-{number}"
        answers = {"decision_owner": "Ada Lovelace @ada", "ci": "gitlab" if number == 1 else "github"}
        copier.run_copy(str(template), project, data=answers, vcs_ref=version, defaults=True, quiet=True)
        commit(project)
        made.append(project)
    (made[1] / "ruff.toml").write_text("line-length = 80\n")
    (made[1] / "mypy.ini").unlink()
    decisions = [{"on": "2026-11-20", "outcome": "extend", "by": ["ada", "grace"]}]
    (made[2] / "decision-record.yaml").write_text(yaml.safe_dump({"decisions": decisions}))
    for project in made[1:3]:
        commit(project)
    execute(made[3], "git", "checkout", "--quiet", "-b", "update")
    copier.run_update(made[3], defaults=True, overwrite=True, quiet=True)
    commit(made[3])
    execute(made[3], "git", "checkout", "--quiet", "-")
    return made


def cloned(made: list[Path], folder: Path, number: int) -> list[Path]:
    """That many repositories, each with a charter of its own, and with the branches of what it is a clone of."""
    found = []
    for index in range(number):
        project = folder / f"pilot-{index:03}"
        execute(folder, "git", "clone", "--quiet", "--shared", str(made[index % len(made)]), str(project))
        execute(project, "git", "config", "uploadpack.allowFilter", "true")  # as companies' servers do
        if index % len(made) == 3:
            execute(project, "git", "branch", "--quiet", "update", "origin/update")
        charter = project / "charter.yaml"
        text = charter.read_text().replace("New pilot", f"Pilot {index}")
        charter.write_text(text.replace("day0: TBD", f"day0: {date(2026, 8, 1 + index % 28)}"))
        commit(project)
        found.append(project)
    return found


def measured(template: Path, repositories: list[str]) -> tuple[float, float, Counter[str]]:
    """The seconds, the CPU seconds of all processes, and how often each fact was found."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "groundwork_fleet.cli", "--json", "--template", str(template), *repositories]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "fleet/src")}
    done = subprocess.run(command, env=environment, text=True, stdout=subprocess.PIPE)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    pilots = json.loads(done.stdout)["pilots"]
    found = Counter(column for pilot in pilots for column, fact in pilot["facts"].items() if not fact["unknown"])
    assert not [pilot["problem"] for pilot in pilots if pilot["problem"]]
    assert Counter(fact["text"] == "none" for fact in (each["facts"]["edited"] for each in pilots))[False] > 0
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pilots", type=int, default=200)
    parser.add_argument("--publish", action="store_true", help="write the figures into the how-to")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        template = template_in(Path(folder))
        made = originals(template, Path(folder))
        paths = cloned(made, Path(folder), options.pilots)
        lines = ["| repositories | seconds | CPU seconds |", "| --- | --- | --- |"]
        with git_over_http(Path(folder)) as address:
            for where, listed in (
                ("on this machine", [str(path) for path in paths]),
                ("over HTTP", [f"{address}/{path.name}/.git" for path in paths]),
            ):
                seconds, cpu, found = measured(template, listed)
                print(where, f"{seconds:.1f} s, CPU {cpu:.1f} s", dict(found), file=sys.stderr)
                lines.append(f"| {options.pilots} {where} | {seconds:.0f} | {cpu:.0f} |")
    note = (
        f"On {os.cpu_count()} shared cores, {platform.system()} {platform.machine()}, Python "
        f"{platform.python_version()}, load average {os.getloadavg()[0]:.1f}. Over HTTP the server ran on the same "
        "cores; its time is in the CPU seconds."
    )
    text = "\n".join([*lines, "", note])
    print(text)
    if options.publish:
        publish(DOCS, text)


if __name__ == "__main__":
    main()
