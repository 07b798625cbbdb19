"""The jobs of a pilot's CI, read from the files of GitHub Actions and GitLab CI, and run as their runners would."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import yaml

SETUP = re.compile(r"pipx? install|apt-get|^cd |docker login|^cat ")


class Block(NamedTuple):
    """What one shell runs."""

    script: str
    environment: dict[str, str]
    id: str = ""
    even_after_failure: bool = False
    only_if: str = ""


class Job(NamedTuple):
    """What a job runs, and what it hands on: outputs of GitHub, by name, or GitLab's file of them."""

    blocks: list[Block]
    outputs: dict[str, str]
    output_file: str = ""

    @property
    def lines(self) -> list[str]:
        return [line for block in self.blocks for line in block.script.splitlines()]

    @property
    def commands(self) -> list[str]:
        """Its lines, but for those by which a platform gets its tools, and reports."""
        return [re.split(r" \| tee | # ", line)[0].strip() for line in self.lines if not SETUP.search(line)]


def github(project: Path) -> dict[str, Job]:
    """The jobs of its workflows that run something, by name."""
    found = {}
    for file in sorted((project / ".github/workflows").glob("*.yml")):
        workflow = yaml.safe_load(file.read_text(encoding="utf-8"))
        for name, job in workflow["jobs"].items():
            blocks = [
                Block(
                    f'cd "{workflow["defaults"]["run"]["working-directory"]}"\n{step["run"]}',
                    workflow.get("env", {}) | job.get("env", {}) | step.get("env", {}),
                    step.get("id", ""),
                    "failure()" in step.get("if", ""),
                    step.get("if", ""),
                )
                for step in job.get("steps", [])
                if "run" in step
            ]
            if blocks:
                found[name] = Job(blocks, job.get("outputs", {}))
    return found


def gitlab(project: Path) -> dict[str, Job]:
    """The jobs of its pipeline, by name; one shell runs a whole job."""
    content = yaml.safe_load((project / ".gitlab-ci.yml").read_text(encoding="utf-8"))
    variables = {name: value for name, value in content["variables"].items() if isinstance(value, str)}
    return {
        name: Job(
            [Block("\n".join([*job["before_script"], *job["script"]]), variables | job.get("variables", {}))],
            {},
            job.get("artifacts", {}).get("reports", {}).get("dotenv", ""),
        )
        for name, job in content.items()
        if isinstance(job, dict) and "script" in job
    }


class Ended(NamedTuple):
    code: int
    printed: str
    summary: str
    outputs: dict[str, str]


class Runner:
    """Runs jobs in a folder with stand-ins for the commands that would reach outside; they note what they are asked."""

    def __init__(self, folder: Path, state: Path, known: dict[str, str], **answers: str) -> None:
        """`known` holds GitHub's contexts or GitLab's variables, `answers` what each stand-in does, in Python."""
        self.folder, self.state, self.known = folder, state, known
        self.tools = state / "bin"
        self.tools.mkdir(parents=True)
        for name, answer in answers.items():
            tool = self.tools / name.replace("_", "-")
            tool.write_text(STAND_IN.format(python=sys.executable, notes=state / "notes", answer=answer))
            tool.chmod(0o755)

    def asked(self, tool: str) -> list[list[str]]:
        """The arguments of each call of a stand-in."""
        notes = (self.state / "notes").read_text().splitlines() if (self.state / "notes").exists() else []
        return [call[1:] for call in map(json.loads, notes) if call[0] == tool]

    def run(self, job: Job) -> Ended:
        code, printed, steps = 0, "", dict[str, str]()
        summary = self.state / "summary"
        summary.write_text("")
        for number, block in enumerate(job.blocks):
            if code and not block.even_after_failure:
                continue
            if "DELIVER" in block.only_if and self.known.get("vars.DELIVER") != "true":
                continue
            output = self.state / f"output-{number}"
            output.write_text("")
            environment = {
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("GROUNDWORK_", "GITHUB_", "CI_")) and name not in ("VIRTUAL_ENV", "PYTHONPATH")
            }
            environment |= {
                "PATH": f"{self.tools}{os.pathsep}{os.environ['PATH']}",
                "GITHUB_OUTPUT": str(output),
                "GITHUB_STEP_SUMMARY": str(summary),
                "GITHUB_ACTOR": "ada",
                **{name: value for name, value in self.known.items() if name.isupper()},
                **{name: self._filled_in(str(value)) for name, value in block.environment.items()},
            }
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", block.script],
                cwd=self.folder, env=environment, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
            code, printed = code or done.returncode, printed + done.stdout
            steps |= {f"steps.{block.id}.outputs.{name}": value for name, value in pairs(output)}
        outputs = {name: steps.get(value.strip("${ }"), "") for name, value in job.outputs.items()}
        if job.output_file and not code:
            file = re.sub(r"\$(\w+)", lambda found: job.blocks[0].environment[found[1]], job.output_file)
            outputs = dict(pairs(self.folder / file))
        return Ended(code, printed, summary.read_text(), outputs)

    def _filled_in(self, value: str) -> str:
        """With what GitHub or GitLab would put there; what neither has fails the test."""
        value = re.sub(r"\$\{\{ (.+?) }}", lambda found: self.known[found[1]], value)
        return re.sub(r"\$(\w+)", lambda found: self.known[found[1]], value)


def pairs(file: Path) -> list[tuple[str, str]]:
    """The lines NAME=VALUE of a file."""
    return [(name, value) for name, _, value in (line.partition("=") for line in file.read_text().splitlines())]


STAND_IN = """#!{python}
import json, pathlib, sys
name, *arguments = pathlib.Path(sys.argv[0]).name, *sys.argv[1:]
with open("{notes}", "a") as notes:
    notes.write(json.dumps([name, *arguments]) + "\\n")
{answer}
"""
