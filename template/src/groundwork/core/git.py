"""Calls git in the pilot's folder."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from groundwork.core.errors import GroundworkError, shortened

_REPOSITORY = {"GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_PREFIX"}


def git(home: Path, *arguments: str) -> str | None:
    """Returns git's output without trailing white space; None if git fails, for example outside a repository."""
    try:
        return git_or_raise(GroundworkError, home, *arguments)
    except GroundworkError:
        return None


def git_or_raise(kind: type[GroundworkError], home: Path, *arguments: str) -> str:
    """Returns git's output without trailing white space. Raises an error of the kind with what git said.

    The repository is that of the folder, also where a hook of git has named another one in the environment.
    """
    environment = {name: value for name, value in os.environ.items() if name not in _REPOSITORY}
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=home, env=environment, capture_output=True, text=True, check=True
        )
    except subprocess.CalledProcessError as error:
        raise kind(f"git: {shortened(error.stderr or error.stdout)}") from None
    except OSError as error:
        raise kind(f"git cannot be run: {error}") from None
    return done.stdout.rstrip()


def contents(home: Path, file: str, commits: Sequence[str]) -> list[str]:
    """Returns the file's text at each commit, from one call of git; empty where the commit has no such file."""
    wanted = "".join(f"{commit}:./{file}\n" for commit in commits)
    done = subprocess.run(
        ["git", "cat-file", "--batch"], cwd=home, input=wanted.encode(), capture_output=True, check=True
    )
    found, rest = [], done.stdout
    for _ in commits:
        head, _, rest = rest.partition(b"\n")  # OBJECT blob SIZE, or NAME missing
        size = int(head.rsplit(b" ", 1)[1]) if b" blob " in head else None
        found.append("" if size is None else rest[:size].decode(errors="replace"))
        rest = rest if size is None else rest[size + 1 :]
    return found


def is_shallow(home: Path) -> bool | None:
    """Whether the clone is shallow, as CI makes it; None outside a git repository or without git."""
    said = git(home, "rev-parse", "--is-shallow-repository")
    return None if said is None else said == "true"
