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
