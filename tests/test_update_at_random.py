"""Projects with random answers and random edits within the ownership rule are updated, and lose nothing."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from support import commit, copy, execute, files, release, releases, shrink, update

RECORDED = [f"v{each['version']}" for each in reversed(releases())]
NOW, LATER, LAST = "v1000.0.0", "v1001.0.0", "v1002.0.0"
PROJECTS, IN_SLOW = 50, 6
SHARED = {"README.md": "<!-- ---- Above: ", "pyproject.toml": "# ---- Above: ", ".gitignore": "# ---- Above: "}
YOURS = ("charter.yaml", "contract.yaml", "OWNERS", "docs/data-dictionary.md", "docs/clients.md")
YOUR_FOLDERS = ("ops/kubernetes/overlays/", "src/use_case/", "tests/use_case/")
WORDS = ["late", "uv run pytest", "# ---- ours ----", "=======", "- [ ] ours", "é🛫", "\tx = 1", "", "a  "]
ANSWERS: dict[str, list[str]] = {
    "project_name": ["Late flights", "yes", 'Who\'s "late" # again: 🛫', "2026-11-28", "null", "{{ 7*7 }} {% raw %}"],
    "decision": ["", "TBD", "Which of tomorrow's departures do we re-plan?", "off", "C:\\new"],
    "decision_owner": ["", "Ada Lovelace @ada", 'O\'Brien "Obi" Überall @on'],
    "currency": ["EUR", "YES"],
    "hit_value": ["400", "12.50"],
    "action_cost": ["3", "0.5"],
    "day0": ["", "2026-11-23"],
    "ci": ["github", "gitlab", "none"],
}
NEW_FILES = [
    "docs/notes.md",
    "docs/decisions/Überblick 🛫.md",
    'docs/it\'s "odd" [1] {a}.txt',
    "src/use_case/weather.py",
    "src/use_case/features/delays.py",
    "tests/use_case/sample.duckdb",
    "tests/use_case/test_weather.py",
    "ops/kubernetes/overlays/staging/more.yaml",
    "ops/terraform/main.tf",
    ".github/workflows/ours.yml",
    ".gitattributes",
    "notebooks/first look.ipynb",
    "readiness.yaml",
    "uv.lock",
]
CONTENTS = [b"", b"ours", b"ours\n", b"one\r\ntwo\r\n", bytes(range(256)) * 9, b"l\xe4tin\n", b"#!/bin/sh\nexit 0\n"]


# ---- the template ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def source(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recorded releases, the present state, and two later ones, each without most of the system's modules."""
    folder = tmp_path_factory.mktemp("shrunk") / "groundwork"
    shrink(template, folder, [*RECORDED, NOW])
    for version in (LATER, LAST):
        change(folder, version)
        release(folder, version)
    return folder


def change(source: Path, version: str) -> None:
    """A release within the rule: it changes files of each owner, adds, drops, and asks one more question."""
    dice, template = random.Random(version), source / "template"
    question = f"\nasked_{version[1:5]}:\n  type: str\n  help: Is there one more?\n  default: more\n"
    (source / "copier.yml").write_text((source / "copier.yml").read_text(encoding="utf-8") + question, encoding="utf-8")
    for name, line in SHARED.items():
        path = template / f"{name}.jinja"
        above, boundary, below = path.read_text(encoding="utf-8").partition(line)
        path.write_text(edited(dice, above) + f"# {version}\n" + boundary + below, encoding="utf-8")
    owned = [name for name in files(template) if name.removesuffix(".jinja") not in SHARED]
    yours = [name for name in owned if is_yours(name)]
    plain = [name for name in owned if not is_yours(name) and not name.endswith(".jinja")]
    for name in dice.sample(yours, 8) + dice.sample(plain, 20):
        path = template / name
        path.write_text(edited(dice, path.read_text(encoding="utf-8")), encoding="utf-8")
    for folder in ("src/groundwork", "src/use_case", "docs", "ops/later", "tests/system"):
        (template / folder).mkdir(exist_ok=True)
        (template / folder / f"added_{version[1:5]}.md").write_text(version)
    for name in (dice.choice(plain), dice.choice([name for name in yours if name.endswith(".py")])):
        (template / name).unlink()


def is_yours(name: str) -> bool:
    return name.removesuffix(".jinja") in YOURS or name.startswith(YOUR_FOLDERS)


