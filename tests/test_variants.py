"""The supported combinations of answers differ in so little that most of a pilot has to be run only once."""

import filecmp
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import ROOT, from_file, variants

LISTED: list[dict[str, Any]] = yaml.safe_load((ROOT / "tests/variants.yaml").read_text(encoding="utf-8"))
CI = ("github", "gitlab", "none")
CI_FILES = re.compile(r"\.github/workflows/[a-z]+\.yml|\.gitlab-ci\.yml")
WITH_ANSWERS = {  # and nothing else holds an answer's text
    ".copier-answers.yml",
    "OWNERS",
    "README.md",
    "charter.yaml",
    *(
        f"ops/kubernetes/overlays/{stage}/{part}kustomization.yaml"
        for stage in ("production", "staging")
        for part in ("", "images/")
    ),
    "pyproject.toml",
}


@pytest.fixture(scope="module")
def projects(render: Callable[..., Path]) -> dict[str, Path]:
    """A project for each CI with all questions answered, and one with none answered."""
    answered = {ci: render(**from_file("examples/late-flights.yml") | {"ci": ci}) for ci in CI}
    return answered | {"open": render()}


def content(project: Path) -> set[str]:
    return {path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()}


def differing(one: Path, other: Path) -> set[str]:
    """The files that only one of two projects has, and those that are not the same in both."""
    here, there = content(one), content(other)
    same = filecmp.cmpfiles(one, other, here & there, shallow=False)[0]
    return (here | there) - set(same)


@pytest.mark.parametrize("ci", ["gitlab", "none"])
def test_the_ci_decides_on_its_own_files_and_nothing_else(ci: str, projects: dict[str, Path]) -> None:
    found = differing(projects["github"], projects[ci])
    assert {name for name in found if not CI_FILES.fullmatch(name)} == {".copier-answers.yml"}
    kept, other = ((projects[each] / ".copier-answers.yml").read_text(encoding="utf-8") for each in ("github", ci))
    assert other == kept.replace("ci: github\n", f"ci: {ci}\n")


def test_the_other_answers_change_documents_and_no_code(projects: dict[str, Path]) -> None:
    assert differing(projects["github"], projects["open"]) == WITH_ANSWERS
    one, other = (
        tomllib.loads((projects[each] / "pyproject.toml").read_text(encoding="utf-8")) for each in ("github", "open")
    )
    assert one["project"].keys() == other["project"].keys()
    assert {key for key in one["project"] if one["project"][key] != other["project"][key]} == {"name", "description"}
    assert one | {"project": None} == other | {"project": None}


def test_each_ci_and_each_example_is_listed() -> None:
    listed = variants()
    assert {answers.get("ci", "github") for answers in listed.values()} == set(CI)
    named = {each.get("file") for each in LISTED}
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*.yml")} <= named
    assert {} in listed.values()


@pytest.mark.parametrize("each", LISTED, ids=list(variants()))
def test_each_part_of_a_variant_has_a_test_that_runs_it(each: dict[str, Any]) -> None:
    assert set(each["run"]) == {"own checks", "loop", "image", "workflow files"}
    for part, run in each["run"].items():
        file, _, name = run.partition("::")
        if name:
            assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8"), run
        elif run == "none":
            assert (each["answers"].get("ci"), part) == ("none", "workflow files")
        else:
            [there] = [other for other in LISTED if run == f"as {other['name']}"]
            assert "::" in there["run"][part]
