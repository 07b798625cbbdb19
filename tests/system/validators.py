"""Tools that others keep, at fixed versions, in a folder apart: they judge what a pilot writes and accepts."""

import os
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path

from support import missing


def python_tool(packages: tuple[str, ...], *command: object, folder: Path, fails: bool = False) -> str:
    """Run a command where these packages are installed, and nothing of a pilot's; returns what it printed.

    The test fails if the command fails, or, with `fails`, if it does not.
    """
    prefix = _with(packages)
    done = _run([*prefix, *map(str, command)], folder)
    assert (done.returncode != 0) == fails, f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


@lru_cache
def _with(packages: tuple[str, ...]) -> list[str]:
    wanted = [word for package in packages for word in ("--with", package)]
    prefix = ["uv", "run", "--quiet", "--no-project", "--isolated", *wanted]
    _needed(_run([*prefix, "python", "-c", ""], Path(tempfile.gettempdir())), packages)
    return prefix


@lru_cache
def installed(package: str) -> Path:
    """Returns a folder in which this package for Python is unpacked, without what it depends on."""
    folder = tempfile.TemporaryDirectory(prefix="package-", ignore_cleanup_errors=True)
    _kept.append(folder)
    _needed(
        _run(["uv", "pip", "install", "--no-deps", "--target", folder.name, package], Path(folder.name)), (package,)
    )
    return Path(folder.name)


@lru_cache
def node_modules(*packages: str) -> Path:
    """Returns a folder in which these packages of npm are installed; kept until the tests' process ends."""
    folder = tempfile.TemporaryDirectory(prefix="node-", ignore_cleanup_errors=True)
    _kept.append(folder)
    (Path(folder.name) / "package.json").write_text('{"private": true, "type": "module"}', encoding="utf-8")
    quiet = ("--no-audit", "--no-fund", "--ignore-scripts", "--no-update-notifier")
    _needed(_run(["npm", "install", *quiet, *packages], Path(folder.name)), packages)
    return Path(folder.name)


_kept: list[tempfile.TemporaryDirectory[str]] = []


def node_tool(folder: Path, *command: object) -> str:
    """Run a command with what is installed in the folder, and there; returns what it printed."""
    done = _run(["npx", "--no-install", *map(str, command)], folder)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout[-6000:]}"
    return done.stdout


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    ours = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(command, 127, f"{command[0]} is not installed")


def _needed(installed: subprocess.CompletedProcess[str], packages: tuple[str, ...]) -> None:
    """Skip the test where the tool cannot be had; on a machine of CI's, fail."""
    if installed.returncode == 0:
        return
    missing(f"{', '.join(packages)} cannot be installed: {installed.stdout.strip()[-300:]}")
