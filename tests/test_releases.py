"""What a release promises is checked before it is cut, and what the recorded releases promised still holds."""

import json
import re
import shutil
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import groundwork
import pytest
import release
import scan_moves
import yaml
from packaging.version import Version
from steps import scripts

from support import RELEASE, ROOT, commit, execute, releases

OLD, NEW, AFTER = "0.1.0", "0.2.0", "0.3.0"

# ------------------------------------------------------- what this repository says ----


def test_the_version_under_development_is_beyond_every_release() -> None:
    """Pilots that are written from main report it; what is released has no suffix."""
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev0)?", groundwork.__version__)
    assert Version(groundwork.__version__) > Version(releases()[0]["version"])


def test_the_changelog_has_every_release_with_its_date_and_its_lines_for_owners() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## \[(\S+)\] - (\S+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    dated = [(version, day) for version, day, _ in sections if version != groundwork.__version__]  # while it is cut
    assert dated == [(each["version"], str(each["date"])) for each in releases()]
    assert all(release.owners_lines(section) for _, _, section in sections)


def test_every_migration_is_listed_and_every_listed_one_is_there() -> None:
    assert scan_moves.unlisted(ROOT) == []


def test_the_version_in_a_pilots_pyproject_is_the_teams_own() -> None:
    """No release changes the line or its neighbours, so a team that raises it keeps it through every update."""
    name = "template/pyproject.toml.jinja"
    now = (ROOT / name).read_text(encoding="utf-8")
    for each in releases():
        then = execute(ROOT, "git", "show", f"{each['commit']}:{name}")
        assert now.splitlines()[:4] == then.splitlines()[:4]


def test_the_tests_run_with_the_tested_set() -> None:
    assert release.tested_set_is_installed(ROOT, NEW) == ""


@pytest.mark.slow
@pytest.mark.parametrize("recorded", releases(), ids=[each["version"] for each in releases()])
def test_no_file_of_a_release_is_gone_without_a_migration(template: Path, recorded: dict[str, Any]) -> None:
    assert scan_moves.unexplained(template, recorded, RELEASE) == []


