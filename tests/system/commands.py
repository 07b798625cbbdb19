"""The command line as a test calls it."""

import subprocess
from contextlib import chdir
from pathlib import Path

from groundwork.cli.console import console
from groundwork.cli.main import app
from typer.testing import CliRunner


def groundwork(*arguments: str, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command in this process, which has imported its libraries already; an error that it lets pass is raised."""
    console.quiet = False  # as in a process of its own; a command before this one may have had --json
    with chdir(cwd or Path.cwd()):
        done = CliRunner().invoke(app, arguments, env=environment)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def commit(home: Path, *documents: str) -> None:
    """The first commit of a repository."""
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    for arguments in (["init", "-q"], ["add", *documents], ["commit", "-qm", "The start."]):
        subprocess.run([*git, *arguments], cwd=home, check=True)
