"""Find files of released templates that are gone, and that no migration moves or drops.

Copier deletes such a file in a pilot, with the edits that a team made in it, and ends with 0. So each file that a
release wrote in any variant of the answers must still be written, or be named in the MOVES of a later migration.
`make release` and a test look for it. This needs Copier.
"""

import functools
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import copier
import yaml

sys.path.append(str(Path(__file__).parents[1] / "hooks/migrations"))
from steps import declared, scripts


def number(version: str) -> tuple[int, ...]:
    """The parts of a version such as 1.2.0, to compare it with others."""
    return tuple(map(int, version.split(".")))


def entry(script: Path) -> dict[str, Any]:
    """How `_migrations` in copier.yml lists a script."""
    return {
        "version": script.stem.removeprefix("v").replace("_", "."),
        "command": [
            "{{ _copier_python }}",
            f"{{{{ _copier_conf.src_path }}}}/hooks/migrations/{script.name}",
            "{{ _copier_conf.answers_file }}",
        ],
        "when": True,  # before and after the files are written
    }


def unlisted(template: Path) -> list[str]:
    """What is wrong between the scripts in hooks/migrations and their list in copier.yml, a sentence each."""
    settings = yaml.safe_load((template / "copier.yml").read_text(encoding="utf-8"))
    listed = settings.get("_migrations", [])
    wanted = [entry(script) for script in scripts(template / "hooks/migrations").values()]
    return [
        *(f"copier.yml does not list the migration of {each['version']}" for each in wanted if each not in listed),
        *(f"copier.yml lists a migration without its script: {each}" for each in listed if each not in wanted),
    ]


def unexplained(template: Path, release: dict[str, Any], now: str = "HEAD") -> list[str]:
    """What is gone since a release without a migration, a sentence each; in `template`, `now` is checked out."""
    then, now = release["commit"], _commit(template, now)
    known = scripts(template / "hooks/migrations")
    later = [script for version, script in known.items() if version > number(release["version"])]
    moves = [declared(script, "MOVES") for script in later]
    found = []
    for question, answers in _choices(template, then).items():
        allowed = _choices(template, now).get(question)
        for answer in answers:
            variant = f"{release['version']} with {question}={answer}"
            today = answer
            for script in later:
                today = declared(script, "ANSWERS").get(question, {}).get(today, today)
            if allowed and today not in allowed:
                found.append(f"{variant}: {today} is no choice, and no migration replaces it")
                continue
            present = _files(template, now, question, today)
            gone = sorted(_files(template, then, question, answer) - present)
            found += [f"{variant}: {problem}" for path in gone if (problem := _unexplained(path, moves, present))]
    return found


def _unexplained(path: str, moves: list[dict[str, Any]], present: frozenset[str]) -> str:
    """What is wrong with a path that is written no more; empty if migrations drop it, or move it to what is written."""
    if not any(path in each for each in moves):
        return f"{path} is gone, and no migration names it"
    place: str | None = path
    for each in moves:
        place = each.get(place, place) if place else place
    return f"{path} moves to {place}, which the template does not write" if place and place not in present else ""


def _commit(template: Path, ref: str) -> str:
    done = subprocess.run(
        ["git", "rev-parse", f"{ref}^{{commit}}"], cwd=template, text=True, check=True, capture_output=True
    )
    return done.stdout.strip()


def _choices(template: Path, ref: str) -> dict[str, list[str]]:
    """The questions that offer choices, and the answers to choose from."""
    shown = subprocess.run(["git", "show", f"{ref}:copier.yml"], cwd=template, check=True, capture_output=True).stdout
    offered = {
        name: about["choices"]
        for name, about in yaml.safe_load(shown).items()
        if isinstance(about, dict) and "choices" in about
    }
    return {name: list(each.values()) if isinstance(each, dict) else each for name, each in offered.items()}


@functools.cache
def _files(template: Path, commit: str, question: str, answer: str) -> frozenset[str]:
    """What a copy of a commit writes for an answer, and the defaults for the others."""
    with tempfile.TemporaryDirectory() as folder:
        answers = {question: answer}
        copier.run_copy(str(template), folder, data=answers, vcs_ref=commit, defaults=True, quiet=True, unsafe=False)
        return frozenset(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())
