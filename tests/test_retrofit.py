"""A pilot comes into a repository that exists as docs/how-to/retrofit.md says, and no byte of the team's is lost."""

import re
import tomllib
from pathlib import Path

import pytest

from quoted import Command, Done, Shell, commands
from support import PYTHON, ROOT, commit, execute, files

PAGE = ROOT / "docs/how-to/retrofit.md"
THEIRS = {
    "README.md": "# The shop\n\nSells things.\n",
    "AGENTS.md": "# Agents\n\nPrices are in cents.\n",
    "pyproject.toml": '[project]\nname = "shop"\nversion = "1.0.0"\ndependencies = ["httpx"]\n',
    ".gitignore": "*.log\n",
    "Dockerfile": "FROM scratch\n",
    ".github/workflows/checks.yml": "on: push\njobs: {}\n",
    "src/shop/__init__.py": "PRICE = 3\n",
    "tests/test_shop.py": "def test_price() -> None:\n    assert True\n",
}
MOVED = {"Dockerfile": "Dockerfile.shop", ".github/workflows/checks.yml": ".github/workflows/shop.yml"}
SHARED = {"AGENTS.md", "README.md", "pyproject.toml", ".gitignore"}


@pytest.fixture
def shop(template: Path, tmp_path: Path) -> Shell:
    """A shell in a team's repository, which was made without the template; REPOSITORY is that of the template."""
    folder = tmp_path / "shop"
    for name, text in THEIRS.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    commit(folder)
    return Shell(folder, tmp_path / "state")


def section(title: str) -> list[Command]:
    """The commands of the page below a heading."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    start = lines.index(f"## {title}")
    end = next((n for n, line in enumerate(lines) if n > start and line.startswith("## ")), len(lines))
    return [command for command in commands(PAGE) if start < command.line <= end]


def run(shell: Shell, command: str, template: Path) -> Done:
    """Run a command of the page; where it would ask questions, the answers of the demo are given."""
    answers = f"copy --defaults --data-file '{ROOT / 'examples/late-flights.yml'}' REPOSITORY"
    done = shell.run(command.replace("copy REPOSITORY", answers).replace("REPOSITORY", f"'{template}'"))
    assert done.code == 0, f"{command}\n{done.printed}\n{done.complaints}"
    return done


def test_copier_refuses_without_an_answer_and_changes_nothing(shop: Shell, template: Path) -> None:
    with pytest.raises(AssertionError, match="Interactive session required"):
        execute(shop.home, PYTHON, "-m", "copier", "copy", "--defaults", str(template), ".")
    assert execute(shop.home, "git", "diff", "HEAD") == ""


def test_in_a_folder_of_its_own_it_touches_nothing_else(shop: Shell, template: Path) -> None:
    for command in section("In a folder of its own"):
        if command.text.startswith("uv run groundwork"):  # in the environment of the tests, which has the same packages
            verb = command.text.removeprefix("uv run groundwork ")
            code = f"PYTHONPATH=src '{PYTHON}' -m groundwork.cli.main {verb}"
            assert "\u2717" not in run(shop, code, template).printed
        elif command.text != "uv sync":
            run(shop, command.text, template)
    assert execute(shop.home, "git", "diff", "HEAD") == ""
    new = set(files(shop.home)) - set(THEIRS)
    assert len(new) > 100
    assert {name for name in new if not name.startswith("pilots/late-flights/")} == set()


@pytest.mark.slow
def test_at_the_root_it_keeps_every_file_and_lists_what_to_merge(shop: Shell, template: Path) -> None:
    steps = section("At the root")
    titles = [command.text.split("\n")[0] for command in steps]
    listing = next(n for n, title in enumerate(titles) if title.startswith("diff "))
    for command in steps[:listing]:
        run(shop, command.text, template)
    assert execute(shop.home, "git", "diff", "HEAD") == ""
    assert differing(run(shop, steps[listing].text, template)) == SHARED | MOVED.keys()

    checked = ""
    for command in steps[listing + 1 :]:
        checked += run(shop, command.text, template).printed
    assert "\u2717" not in checked
    for name in THEIRS.keys() - {"pyproject.toml"}:
        kept = (shop.home / MOVED.get(name, name)).read_text(encoding="utf-8")
        assert kept.endswith(THEIRS[name]) if name in SHARED else kept == THEIRS[name], name
    groups = tomllib.loads((shop.home / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert any(package.startswith("httpx") for package in groups["use-case"])
    assert differing(run(shop, steps[listing].text, template)) == SHARED
    assert execute(shop.home, "git", "status", "--porcelain") == ""


def differing(listed: Done) -> set[str]:
    return set(re.findall(r"^Files \S+ and \./(\S+) differ$", listed.printed, re.MULTILINE))
