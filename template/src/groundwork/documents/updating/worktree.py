"""A second working tree of the pilot's repository, in which an update is tried; the pilot's own stays as it is."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from groundwork.core.errors import UpdateError
from groundwork.core.git import git, git_or_raise
from groundwork.core.locks import try_lock

_PREFIX = "groundwork-update-"
_LOCK, _TREE = "lock", "tree"
_QUIET = ("-c", "core.hooksPath=/dev/null")  # a hook of the team's is not for a tree that goes away again


@dataclass(frozen=True)
class Worktree:
    """A working tree of the repository, at the commit that the pilot is at."""

    root: Path  # of the repository
    home: Path  # the pilot's folder in it
    start: str  # the commit

    def git(self, *arguments: str) -> str:
        """Returns git's output in the pilot's folder. Raises UpdateError with git's own words."""
        return git_or_raise(UpdateError, self.home, *_QUIET, *arguments)

    def paths(self, *arguments: str) -> list[str]:
        """Returns the paths that a git command lists, separated by NUL, relative to the pilot's folder."""
        return [path for path in self.git(*arguments).split("\0") if path]


def require_clean(home: Path) -> None:
    """Raises UpdateError unless the pilot is in a git repository with a commit and without uncommitted changes."""
    if git(home, "rev-parse", "--is-inside-work-tree") != "true":
        raise UpdateError("an update needs a git repository, to preview it and to go back: run `git init` and commit")
    if git(home, "rev-parse", "--verify", "--quiet", "HEAD") is None:
        raise UpdateError("an update needs a first commit: run `git add --all && git commit`")
    if not git(home, "ls-files", "charter.yaml"):
        raise UpdateError(f"git does not know the files of {home}: commit the pilot first")
    changed = git_or_raise(UpdateError, home, "status", "--porcelain", "--untracked-files=no", "--", ".").splitlines()
    if changed:
        names = ", ".join(line[3:] for line in changed[:5]) + (", …" if len(changed) > 5 else "")
        raise UpdateError(f"uncommitted changes: commit or stash them first ({names})")


@contextmanager
def worktree(home: Path) -> Iterator[Worktree]:
    """Provide a worktree of the repository in a temporary folder, and remove it afterwards.

    One that an interrupted update has left is removed first.
    """
    _remove_leftovers(home)
    prefix = git_or_raise(UpdateError, home, "rev-parse", "--show-prefix")
    start = git_or_raise(UpdateError, home, "rev-parse", "HEAD")
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    with (folder / _LOCK).open("w") as lock:
        try_lock(lock)
        root = folder / _TREE
        try:
            git_or_raise(UpdateError, home, *_QUIET, "worktree", "add", "--quiet", "--detach", str(root), start)
            yield Worktree(root, root / prefix, start)
        finally:
            _remove(home, folder)


def _remove_leftovers(home: Path) -> None:
    """Remove the worktrees of updates whose process has ended; the system has released their locks."""
    listed = git(home, "worktree", "list", "--porcelain") or ""
    for line in listed.splitlines():
        folder = Path(line.removeprefix("worktree ")).parent
        if not line.startswith("worktree ") or not folder.name.startswith(_PREFIX):
            continue
        try:
            with (folder / _LOCK).open() as lock:
                ended = try_lock(lock)
        except OSError:
            ended = True
        if ended:
            _remove(home, folder)


def _remove(home: Path, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    git(home, "worktree", "prune")