# ------------------------------------------------------------- a small template ----


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A small template with one recorded release, and work since; its `make test` passes."""
    root = tmp_path / "small"
    for name in ("template/src/groundwork", "hooks/migrations"):
        (root / name).mkdir(parents=True)
    shutil.copytree(ROOT / "scripts", root / "scripts", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "hooks/migrations/steps.py", root / "hooks/migrations")
    written = {
        ".gitignore": "__pycache__\n",
        "Makefile": f"release:\n\t@{sys.executable} scripts/release.py $(VERSION)\ntest:\n\t@test ! -e broken\n",
        "copier.yml": "_subdirectory: template\n_migrations: []\nci: {type: str, choices: [github, none]}\n",
        "template/page.md": "A page.\n",
        "template/{% if ci == 'github' %}.github{% endif %}/checks.yml": "on: push\n",
        "template/pyproject.toml.jinja": '# <tested-set>\nconstraint-dependencies = ["a==1.0"]\n# </tested-set>\n',
        "requirements-dev.txt": "a==1.0 \\\n    --hash=sha256:0\nb==2.0\n",
        release.VERSION: f'__version__ = "{OLD}"\n',
        release.CHANGELOG: "# Changelog\n\n## [0.1.0] - 2026-11-28\n\n### For project owners\n\nNothing to do.\n",
    }
    for name, text in written.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    execute(root, "git", "init", "--quiet", "--initial-branch", "main")
    commit(root)
    first = {"version": OLD, "commit": execute(root, "git", "rev-parse", "HEAD").strip(), "owners": ["Nothing."]}
    (root / release.RECORD).write_text("# Newest first.\n" + yaml.safe_dump([first], sort_keys=False))
    (root / release.VERSION).write_text(f'__version__ = "{NEW}.dev0"\n')
    changed(
        root,
        release.CHANGELOG,
        "## [0.1.0]",
        "## [Unreleased]\n\n### Added\n\n- A page.\n\n### For project owners\n\n"
        "- Run `uv sync`,\n  then look.\n- Nothing else.\n\n## [0.1.0]",
    )
    commit(root)
    return root


def changed(root: Path, name: str, old: str, new: str) -> None:
    text = (root / name).read_text()
    assert old in text
    (root / name).write_text(text.replace(old, new, 1))


def state(root: Path) -> str:
    """Everything that a release may change: commits, tags, files."""
    return "".join(
        execute(root, "git", *command)
        for command in (["rev-parse", "HEAD"], ["tag"], ["status", "--porcelain"], ["diff", "HEAD"])
    )


def test_a_release_is_committed_recorded_and_tagged(small: Path) -> None:
    before = state(small)
    printed = execute(small, "make", "release", f"VERSION={NEW}")
    assert len(re.findall("^ok ", printed, re.MULTILINE)) == len(release.CHECKS) + 2
    assert printed.endswith("git push --atomic origin main v0.2.0\n")
    execute(small, "git", "clone", "--quiet", "--bare", ".", "../published")
    execute(small, "git", "remote", "add", "origin", "../published")
    execute(small, "git", "push", "--atomic", "origin", "main", "v0.2.0")
    assert execute(small, "git", "status", "--porcelain") == ""
    released, first = release.recorded(small)
    assert released == {
        "version": NEW,
        "commit": execute(small, "git", "rev-parse", "HEAD~1").strip(),
        "date": date.today(),
        "owners": ["Run `uv sync`, then look.", "Nothing else."],
    }
    assert first["version"] == OLD
    assert execute(small, "git", "cat-file", "-t", "v0.2.0").strip() == "tag"  # annotated, as Copier needs
    assert execute(small, "git", "rev-parse", "v0.2.0^{commit}").strip() == released["commit"]
    assert execute(small, "git", "show", f"v0.2.0:{release.VERSION}") == f'__version__ = "{NEW}"\n'
    dated = execute(small, "git", "show", f"v0.2.0:{release.CHANGELOG}")
    assert f"# Changelog\n\n## [{NEW}] - {date.today()}\n\n### Added\n\n- A page.\n" in dated
    assert "[Unreleased]" not in dated
    assert (small / release.VERSION).read_text() == f'__version__ = "{AFTER}.dev0"\n'
    assert (small / release.CHANGELOG).read_text() == dated.replace("## [0.2.0]", "## [Unreleased]\n\n## [0.2.0]")
    execute(small, "git", "tag", "--delete", "v0.2.0")  # as the page says, to take it back
    execute(small, "git", "reset", "--hard", "HEAD~2")
    assert state(small) == before


def test_a_second_run_completes_the_first(small: Path) -> None:
    release.cut(small, NEW)
    done = state(small)
    execute(small, "git", "tag", "--delete", "v0.2.0")  # as if the first had been killed before
    release.cut(small, NEW)
    assert state(small) == done


FAULTS: dict[str, list[Callable[[Path], object]]] = {
    "nothing is uncommitted": [lambda root: (root / "page.md").touch()],
    "this is the head of main": [lambda root: execute(root, "git", "switch", "--quiet", "--create", "other")],
    "it is the version under development": [lambda root: changed(root, release.VERSION, "0.2.0", "0.3.0"), commit],
    "its tag is free": [lambda root: execute(root, "git", "tag", "v0.2.0")],
    "the recorded releases are ancestors of this commit": [
        lambda root: changed(root, release.RECORD, release.recorded(root)[0]["commit"], "f" * 40),
        commit,
    ],
    "the changelog has entries, and says what owners must do": [
        lambda root: changed(root, release.CHANGELOG, "### For project owners", "### Changed"),
        commit,
    ],
    "the tests run with the tested set": [lambda root: changed(root, "requirements-dev.txt", "a==1.0", "a==1"), commit],
    "every migration is listed in copier.yml, and for no later release": [
        lambda root: (root / "hooks/migrations/v0_2_0.py").write_text("MOVES = {}\n"),
        commit,
    ],
    "no file of a release is gone without a migration": [
        lambda root: execute(root / "template", "git", "mv", "page.md", "pages.md"),
        commit,
    ],
    "`make test` passes": [lambda root: (root / "broken").touch(), commit],
}


@pytest.mark.parametrize("promise", FAULTS)
def test_a_promise_that_does_not_hold_stops_the_release(
    small: Path, promise: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In words that name it, and with nothing changed."""
    for step in FAULTS[promise]:
        step(small)
    before = state(small)
    with pytest.raises(release.Refused, match="Nothing was changed"):
        release.cut(small, NEW)
    assert re.findall(r"^no  (.*?): ", capsys.readouterr().out, re.MULTILINE) == [promise]
    assert state(small) == before