def edited(dice: random.Random, text: str) -> str:
    """The text after some lines were added, changed and taken out, the first and the last ones among them."""
    lines = text.splitlines(keepends=True)
    for _ in range(dice.randint(1, 5)):
        place = dice.choice([0, len(lines), dice.randint(0, len(lines))])
        end = place + dice.choice([0, 0, 1, 3])
        if "{%" not in "".join(lines[place:end]):  # the template must stay one
            lines[place:end] = [f"{dice.choice(WORDS)}\n"] * dice.randint(0, 3)
    return "".join(lines)


# ---- the team --------------------------------------------------------------------------------------------------------


def work(dice: random.Random, project: Path) -> None:
    """What a team does to its project within the rule: to its own files, new ones, and below the line."""
    for name in files(project):
        path = project / name
        if not is_yours(name):
            continue
        does = dice.choice(["keep", "keep", "edit", "edit", "replace", "delete"])
        if does == "edit":
            path.write_text(edited(dice, path.read_text(encoding="utf-8")), encoding="utf-8")
        elif does == "replace":
            path.write_bytes(dice.choice(CONTENTS))
        elif does == "delete" and name not in YOURS:
            path.unlink()
    for name in dice.sample(NEW_FILES, 5):
        path = project / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.choice(CONTENTS))
        path.chmod(dice.choice([0o644, 0o755]))
    (project / "docs/latest").symlink_to("notes.md")
    for name, line in SHARED.items():
        above, boundary, below = (project / name).read_text(encoding="utf-8").partition(line)
        end = boundary + below.partition("\n")[0] + "\n"
        lower = below.partition("\n")[2]
        lower = dice.choice([lower, edited(dice, lower), edited(dice, lower), "ours\n" + lower, ""])
        (project / name).write_text(above + end + lower, encoding="utf-8")


def holds(project: Path) -> dict[str, tuple[bytes, str]]:
    """What git has of each file, and its mode: whether it can be executed, or is a link."""
    staged = execute(project, "git", "ls-files", "-z", "--stage").split("\0")
    paths = {line.partition("\t")[2]: line.partition(" ")[0] for line in staged if line}
    links = {name: str((project / name).readlink()).encode() for name, mode in paths.items() if mode == "120000"}
    return {name: (links.get(name) or (project / name).read_bytes(), mode) for name, mode in paths.items()}


# ---- the update ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def written(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a project of a release, as it is without edits; the same one only once."""
    done: dict[tuple[str, ...], Path] = {}

    def write(version: str, answers: dict[str, str]) -> Path:
        key = (version, *answers.values())
        if key not in done:
            done[key] = tmp_path_factory.mktemp("written") / "pilot"
            copy(source, done[key], vcs_ref=version, **answers)
            commit(done[key])
        return done[key]

    return write


@pytest.mark.parametrize(
    "seed",
    [pytest.param(seed, marks=pytest.mark.slow if seed < IN_SLOW else pytest.mark.soak) for seed in range(PROJECTS)],
)
def test_no_edit_within_the_rule_is_lost(seed: int, written: Callable[..., Path], tmp_path: Path) -> None:
    """And what is the template's is as the release wrote it, whichever releases the project went through."""
    dice, draw = random.Random(seed), random.Random(seed % 10)
    answers = {name: draw.choice(choices) for name, choices in ANSWERS.items()}
    begun, project = dice.choice(RECORDED), tmp_path / "pilot"
    shutil.copytree(written(begun, answers), project, symlinks=True)
    new = written(LAST, answers)
    work(dice, project)
    commit(project)
    ours = holds(project)
    between = [*RECORDED[RECORDED.index(begun) + 1 :], NOW, LATER]
    for version in [*sorted(dice.sample(between, dice.choice([0, 0, 1, 2])), key=between.index), LAST]:
        update(project, vcs_ref=version)
        assert execute(project, "git", "ls-files", "--unmerged") == ""
        commit(project)

    is_now, fresh, begun_as = holds(project), holds(new), holds(written(begun, answers))
    for name in SHARED:
        line = SHARED[name].encode()
        (above, _, _), (_, _, below) = fresh.pop(name)[0].partition(line), ours.pop(name)[0].partition(line)
        assert is_now.pop(name)[0] == above + line + below, name
    answers_file = is_now.pop(".copier-answers.yml")[0]
    assert answers_file == fresh.pop(".copier-answers.yml")[0]
    owned = {name: content for name, content in fresh.items() if not is_yours(name)}
    kept = {name: content for name, content in ours.items() if is_yours(name) or name not in begun_as}
    assert is_now == kept | owned
