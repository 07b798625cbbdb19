"""What git knows of the pilot's folder."""

import subprocess
from pathlib import Path


def git(home: Path, *arguments: str) -> str | None:
    """What git answers, without the last line end; None where it fails, as outside of a repository."""
    try:
        done = subprocess.run(["git", *arguments], cwd=home, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.rstrip()


def is_shallow(home: Path) -> bool | None:
    """Whether the history is cut short here, as CI fetches it; None where there is no git."""
    said = git(home, "rev-parse", "--is-shallow-repository")
    return None if said is None else said == "true"
