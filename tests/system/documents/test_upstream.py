"""The template that a pilot came from: where it is, which releases it has, and what Copier writes of it."""

import os
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import yaml
from groundwork.core.errors import AnswersError, TemplateUnknown
from groundwork.documents.upstream import Release, Upstream
from templates import ANSWERS, FIRST, SECOND, copy, git, make_pilot, make_template, record, write

OWN_COPIER = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
OFFLINE = "http://127.0.0.1:9/groundwork.git"  # nothing listens on the port `discard`


@pytest.fixture
def project(small_template: Path, tmp_path: Path) -> Path:
    return make_pilot(small_template, tmp_path / "pilot")


def test_the_answers_say_what_the_project_was_made_with(project: Path, small_template: Path) -> None:
    upstream = Upstream.of(project)
    assert (upstream.source, upstream.version, upstream.answers_file) == (str(small_template), FIRST, ANSWERS)
    assert upstream.answers == {"project_name": "Late flights", "decision_owner": ""}


@pytest.mark.parametrize("name", [".groundwork.yml", "config/answers.yaml"])
def test_an_answers_file_of_another_name_is_found(name: str, small_template: Path, tmp_path: Path) -> None:
    project = make_pilot(small_template, tmp_path / "pilot", answers_file=name)
    assert Upstream.of(project).answers_file == name


def test_the_answers_of_another_template_are_not_taken_for_ours(small_template: Path, tmp_path: Path) -> None:
    project = make_pilot(small_template, tmp_path / "pilot", answers_file=".groundwork.yml")
    write(project, ANSWERS, "_commit: v9\n_src_path: gh:else/where\nproject_name: The same\n")
    assert Upstream.of(project).version == FIRST


def test_two_answers_files_are_one_too_many(small_template: Path, tmp_path: Path) -> None:
    project = make_pilot(small_template, tmp_path / "pilot", answers_file=".groundwork.yml")
    shutil.copy(project / ".groundwork.yml", project / "old.yml")
    with pytest.raises(AnswersError, match=r"^\.groundwork\.yml, old\.yml: more than one"):
        Upstream.of(project)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("_commit: [", "cannot be read"),
        ("just a text", "has no answers"),
        ("_commit: v0.1.0\nproject_name: x\n", "_src_path is missing"),
        ("_commit: 1.0\n_src_path: x\nproject_name: x\n", "_commit is missing, or no text"),
        ("<<<<<<< before updating\n_commit: v1\n=======\n_commit: v2\n>>>>>>> after updating\n", "cannot be read"),
        (None, "not found in"),
    ],
)
def test_answers_that_cannot_be_read_are_told_with_the_file(text: str | None, words: str, project: Path) -> None:
    (project / ANSWERS).unlink() if text is None else write(project, ANSWERS, text)
    with pytest.raises(AnswersError, match=rf"^\.copier-answers\.yml: .*{words}"):
        Upstream.of(project)


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("gh:acme/groundwork", "https://github.com/acme/groundwork.git"),
        ("gl:acme/groundwork.git", "https://gitlab.com/acme/groundwork.git"),
        ("git+https://example.org/groundwork", "https://example.org/groundwork"),
        ("git@example.org:acme/groundwork.git", "git@example.org:acme/groundwork.git"),
        ("template", "{parent}/template"),  # as `copier copy template project` records it
        ("../template", "{parent}/template"),
    ],
)
def test_an_address_is_one_that_git_can_clone(source: str, address: str, project: Path) -> None:
    (project.parent / "template").mkdir()
    record(project, _src_path=source)
    assert Upstream.of(project).address == address.format(parent=project.parent)


def test_releases_are_in_the_order_of_their_versions_without_pre_releases(tmp_path: Path) -> None:
    template = make_template(tmp_path / "template")
    for tag in ("v0.10.0", "0.9", "v0.2.0.post1", "not-a-release", "v1.0.0-alpha", "v2.0.dev1", "stage/v3.0.0"):
        git(template, "tag", tag)
    with Upstream.of(make_pilot(template, tmp_path / "pilot")).fetched() as fetched:
        found = [each.version for each in fetched.releases()]
        assert found == [FIRST, SECOND, "v0.2.0.post1", "0.9", "v0.10.0"]
        assert [each.version for each in fetched.missed()] == found[1:]
        assert fetched.releases()[0] == Release(FIRST, date(2026, 1, 1))


def test_a_pilot_of_a_commit_between_two_releases_has_missed_the_later_one(tmp_path: Path) -> None:
    template = make_template(tmp_path / "template")
    git(template, "checkout", "-q", FIRST)
    write(template, "template/ruff.toml", "line-length = 110\n")
    git(template, "commit", "-q", "-a", "-m", "Between")
    project = tmp_path / "pilot"
    copy(str(template), project, git(template, "rev-parse", "HEAD").strip(), {})
    git(template, "branch", "between")
    upstream = Upstream.of(project)
    assert upstream.version.startswith(f"{FIRST}-1-g")
    with upstream.fetched() as fetched:
        assert [each.version for each in fetched.missed()] == [SECOND]
        assert fetched.day_of(upstream.version) == date(2026, 1, 1)


def test_a_version_that_the_template_does_not_have_is_unknown(project: Path) -> None:
    record(project, _commit="v0.1.7")
    with pytest.raises(TemplateUnknown, match=r"has no version v0\.1\.7"), Upstream.of(project).fetched():
        pass


