"""Compares the template's part of a pilot with what the template wrote: what was edited, what is missing, one digest.

The template's part is every file that the template owns, and each shared file down to its marked line.
"""

import difflib
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from groundwork.core.git import git, is_shallow
from groundwork.documents.upstream import BOUNDARY, Template

# Folders in which every file is the template's: one that it does not have is left over, or was put there.
WHOLE = ("src/groundwork", "tests/system")


@dataclass(frozen=True)
class Edit:
    """A file of the template's, or its part of a shared file, that is not as the template wrote it."""

    path: str
    shared: bool
    diff: str  # unified, from the template's text to the text here; `git apply --reverse` takes the edit back

    @property
    def changes(self) -> list[str]:
        """The lines taken away and added, wherever they are: the same edit of another version has the same ones."""
        return [line for line in self.diff.split("\n")[2:] if line.startswith(("+", "-"))]


@dataclass(frozen=True)
class Compared:
    """The template's part of the pilot, compared with that of one version."""

    edited: tuple[Edit, ...]
    missing: tuple[str, ...]  # files of the template, and shared files
    added: tuple[str, ...]  # files that the template does not have, in folders that are wholly its own
    undelivered: tuple[str, ...]  # files of the team's that the template starts with, and that were never here
    digests: Mapping[str, str]  # of each file of the template's part here, as sha256sum prints it, sorted by path

    @property
    def exact(self) -> bool:
        """Whether the template's part is what the template wrote, to the byte."""
        return not (self.edited or self.missing or self.added)

    @property
    def digest(self) -> str:
        """The SHA-256 of the lines `DIGEST  PATH`, sorted by path: `sha256sum` of what `sha256sum FILE…` prints."""
        lines = (f"{digest}  {path}\n" for path, digest in self.digests.items())
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def compare(home: Path, template: Template, version: str, written: Path) -> Compared:
    """Compare the pilot's folder `home` with the project that the template's version wrote to the folder `written`."""
    edited, missing, absent, digests = [], [], [], {}
    paths = _files(written)
    for path in paths:
        wanted = (written / path).read_bytes()
        file = home / path
        here = file.read_bytes() if file.is_file() and not file.is_symlink() else None
        owner = template.owner(version, path, _text(wanted))
        if owner == "yours":
            absent += [] if here is not None or file.exists() else [path]
        elif here is None:
            missing.append(path)
        else:
            digests[path] = hashlib.sha256(above(here)).hexdigest()
            if above(here) != above(wanted):
                edited.append(Edit(path, owner == "shared", _diff(path, wanted, here)))
    added = [path for path in _known(home, *WHOLE) if path not in paths]
    digests |= {path: hashlib.sha256((home / path).read_bytes()).hexdigest() for path in added}
    return Compared(
        edited=tuple(edited),
        missing=tuple(missing),
        added=tuple(added),
        undelivered=tuple(path for path in absent if _never_here(home, path)),
        digests=dict(sorted(digests.items())),
    )


def compare_as_written(template: Template) -> Compared:
    """Compare the template's pilot with what its version wrote, in a temporary folder. Raises TemplateUnknown."""
    pilot = template.pilot
    with TemporaryDirectory(prefix="groundwork-written-") as folder:
        written = Path(folder) / "pilot"
        template.render(pilot.version, written)
        return compare(pilot.home, template, pilot.version, written)


def above(content: bytes) -> bytes:
    """Returns the template's part of a shared file: down to the marked line, with this line; all if there is none."""
    marked = BOUNDARY.search(_text(content))
    return _text(content)[: marked.end()].encode() if marked else content


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _known(home: Path, *folders: str) -> list[str]:
    """Returns the files in the folders, without those that git ignores."""
    listed = git(home, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *folders)
    if listed is None:  # no repository
        return [f"{folder}/{path}" for folder in folders for path in _files(home / folder) if "__pycache__" not in path]
    return sorted({path for path in listed.split("\0") if path and (home / path).is_file()})


def _never_here(home: Path, path: str) -> bool:
    """Whether no commit has had the file: a team may delete what is its own. False where the history is incomplete."""
    if is_shallow(home) is not False:
        return False
    return git(home, "log", "--all", "--max-count=1", "--format=%H", "--", path) == ""


def _text(content: bytes) -> str:
    return content.decode(errors="replace")


def _diff(path: str, wanted: bytes, here: bytes) -> str:
    """Returns a unified diff of the template's part. What is the team's appears in it as context alone."""
    theirs, after = _lines(above(wanted)), _lines(here)
    before = theirs + after[_team_starts(theirs, after) :]
    lines = difflib.unified_diff(before, after, f"a/{path}", f"b/{path}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _team_starts(theirs: list[str], here: list[str]) -> int:
    """Returns the number of lines before the team's part, also of a shared file that lost its marked line."""
    if not (theirs and BOUNDARY.search(theirs[-1])):
        return len(here)
    if marked := [number for number, line in enumerate(here, 1) if BOUNDARY.search(line)]:
        return marked[0]
    alike = difflib.SequenceMatcher(None, theirs, here, autojunk=False).get_matching_blocks()[:-1]
    return alike[-1].b + alike[-1].size if alike else 0


def _lines(content: bytes) -> list[str]:
    return io.StringIO(_text(content), newline="\n").readlines()
