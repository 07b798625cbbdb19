"""Seals the charter's criteria, so that they are not adapted to the pilot's results.

A seal is an entry at the end of charter.yaml with the digest of the criteria. A change after the first seal is an
amendment, with a reason and a second person. Criteria or seals edited by hand are detected by the digest and by git.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from groundwork.core.errors import GroundworkError
from groundwork.core.files import write_atomically
from groundwork.core.git import contents, git, is_shallow
from groundwork.documents.charter import Charter, Seal
from groundwork.documents.document import SafeLoader, read_yaml, write_yaml
from groundwork.documents.owners import Owners


class SealError(GroundworkError):
    """The criteria cannot be sealed or amended, or were changed without an amendment; the message says why."""


def criteria_digest(charter: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of the criteria for scaling and for stopping, including wording and order.

    It is computed from the parsed YAML, before validation, so that new optional fields of the system do not change it.
    """
    sealed = [charter["readyToScale"], charter.get("stopCriteria", [])]
    return hashlib.sha256(json.dumps(sealed, sort_keys=True, default=str).encode()).hexdigest()


def lock(home: Path, owners: Owners, by: str, today: date) -> Seal:
    """Write the first seal and return it. Raises SealError if the criteria are sealed or `by` is not in OWNERS."""
    charter, digest = _read(home)
    if charter.seals:
        first = charter.seals[0]
        raise SealError(
            f"the criteria were locked on {first.on} by {first.by}: to change them, run `groundwork charter amend`"
        )
    _known(owners, by)
    return _append(home, charter, Seal(on=today, by=by, reason="locked", sha256=digest))


def amend(home: Path, owners: Owners, *, by: str, approved_by: str, reason: str, today: date) -> Seal:
    """Seal the changed criteria with a reason and a second person; returns the new seal.

    Raises SealError if the criteria are not locked or not changed, or if the two people are the same or not in OWNERS.
    """
    charter, digest = _read(home)
    if not charter.seals:
        raise SealError(
            "the criteria are not locked yet: edit them in charter.yaml, then run `groundwork charter lock`"
        )
    if charter.seals[-1].sha256 in _digests(_text(home)):
        raise SealError("the criteria have not changed since the last seal: edit them in charter.yaml first")
    if by == approved_by:
        raise SealError("an amendment requires a second person: give another handle with --approved-by")
    _known(owners, by, approved_by)
    return _append(home, charter, Seal(on=today, by=by, approved_by=approved_by, reason=reason, sha256=digest))


def findings(home: Path, charter: Charter) -> list[str]:
    """Returns one line of text per change of sealed criteria without an amendment; an empty list if there is none.

    `charter` is the one in `home`. Silent edits are found in the git history, as far as it is available: see
    `cannot_tell`.
    """
    found = []
    last = charter.seals[-1] if charter.seals else None
    if last and last.sha256 not in _digests(_text(home)):
        found.append(
            f"the criteria differ from those sealed on {last.on} by {last.by}: restore them, "
            "or run `groundwork charter amend` with a reason and a second person"
        )
    return found + _silent_edits(home, charter.seals)


def cannot_tell(home: Path, charter: Charter) -> str:
    """Returns why silent edits of sealed criteria cannot be detected; empty if git has the whole history."""
    if not charter.seals:
        return ""
    shallow = is_shallow(home)
    if shallow is None:
        return "silent edits cannot be detected without git: run `groundwork readiness --prove` in the repository"
    if shallow:
        return (
            "silent edits cannot be detected in a shallow clone: fetch the whole history (`git fetch --unshallow`; in "
            "CI `fetch-depth: 0` or `GIT_DEPTH: 0`)"
        )
    return ""


def file_digest(home: Path) -> str:
    """Returns the SHA-256 of the file charter.yaml, including the seals."""
    return hashlib.sha256((home / "charter.yaml").read_bytes()).hexdigest()


def _silent_edits(home: Path, present: tuple[Seal, ...]) -> list[str]:
    """Returns the commits that removed a seal, or changed sealed criteria without an amendment, as lines of text."""
    found = []
    commits = (git(home, "log", "--reverse", "--format=%H", "--", "charter.yaml") or "").split()
    for commit, text in zip(commits, contents(home, "charter.yaml", commits) if commits else [], strict=True):
        try:
            seals = tuple(Seal.model_validate(each) for each in read_yaml(text).get("seals", ()))
            sealed = not seals or seals[-1].sha256 in _digests(text)
        except (ValueError, KeyError, AttributeError, TypeError, yaml.YAMLError):
            continue  # a charter that cannot be read was not in force
        if seals != present[: len(seals)]:
            found.append(f"commit {commit[:10]} has a seal that charter.yaml no longer has: restore it, then amend")
        elif not sealed:
            found.append(f"commit {commit[:10]} changed the criteria without an amendment")
    return found


def _read(home: Path) -> tuple[Charter, str]:
    return Charter.load(home / "charter.yaml"), criteria_digest(read_yaml(_text(home)))


def _text(home: Path) -> str:
    return (home / "charter.yaml").read_text(encoding="utf-8")


def _digests(text: str) -> Iterator[str]:
    """Yields the digest of the criteria, and the one by YAML 1.1, by which criteria were sealed before."""
    yield criteria_digest(read_yaml(text))
    yield criteria_digest(yaml.load(text, SafeLoader))


def _append(home: Path, charter: Charter, seal: Seal) -> Seal:
    """Append the seal to the file, which keeps its comments, and return it; if that fails, nothing is changed."""
    file = home / "charter.yaml"
    before = file.read_text(encoding="utf-8")
    entry = write_yaml([seal.model_dump(by_alias=True, exclude_none=True)])
    head, indent = "seals: # written by `groundwork charter`; not to be edited\n", "  "
    if charter.seals:
        head, indent = "", re.findall(r"^( *)- ", before, re.MULTILINE)[-1]
    after = before.rstrip("\n") + "\n" + head + "".join(f"{indent}{line}\n" for line in entry.splitlines())
    try:
        complete = Charter.parse(after, file.name).seals == (*charter.seals, seal)
    except GroundworkError:
        complete = False
    if not complete:
        raise SealError("charter.yaml: move `seals:` to the end of the file and try again")
    write_atomically({file: after})
    return seal


def _known(owners: Owners, *handles: str) -> None:
    if strangers := [handle for handle in handles if handle not in owners.handles]:
        raise SealError(f"{', '.join(strangers)}: not in OWNERS, which has {', '.join(sorted(owners.handles))}")
