"""Seals the charter's criteria, so that the line is not moved to where the pilot has got to.

A seal is an entry at the end of charter.yaml with the digest of the criteria. A change after the first is an amendment,
with a reason and a second person. Whoever edits criteria or seals by hand is found out by the digest, and by git.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from groundwork.core.errors import GroundworkError
from groundwork.core.git import contents, git, is_shallow
from groundwork.documents.charter import Charter, Seal
from groundwork.documents.document import SafeLoader
from groundwork.documents.owners import Owners


class SealError(GroundworkError):
    """The criteria cannot be sealed or amended like this."""


def criteria_digest(charter: Mapping[str, Any]) -> str:
    """SHA-256 of what makes the pilot ready to scale, and of what stops it, wording and order included.

    It is taken of the document as it was typed: a new version of the system may read more in it, and changes nothing.
    """
    sealed = [charter["readyToScale"], charter.get("stopCriteria", [])]
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, default=str).encode()).hexdigest()


def lock(home: Path, owners: Owners, by: str, today: date) -> Seal:
    """Seal the criteria for the first time."""
    charter, digest = _read(home)
    if charter.seals:
        first = charter.seals[0]
        raise SealError(
            f"the criteria were locked on {first.on} by {first.by}: a change is an amendment, "
            "`groundwork charter amend`"
        )
    _known(owners, by)
    return _append(home, charter, Seal(on=today, by=by, reason="locked", sha256=digest))


def amend(home: Path, owners: Owners, by: str, approved_by: str, reason: str, today: date) -> Seal:
    """Seal the criteria as they stand in the file now, after they were changed for a reason."""
    charter, digest = _read(home)
    if not charter.seals:
        raise SealError("the criteria are not locked yet: change them as you like, then `groundwork charter lock`")
    if charter.seals[-1].sha256 == digest:
        raise SealError("the criteria are as they were sealed: change them in charter.yaml first")
    if by == approved_by:
        raise SealError("an amendment takes a second person: --approved-by somebody else")
    _known(owners, by, approved_by)
    return _append(home, charter, Seal(on=today, by=by, approved_by=approved_by, reason=reason, sha256=digest))


def findings(home: Path) -> list[str]:
    """What was done to sealed criteria behind their seal: one sentence each, none if all is well.

    What was edited in silence is told by git, as far as its history goes here: see `cannot_tell`.
    """
    charter, digest = _read(home)
    found = []
    if charter.seals and charter.seals[-1].sha256 != digest:
        last = charter.seals[-1]
        found.append(
            f"the criteria differ from those sealed on {last.on} by {last.by}: put them back, "
            "or `groundwork charter amend` with a reason and a second person"
        )
    return found + _silent_edits(home, charter.seals)


def cannot_tell(home: Path) -> str:
    """Why nobody can tell whether sealed criteria were edited in silence; empty where git has the whole history."""
    if not Charter.load(home / "charter.yaml").seals:
        return ""
    shallow = is_shallow(home)
    if shallow is None:
        return "nobody can tell silent edits, without git: run `groundwork readiness --prove` in the repository"
    if shallow:
        return (
            "the history is cut short, so nobody can tell silent edits: fetch all of it (`git fetch --unshallow`; in "
            "CI `fetch-depth: 0` or `GIT_DEPTH: 0`)"
        )
    return ""


def file_digest(home: Path) -> str:
    """SHA-256 of the charter as it stands, seals and all."""
    return hashlib.sha256((home / "charter.yaml").read_bytes()).hexdigest()


def _silent_edits(home: Path, present: tuple[Seal, ...]) -> list[str]:
    """Seals only ever grow at the end, and no committed criteria go without theirs."""
    found = []
    commits = (git(home, "log", "--reverse", "--format=%H", "--", "charter.yaml") or "").split()
    for commit, text in zip(commits, contents(home, "charter.yaml", commits) if commits else [], strict=True):
        try:
            charter = yaml.load(text, SafeLoader)
            seals = tuple(Seal.model_validate(each) for each in charter.get("seals", ()))
            digest = criteria_digest(charter)
        except (ValueError, KeyError, AttributeError, TypeError, yaml.YAMLError):
            continue  # what could not be read was not in force either
        if seals != present[: len(seals)]:
            found.append(f"commit {commit[:10]} holds a seal that charter.yaml no longer has: restore it, and amend")
        elif seals and seals[-1].sha256 != digest:
            found.append(f"commit {commit[:10]} changed the criteria without an amendment")
    return found


def _read(home: Path) -> tuple[Charter, str]:
    file = home / "charter.yaml"
    return Charter.load(file), criteria_digest(yaml.load(file.read_text(encoding="utf-8"), SafeLoader))


def _append(home: Path, charter: Charter, seal: Seal) -> Seal:
    """Write the seal at the end of the file, whose comments stay as they are; all or nothing."""
    file = home / "charter.yaml"
    before = file.read_text(encoding="utf-8")
    entry = yaml.safe_dump(
        [seal.model_dump(by_alias=True, exclude_none=True)], sort_keys=False, allow_unicode=True, width=1000
    )
    head, indent = "seals: # written by `groundwork charter`; not to be edited\n", "  "
    if charter.seals:
        head, indent = "", re.findall(r"^( *)- ", before, re.MULTILINE)[-1]
    temporary = file.with_suffix(".tmp")
    temporary.write_text(
        before.rstrip("\n") + "\n" + head + "".join(f"{indent}{line}\n" for line in entry.splitlines()),
        encoding="utf-8",
    )
    try:
        complete = Charter.load(temporary).seals == (*charter.seals, seal)
    except GroundworkError:
        complete = False
    if not complete:
        temporary.unlink()
        raise SealError("charter.yaml: move `seals:` to the end of the file and try again")
    temporary.replace(file)
    return seal


def _known(owners: Owners, *handles: str) -> None:
    if strangers := [handle for handle in handles if handle not in owners.handles]:
        raise SealError(f"{', '.join(strangers)}: not in OWNERS, which names {', '.join(sorted(owners.handles))}")
