"""`copier update` brings what the template's next release changed, and keeps every file that is the team's as it is."""

from collections.abc import Callable
from pathlib import Path

import copier
import pytest
import yaml

from support import HOSTILE_ANSWERS, commit, copy, execute, release, releases, update

NEXT = "v1001.0.0"  # above conftest's RELEASE
OURS = "# ---- the team's ----\n"  # what the team writes into a file
THEIRS = "# ---- the next release's ----\n"  # what the template's next release writes into one
YOURS = [
    "charter.yaml",
    "contract.yaml",
    "OWNERS",
    "docs/data-dictionary.md",
    "docs/clients.md",
    "ops/kubernetes/overlays/staging/kustomization.yaml",
    "ops/kubernetes/overlays/production/images/kustomization.yaml",
    "src/use_case/source.py",
    "src/use_case/model.py",
    "tests/use_case/test_model.py",
]
SOURCES = {name: f"{name}.jinja" for name in YOURS if name.startswith(("charter", "OWNERS", "ops/"))}


def append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def prepend(path: Path, text: str) -> None:
    path.write_text(text + path.read_text(encoding="utf-8"), encoding="utf-8")


@pytest.fixture(scope="module")
def source(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A template of this module's own, to release a next version of."""
    folder = tmp_path_factory.mktemp("template") / "groundwork"
    execute(folder.parent, "git", "clone", "--quiet", str(template), str(folder))
    return folder


@pytest.fixture(scope="module")
def before(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project as its team keeps it: most of its own files changed, one deleted, one added."""
    project = tmp_path_factory.mktemp("before") / "pilot"
    copy(source, project, **HOSTILE_ANSWERS)
    for name in YOURS:
        append(project / name, OURS)
    pyproject = (project / "pyproject.toml").read_text(encoding="utf-8").replace('"0.1.0"', '"1.4.0"', 1)
    (project / "pyproject.toml").write_text(pyproject, encoding="utf-8")  # its version: above the line, and the team's
    (project / "src/use_case/seed.py").unlink()
    (project / "src/use_case/weather.py").write_text(OURS)
    for shared in ("AGENTS.md", "README.md", "pyproject.toml", ".gitignore"):
        append(project / shared, OURS)
    (project / "docs").mkdir(exist_ok=True)
    (project / "docs/notes.md").write_text(OURS)
    commit(project)
    return project


@pytest.fixture(scope="module")
def after(before: Path, source: Path) -> Path:
    """The same project, after a release that changes, adds and drops files of each owner."""
    template = source / "template"
    for name in [*YOURS, "src/use_case/seed.py", "src/use_case/decision.py"]:
        prepend(template / SOURCES.get(name, name), THEIRS)
    (template / "src/use_case/model.py").unlink()
    (template / "src/use_case/example.py").write_text(THEIRS)
    for name in ("AGENTS.md", "README.md.jinja", "pyproject.toml.jinja", ".gitignore.jinja", "ruff.toml"):
        prepend(template / name, THEIRS)
    (template / "mypy.ini").unlink()
    (template / "src/groundwork/added.py").write_text(THEIRS)
    release(source, NEXT)
    update(before)
    return before


def committed(project: Path, name: str) -> str:
    return execute(project, "git", "show", f"HEAD:{name}")


@pytest.mark.parametrize("name", YOURS)
def test_a_file_of_yours_stays_as_you_left_it(after: Path, name: str) -> None:
    text = (after / name).read_text(encoding="utf-8")
    assert text == committed(after, name)
    assert OURS in text


def test_a_file_of_yours_stays_even_where_you_never_touched_it(after: Path) -> None:
    assert (after / "src/use_case/decision.py").read_text() == committed(after, "src/use_case/decision.py")


def test_a_file_of_yours_that_you_deleted_stays_deleted(after: Path) -> None:
    assert not (after / "src/use_case/seed.py").exists()


def test_nothing_arrives_among_your_files(after: Path) -> None:
    assert not (after / "src/use_case/example.py").exists()
    assert (after / "src/use_case/weather.py").read_text() == OURS
    assert (after / "docs/notes.md").read_text() == OURS


def test_the_templates_files_are_brought_up_to_date(after: Path) -> None:
    assert (after / "ruff.toml").read_text() == THEIRS + committed(after, "ruff.toml")
    assert (after / "src/groundwork/added.py").read_text() == THEIRS
    assert not (after / "mypy.ini").exists()


@pytest.mark.parametrize("name", ["AGENTS.md", "README.md", "pyproject.toml", ".gitignore"])
def test_a_shared_file_has_the_new_part_above_and_your_part_below(after: Path, name: str) -> None:
    assert (after / name).read_text(encoding="utf-8") == THEIRS + committed(after, name)


def test_there_is_no_conflict(after: Path) -> None:
    assert execute(after, "git", "ls-files", "--unmerged") == ""
    assert execute(after, "git", "diff", "--check", "HEAD") == ""


def test_answers_are_kept_and_nothing_else_is_asked(after: Path) -> None:
    """A question that is asked without a terminal would have failed the update."""
    kept = yaml.safe_load((after / ".copier-answers.yml").read_text(encoding="utf-8"))
    old = yaml.safe_load(committed(after, ".copier-answers.yml"))
    assert kept == old | {"_commit": NEXT}
    assert kept.items() >= (HOSTILE_ANSWERS | {"action_cost": "3"}).items()


def test_recopying_keeps_what_is_yours(render: Callable[..., Path]) -> None:
    """`copier recopy --overwrite` gives up what the team changed in all other files."""
    project = render()
    for name in (*YOURS, "ruff.toml"):
        append(project / name, OURS)
    commit(project)
    copier.run_recopy(project, defaults=True, overwrite=True, quiet=True, unsafe=False)
    assert execute(project, "git", "status", "--porcelain") == " M ruff.toml\n"


def test_an_answer_can_be_changed_later(render: Callable[..., Path]) -> None:
    project = render(ci="github")
    commit(project)
    update(project, ci="gitlab")
    assert not (project / ".github").exists()
    assert (project / ".gitlab-ci.yml").exists()
    assert execute(project, "git", "ls-files", "--unmerged") == ""


@pytest.mark.slow
@pytest.mark.parametrize("version", [f"v{each['version']}" for each in releases()])
def test_a_project_of_every_release_can_be_updated(template: Path, tmp_path: Path, version: str) -> None:
    project = tmp_path / "pilot"
    copier.run_copy(
        str(template), project, data=HOSTILE_ANSWERS, vcs_ref=version, defaults=True, quiet=True, unsafe=False
    )
    append(project / "README.md", OURS)
    commit(project)
    update(project)
    assert execute(project, "git", "ls-files", "--unmerged") == ""
    assert OURS in (project / "README.md").read_text(encoding="utf-8")
