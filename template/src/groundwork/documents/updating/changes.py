"""What an update does to each file, by comparing four trees: the old and the new render, the pilot before and after."""

import difflib
import subprocess
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from groundwork.documents.upstream import Owner

Kind = Literal["conflict", "lost", "merged", "updated", "new", "removed", "kept"]
KINDS: dict[Kind, str] = {  # in the order in which they are shown
    "conflict": "your edit and the template's change overlap",
    "lost": "your edit would be lost",
    "merged": "your edit and the template's change are both in",
    "updated": "brought up to date",
    "new": "new in the template",
    "removed": "no longer in the template",
    "kept": "yours, or edited by you: as before",
}
STOPPING: tuple[Kind, ...] = ("conflict", "lost")
Tree = Mapping[str, bytes]
_NOT_IN = "what the template changed is not in"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to one file. `edit` is the team's edit as a diff, where it conflicts or would be lost."""

    path: str
    kind: Kind
    owner: Owner
    note: str = ""
    edit: str = ""


@dataclass(frozen=True, kw_only=True)
class Trees:
    """The files of the four trees by path, those with conflicts, and where the template has moved a file to."""

    old: Tree  # as the template's present version makes them
    new: Tree  # as its next version makes them
    mine: Tree  # of the pilot before the update
    result: Tree  # of the pilot after it
    conflicts: Collection[str]
    moved: Mapping[str, str]
    in_the_way: Collection[str]  # files of the pilot's folder that git does not know

    def changes(self, owners: Mapping[str, Owner]) -> list[Change]:
        """Returns one change per file that the template knows or the update touches; files left as they are for a
        reason only, such as those that the team owns or has edited.
        """
        found = []
        for path in sorted({*self.old, *self.new, *self.mine, *self.result}):
            kind, note = self._kind(path, owners.get(path, "yours"))
            if kind:
                edit = self._edit(path) if kind in STOPPING else ""
                found.append(Change(path=path, kind=kind, owner=owners.get(path, "yours"), note=note, edit=edit))
        return found

    def _kind(self, path: str, owner: Owner) -> tuple[Kind | None, str]:
        old, new, mine, result = (tree.get(path) for tree in (self.old, self.new, self.mine, self.result))
        if path in self.conflicts:
            return "conflict", ""
        if mine is None and result is not None and path in self.in_the_way:
            return "conflict", "a file of yours that is not in git has the same name"
        if mine is None:
            return self._of_a_missing_file(path)
        if result == mine:
            return self._of_a_file_as_before(path, owner)
        if result is None:
            return self._of_a_gone_file(path)
        if mine == old:
            return "updated", ""
        return ("merged", "") if survives(old or b"", mine, new or b"", result) else ("lost", "overwritten")

    def _of_a_file_as_before(self, path: str, owner: Owner) -> tuple[Kind | None, str]:
        old, new, mine = self.old.get(path), self.new.get(path), self.mine[path]
        if old is None or (mine == new and owner != "yours"):
            return None, ""
        if owner == "yours":
            return "kept", ""
        if new is None:
            return "kept", "no longer updated"
        return "kept", "edited here" if old == new else f"edited here; {_NOT_IN}"

    def _of_a_missing_file(self, path: str) -> tuple[Kind | None, str]:
        """Returns the kind of a file that the team does not have."""
        if path in self.result:
            return ("lost", "deleted here; it would be back") if path in self.old else ("new", "")
        deleted = path in self.old and path in self.new and self.old[path] != self.new[path]
        return ("kept", f"deleted here; {_NOT_IN}") if deleted else (None, "")

    def _of_a_gone_file(self, path: str) -> tuple[Kind, str]:
        """Returns the kind of a file that the update takes away: its edit is lost, unless it moved with the file."""
        base, mine = self.old.get(path, b""), self.mine[path]
        target = self.moved.get(path)
        where = f"moved to {target}" if target else "dropped by the template"
        if path in self.old and mine == base:
            return "removed", where if target else ""
        kept = target and survives(base, mine, self.new.get(target, b""), self.result.get(target, b""))
        return ("merged" if kept else "lost"), where

    def _edit(self, path: str) -> str:
        before, after = (tree.get(path, b"").decode(errors="replace").splitlines() for tree in (self.old, self.mine))
        names = f"{path} (the template's)", f"{path} (yours)"
        return "\n".join(difflib.unified_diff(before, after, *names, lineterm="", n=1))


def survives(base: bytes, mine: bytes, theirs: bytes, result: bytes) -> bool:
    """Whether the team's edit, from `base` to `mine`, is in the result beside what the template changed."""
    if merged(base, mine, theirs) == result:
        return True
    added = Counter(mine.splitlines()) - Counter(base.splitlines())
    return bool(added) and not added - Counter(result.splitlines())


def merged(base: bytes, mine: bytes, theirs: bytes) -> bytes | None:
    """Returns the three-way merge of git; None if the changes overlap or a file is no text."""
    with tempfile.TemporaryDirectory(prefix="groundwork-merge-") as folder:
        files = [Path(folder) / name for name in ("mine", "base", "theirs")]
        for file, text in zip(files, (mine, base, theirs), strict=True):
            file.write_bytes(text)
        done = subprocess.run(["git", "merge-file", "--stdout", *map(str, files)], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
