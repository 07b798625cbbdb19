"""What AGENTS.md tells coding agents, here and in a pilot, is true: tests/test_docs.py follows its links and paths."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from quoted import commands
from support import ROOT, execute

HERE, IN_PILOT = ROOT / "AGENTS.md", ROOT / "template/AGENTS.md"


@pytest.mark.parametrize("command", [command.text for command in commands(HERE)])
def test_commands_of_the_template_run(command: str, template: Path) -> None:
    """In a clone, with the Python of these tests; of what `make` takes minutes for, the steps are only looked at."""
    text = (
        re.sub(r"\s+#.*", "", command).replace("make ", "make --dry-run ").replace(".venv/bin/python", sys.executable)
    )
    said = execute(template, "bash", "-c", text)
    assert "no tests ran" not in said
    assert execute(template, "git", "status", "--porcelain") == ""  # the pages and schemas are in order already


def test_the_checks_of_a_pilot_are_those_of_its_ci(template: Path) -> None:
    told = [command.text for command in commands(IN_PILOT)]
    told = told[told.index("ops/delivery.sh conflicts") :]
    workflow = next((template / "template").glob("*github*/workflows/checks.yml"))
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]["checks"]["steps"]
    ran = [line for step in jobs for line in step.get("run", "").splitlines()]
    # `ops/delivery.sh template` judges a whole pull request, by what the platform says of it.
    assert told == [line for line in ran if not re.match(r"pipx |uv sync|uv cache|ops/delivery.sh template", line)]


def test_both_name_the_owners_as_copier_knows_them() -> None:
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    text = IN_PILOT.read_text(encoding="utf-8")
    [yours] = re.findall(r"^\| the team \| (.*?) \|", text, re.MULTILINE)
    made = {"docs/data-dictionary.md", "docs/clients.md"}  # of the documents: the page says so below the table
    assert {name.rstrip("/") for name in re.findall(r"`(.*?)`", yours)} == set(settings["_skip_if_exists"]) - made
    assert all(f"`{name}`" in text.partition("Never edit")[2] for name in made)
