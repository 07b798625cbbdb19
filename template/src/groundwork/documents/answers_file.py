"""Finds and reads the file in which Copier recorded the template, its version, and the answers."""

from pathlib import Path
from typing import Any

import yaml

from groundwork.core.errors import AnswersError, shortened
from groundwork.core.git import git

USUAL = ".copier-answers.yml"

_OURS = {"project_name", "decision_owner"}  # questions that tell Groundwork's answers from those of other templates


def find(home: Path) -> str:
    """Returns the answers file, relative to home; a file with another name is known by its content.

    Raises AnswersError if there is none, or more than one.
    """
    if _is_ours(home / USUAL):
        return USUAL
    found = [name for name in _others(home) if _is_ours(home / name)]
    if len(found) > 1:
        raise AnswersError(f"{', '.join(found)}: more than one file with Copier's answers: keep the newest alone")
    return found[0] if found else USUAL


def read(file: Path) -> dict[str, Any]:
    """Returns what the file records. Raises AnswersError if it cannot be read, or lacks the template or its version."""
    back = f"take it back from git, `git log -- {file.name}`"
    try:
        recorded = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AnswersError(f"{file.name}: not found in {file.parent}: {back}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise AnswersError(f"{file.name}: cannot be read: {shortened(str(error))}: {back}") from None
    if not isinstance(recorded, dict):
        raise AnswersError(f"{file.name}: has no answers: {back}")
    for key in ("_src_path", "_commit"):
        if not isinstance(recorded.get(key), str):
            raise AnswersError(f"{file.name}: {key} is missing, or no text: {back}")
    return {str(key): value for key, value in recorded.items()}


def _others(home: Path) -> list[str]:
    """Returns every file that looks like Copier's answers and that git does not ignore; also outside a repository."""
    words = ("grep", "--no-index", "--exclude-standard", "-l", "-z", "-e", "^_src_path:")
    return sorted(name for name in (git(home, *words) or "").split("\0") if name)


def _is_ours(file: Path) -> bool:
    try:
        return read(file).keys() >= _OURS
    except AnswersError:
        return False
