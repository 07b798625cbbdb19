"""Changes of the team's documents that a release proposes; they are made only if the team agrees.

A proposal is a function in PROPOSALS. It gets the texts of the documents by file name, and returns what it would change
and why; None if that is done already, or does not concern this pilot.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from difflib import unified_diff
from pathlib import Path

from groundwork.core.errors import DocumentError
from groundwork.core.files import write_atomically
from groundwork.core.settings import Settings
from groundwork.documents.charter import Charter
from groundwork.documents.contract.contract import Contract
from groundwork.documents.document import Document, read_yaml
from groundwork.documents.owners import Owners
from groundwork.documents.sealing import criteria_digest

DOCUMENTS: dict[str, type[Document]] = {"charter.yaml": Charter, "contract.yaml": Contract, "OWNERS": Owners}


@dataclass(frozen=True)
class Proposal:
    """New texts of documents, by file name, and the reason for the team to agree."""

    reason: str
    texts: dict[str, str]


PROPOSALS: list[Callable[[Mapping[str, str]], Proposal | None]] = []  # oldest first; since 0.1.0 there was none


def proposed(settings: Settings) -> list[str]:
    """Returns the reason of each proposal and its patch, as lines of text."""
    return [
        line
        for proposal, patch in _pending(_texts(settings.home) if PROPOSALS else {})
        for line in (proposal.reason, *patch)
    ]


def accept(settings: Settings) -> list[str]:
    """Change the documents as proposed, after a copy of them; returns one line of text per change.

    Raises DocumentError, before anything is changed, if a document would not be valid, or if
    sealed criteria or the seals would change.
    """
    before = _texts(settings.home)
    after, reasons = dict(before), []
    for proposal, _ in _pending(before):
        after |= proposal.texts
        reasons.append(proposal.reason)
    if not reasons:
        return []
    for name, document in DOCUMENTS.items():
        document.parse(after[name], name)
    _leave_the_seals(before["charter.yaml"], after["charter.yaml"])
    # The charter last, since it names the format of all: a kill in between leaves the format of before.
    changed = [name for name in reversed(DOCUMENTS) if after[name] != before[name]]
    copies = settings.data_folder / f"documents.before-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    copies.mkdir(parents=True)
    for name in changed:
        shutil.copy(settings.home / name, copies)
    write_atomically({settings.home / name: after[name] for name in changed})
    return [*(f"changed {', '.join(changed)}: {reason}" for reason in reasons), f"copy of the documents: {copies}"]


def _pending(texts: Mapping[str, str]) -> list[tuple[Proposal, list[str]]]:
    """Returns the proposals with their patches, each on top of those before it."""
    found, before = [], dict(texts)
    for propose in PROPOSALS:
        if proposal := propose(before):
            found.append((proposal, [line for name in proposal.texts for line in _patch(name, before, proposal)]))
            before |= proposal.texts
    return found


def _patch(name: str, before: Mapping[str, str], proposal: Proposal) -> list[str]:
    old, new = before[name].splitlines(), proposal.texts[name].splitlines()
    return list(unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm=""))


def _texts(home: Path) -> dict[str, str]:
    try:
        return {name: (home / name).read_text(encoding="utf-8") for name in DOCUMENTS}
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(f"the documents in {home} cannot be read: {error}") from None


def _leave_the_seals(before: str, after: str) -> None:
    old, new = read_yaml(before), read_yaml(after)
    seals = old.get("seals", [])
    if new.get("seals", []) != seals or (seals and criteria_digest(old) != criteria_digest(new)):
        raise DocumentError(
            "charter.yaml: the proposal changes sealed criteria, so it was not applied: edit them by hand, then run "
            "`groundwork charter amend` with a reason and a second person"
        )
