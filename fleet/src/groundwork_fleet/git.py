"""Reads git repositories, local and remote, by the git command; asks no questions, and never waits for a person."""

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LARGEST = 1_000_000  # bytes; a larger file is not read
_FETCH = ("fetch", "--quiet", "--no-tags", "--no-write-fetch-head")
# Of another repository, if this runs in a hook.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_NAMESPACE")
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
# A repository's own settings may name programs to run.
_SETTINGS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "gc.auto=0")


class GitError(Exception):
    """A repository cannot be read; the message says why, and holds no password."""


def is_url(repository: str) -> bool:
    """Whether the text is an address rather than a path: a URL, or git@host:path."""
    return "://" in repository or bool(re.match(r"[\w.-]+@[\w.-]+:", repository))


def without_credentials(text: str) -> str:
    """Return the text without user and password in the URLs that it holds."""
    return re.sub(r"(\w://)[^/\s]*@", r"\1", text)


class File(NamedTuple):
    """A file of a commit."""

    path: str
    blob: str  # the object's name


class Repository:
    """A git repository on this machine, and one folder in it."""

    def __init__(self, path: Path, folder: str = "", head: str = "HEAD") -> None:
        self._path = path
        self.folder = folder.strip("/")
        self.head = head  # the reference of the commit that counts
        self._url = ""  # where files that are missing can be fetched

    @classmethod
    async def at(cls, path: Path, folder: str = "") -> "Repository":
        """Return the repository that holds this path; the folder is that of the path, and `folder` in it."""
        if not path.is_dir():
            raise GitError(f"there is no folder {path}")
        inside = (await _git(path, "rev-parse", "--show-prefix")).decode(errors="replace").strip("\n/")
        found = cls(path, "/".join(part for part in (inside, folder) if part))
        with contextlib.suppress(GitError):  # else git's paths would be relative to the path
            found._path = Path((await _git(path, "rev-parse", "--show-toplevel")).decode().rstrip("\n"))
        return found

    @classmethod
    async def branches_of(cls, url: str, into: Path, folder: str = "") -> "Repository":
        """Fetch the newest commit of each branch, and no files: those that are read are fetched when they are."""
        refs = ("+HEAD:refs/fleet/HEAD", "+refs/heads/*:refs/heads/*")
        await _fetch(url, into, "--depth=1", "--filter=blob:none", refs=refs)
        found = cls(into, folder, "refs/fleet/HEAD")
        found._url = url
        return found

    @classmethod
    async def history_of(cls, url: str, into: Path) -> "Repository":
        """Fetch everything that the branches and tags lead to."""
        await _fetch(url, into, refs=("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"))
        return cls(into)

    async def text(self, *arguments: str) -> str:
        """Return what git prints, without white space around it."""
        return (await _git(self._path, *arguments)).decode(errors="replace").strip()

    async def files(self, commit: str) -> list[File]:
        """Return the files of the commit, with paths relative to the folder."""
        listed = await _git(self._path, "ls-tree", "-r", "-z", "--full-tree", f"{commit}:{self.folder}")
        entries = (entry.partition("\t") for entry in listed.decode(errors="replace").split("\0") if entry)
        return [File(path, about.split()[2]) for about, _, path in entries if about.split()[1] == "blob"]

    async def contents(self, objects: Sequence[str]) -> list[bytes | None]:
        """Return the content of each object; None where there is none, or a file is too large.

        Files that were not fetched yet are fetched now, all in one request.
        """
        if not objects:
            return []
        sizes = await self._sizes(objects)
        missing = [name for name, size in sizes.items() if size is None and ":" not in name]  # not REVISION:PATH
        if self._url and missing:
            # Without `noop` git would tell the server that it has all files of the commits that it has.
            again = ("-c", "fetch.negotiationAlgorithm=noop", *_FETCH, "--stdin", "--end-of-options", self._url)
            await _git(self._path, *again, stdin=_lines(missing))
            sizes = await self._sizes(objects)
        wanted = [name for name, size in sizes.items() if size is not None and size <= LARGEST]
        rest, found = await _git(self._path, "cat-file", "--batch", stdin=_lines(wanted)), {}
        for name in wanted:
            _, _, rest = rest.partition(b"\n")
            found[name], rest = rest[: sizes[name]], rest[(sizes[name] or 0) + 1 :]
        return [found.get(name) for name in objects]

    async def _sizes(self, objects: Sequence[str]) -> dict[str, int | None]:
        """Return the size of each object in bytes; None where there is none."""
        told = await _git(self._path, "cat-file", "--batch-check", stdin=_lines(objects))
        lines = told.decode(errors="replace").split("\n")
        there = [re.search(r" (?:blob|tree) (\d+)$", line) for line in lines]
        return {name: int(size[1]) if size else None for name, size in zip(objects, there, strict=False)}

    async def entries(self, commits: Sequence[str], name: str) -> list[str | None]:
        """Return the object of the file `name` in the folder, at each commit; None where there is none."""
        trees = await self.contents([f"{commit}:{self.folder}" for commit in commits])
        return [_entry(tree, name.encode(), len(commit) // 2) for tree, commit in zip(trees, commits, strict=True)]


async def _fetch(url: str, into: Path, *options: str, refs: Sequence[str]) -> None:
    """Fetch the refs into a new bare repository. Raises GitError."""
    into.mkdir(parents=True)
    await _git(into, "init", "--quiet", "--bare", ".")
    settings = (into / "config").read_bytes()
    await _git(into, *_FETCH, *options, "--end-of-options", url, *refs)
    (into / "config").write_bytes(settings)  # else git would fetch each missing file by itself, one after the other


def _lines(names: Sequence[str]) -> bytes:
    return "".join(f"{name}\n" for name in names).encode()


def _entry(tree: bytes | None, name: bytes, size: int) -> str | None:
    """Return the object of the name in a tree as git stores it: mode, space, name, NUL, and `size` bytes."""
    at, tree = 0, tree or b""
    while at < len(tree):
        end = tree.index(b"\0", at)
        if tree[at:end].partition(b" ")[2] == name:
            return tree[end + 1 : end + 1 + size].hex()
        at = end + 1 + size
    return None


async def _git(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    """Return what git prints. Raises GitError with the last line of its complaint. Ends git if it is cancelled."""
    environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN} | _QUIET
    environment.setdefault("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh")  # others can be programs to run
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", *_SETTINGS, *arguments),
            cwd=folder,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # without a terminal ssh cannot ask, and a hanging git is ended with its children
        )
    except (OSError, ValueError) as error:  # such as a folder that nobody may enter, or a name with a NUL
        raise GitError(f"git cannot be run: {error}") from None
    try:
        out, complaint = await process.communicate(stdin)
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode:
        raise GitError(_reason(complaint.decode(errors="replace")))
    return out


def _reason(complaint: str) -> str:
    """Return the line that says why git failed: the first fatal one, with what the server or ssh said before it."""
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    fatal = [line.removeprefix("fatal: ") for line in lines if line.startswith("fatal: ")]
    told = [line for line in lines if not line.startswith(("fatal: ", "warning: ", "hint: ", "Please make sure"))]
    vague = not fatal or "Could not read from remote repository" in fatal[0]
    reason = (told or fatal or ["git failed"])[0] if vague else fatal[0]
    return without_credentials(re.sub(r"^unable to access '[^']*': ", "", reason))