def test_a_template_that_cannot_be_reached_is_unknown_in_one_line_without_credentials(project: Path) -> None:
    record(project, _src_path=OFFLINE.replace("//", "//ada:secret@"))
    with pytest.raises(TemplateUnknown) as told, Upstream.of(project).fetched():
        pass
    assert str(told.value).startswith(f"the template {OFFLINE} cannot be fetched: ")
    assert "secret" not in str(told.value)
    assert "\n" not in str(told.value)


def test_every_path_has_an_owner(project: Path) -> None:
    with Upstream.of(project).fetched() as template:
        for path, owner in {
            "charter.yaml": "yours",
            "OWNERS": "yours",
            "docs/OWNERS": "yours",  # a pattern without a slash is one of any folder, as in .gitignore
            "src/use_case/deep/er.py": "yours",
            "src/use_case_2/model.py": "template",
            "docs/data-dictionary.md": "yours",
            "src/groundwork/loop.py": "template",
            "README.md": "shared",
        }.items():
            text = (project / path).read_text() if (project / path).exists() else ""
            assert template.owner(FIRST, path, text) == owner, path


def tree(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".git" not in path.parts)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_the_command_writes_the_project_as_it_was_copied(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By Copier as a command of its own, with the recorded answers; source and version stay the pilot's."""
    monkeypatch.setenv("PATH", OWN_COPIER)
    record(project, project_name='"yes" # no: 7\\n')
    with Upstream.of(project).fetched() as template:
        template.render(FIRST, tmp_path / "first")
        template.render(SECOND, tmp_path / "second")
    written = tree(tmp_path / "first")
    assert yaml.safe_load(written["charter.yaml"]) == {"name": '"yes" # no: 7\\n'}
    assert written.keys() == tree(project).keys()
    assert yaml.safe_load(written[ANSWERS]) == yaml.safe_load((project / ANSWERS).read_text())
    assert yaml.safe_load((tmp_path / "second" / ANSWERS).read_text())["_commit"] == SECOND
    assert (tmp_path / "second/ruff.toml").read_text() == "line-length = 100\n"


def test_a_template_that_asks_for_trust_is_refused_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", OWN_COPIER)
    template = make_template(tmp_path / "template")
    project = make_pilot(template, tmp_path / "pilot")
    ran = tmp_path / "ran"
    write(template, "copier.yml", (template / "copier.yml").read_text() + f"_tasks: [touch {ran}]\n")
    git(template, "commit", "-q", "-a", "-m", "Tasks")
    with (
        Upstream.of(project).fetched() as fetched,
        pytest.raises(TemplateUnknown, match=r"Copier cannot write .*unsafe"),
    ):
        fetched.render("HEAD", tmp_path / "written")
    assert not ran.exists()


def machine(folder: Path, monkeypatch: pytest.MonkeyPatch, **tools: str) -> None:
    """Only these commands are on PATH, each a shell script, and git."""
    for name, script in tools.items():
        write(folder, name, f"#!/bin/sh\n{script}\n").chmod(0o755)
    (folder / "git").symlink_to(str(shutil.which("git")))
    monkeypatch.setenv("PATH", str(folder))


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ({"copier": "echo copier 9.19.1", "uvx": ""}, ["copier"]),
        ({"copier": "echo copier 10.0.0"}, ["copier"]),
        ({"copier": "echo copier 9.4.0", "uvx": ""}, ["uvx", "copier>=9.19.1"]),
        ({"uvx": ""}, ["uvx", "copier>=9.19.1"]),
        ({"copier": "echo copier 9.4.0"}, None),
        ({}, None),
    ],
)
def test_copier_is_the_command_if_it_is_new_enough_else_uvs(
    tools: dict[str, str], words: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from groundwork.documents import upstream

    (tmp_path / "bin").mkdir()
    machine(tmp_path / "bin", monkeypatch, **tools)
    if words:
        assert upstream.copier("9.19.1") == words
    else:
        with pytest.raises(TemplateUnknown, match=r"Copier 9\.19\.1 or newer is needed: install uv, or"):
            upstream.copier("9.19.1")


def test_nothing_of_the_pilots_environment_reaches_copier(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    noted = tmp_path / "noted"
    machine(tmp_path / "bin", monkeypatch, copier=f'test "$1" = --version && echo copier 99.0.0 || set > {noted}')
    with Upstream.of(project).fetched() as template:
        monkeypatch.setenv("PYTHONPATH", "src")
        monkeypatch.setenv("VIRTUAL_ENV", "/opt/pilot")
        with pytest.raises(FileNotFoundError):  # this copier writes nothing
            template.render(FIRST, tmp_path / "written")
    variables = noted.read_text()
    assert "PYTHONPATH=" not in variables
    assert "VIRTUAL_ENV=" not in variables
    assert "GIT_TERMINAL_PROMPT='0'" in variables or "GIT_TERMINAL_PROMPT=0" in variables


def test_upstream_can_be_used_where_only_pyyaml_is_installed(project: Path) -> None:
    """The fleet's page is made outside the environment of any pilot."""
    code = (
        "import sys\nfrom pathlib import Path\nfrom groundwork.documents.upstream import Upstream\n"
        f"print(Upstream.of(Path({str(project)!r})).version)\n"
        "print(sorted({'pydantic', 'typer', 'copier', 'sqlalchemy', 'msgspec'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.split("\n")[:2] == [FIRST, "[]"]