@pytest.mark.parametrize("version", ["0.1.0", "0.2.1", "0.3.0", "0.10.0", "2.0.0"])
def test_a_version_that_does_not_follow_the_last_is_refused(small: Path, version: str) -> None:
    assert release.version_is_next(small, version).startswith("after 0.1.0 comes 0.1.1, 0.2.0 or 1.0.0")
    assert [each for each in ("0.1.1", "0.2.0", "1.0.0") if release.version_is_next(small, each)] == []


def test_a_clone_that_is_behind_is_told_so(small: Path, tmp_path: Path) -> None:
    execute(tmp_path, "git", "clone", "--quiet", str(small), "clone")
    assert release.main_is_checked_out(tmp_path / "clone", NEW) == ""
    execute(tmp_path / "clone", "git", "reset", "--quiet", "--hard", "HEAD~1")
    assert release.main_is_checked_out(tmp_path / "clone", NEW) == "origin/main has 1 more commits: git pull"


def test_a_release_that_cannot_be_committed_leaves_nothing(small: Path) -> None:
    hook = small / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\ngrep -q 0.3.0.dev0 template/src/groundwork/__init__.py && exit 1 || exit 0\n")
    hook.chmod(0o755)  # it lets the first commit pass, and stops the second
    before = state(small)
    with pytest.raises(release.Refused):
        release.cut(small, NEW)
    assert state(small) == before


# ---------------------------------------------------------------------- the scan ----


def found(root: Path) -> list[str]:
    commit(root)
    return scan_moves.unexplained(root, release.recorded(root)[0])


@pytest.mark.parametrize(
    ("gone", "variant"),
    [("page.md", "ci=none"), ("{% if ci == 'github' %}.github{% endif %}/checks.yml", "ci=github")],
)
def test_the_scan_finds_a_file_that_is_gone_in_any_variant(small: Path, gone: str, variant: str) -> None:
    (small / "template" / gone).unlink()
    path = gone.replace("{% if ci == 'github' %}", "").replace("{% endif %}", "")
    assert f"0.1.0 with {variant}: {path} is gone, and no migration names it" in found(small)


def test_the_scan_finds_a_file_that_an_update_leaves_out(small: Path) -> None:
    changed(small, "copier.yml", "_migrations", "_exclude: [page.md]\n_migrations")
    assert len(found(small)) == 2


def test_the_scan_follows_a_file_through_several_releases(small: Path) -> None:
    execute(small / "template", "git", "mv", "page.md", "third.md")
    folder = small / "hooks/migrations"
    (folder / "v0_10_0.py").write_text('MOVES = {"second.md": "third.md"}\n')
    assert len(found(small)) == 2
    (folder / "v0_9_0.py").write_text('MOVES = {"page.md": "second.md"}\n')
    assert found(small) == []
    assert [path.name for path in scripts(folder).values()] == ["v0_9_0.py", "v0_10_0.py"]
    (folder / "v0_10_0.py").write_text('MOVES = {"second.md": "misspelt.md"}\n')
    assert "page.md moves to misspelt.md, which the template does not write" in found(small)[0]
    (folder / "v0_10_0.py").write_text('MOVES = {"second.md": None}\n')
    assert found(small) == []


def test_the_scan_finds_an_answer_that_is_no_choice_any_more(small: Path) -> None:
    changed(small, "copier.yml", "[github, none]", "[none]")
    (small / "template/{% if ci == 'github' %}.github{% endif %}/checks.yml").unlink()
    assert found(small) == ["0.1.0 with ci=github: github is no choice, and no migration replaces it"]
    script = small / "hooks/migrations/v0_2_0.py"
    script.write_text('MOVES = {".github/checks.yml": None}\nANSWERS = {"ci": {"github": "none"}}\n')
    assert found(small) == []


def test_a_migration_that_this_release_would_not_run_is_found(small: Path) -> None:
    (small / "hooks/migrations/v0_3_0.py").write_text("MOVES = {}\n")
    changed(small, "copier.yml", "_migrations: []", f"_migrations: {json.dumps([scan_moves.entry(Path('v0_3_0.py'))])}")
    assert release.migrations_are_listed(small, NEW) == "v0_3_0.py is for a later release than this"
    assert release.migrations_are_listed(small, AFTER) == ""


def test_a_listed_migration_without_its_script_is_found(small: Path) -> None:
    changed(small, "copier.yml", "_migrations: []", "_migrations: [{version: 0.2.0, command: 'true'}]")
    assert len(scan_moves.unlisted(small)) == 1
