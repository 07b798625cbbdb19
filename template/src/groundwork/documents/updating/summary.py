"""An update in words: what a team must know, on one screen, and the rest as a digest."""

from collections import Counter
from collections.abc import Iterable

from groundwork.documents.updating.attempt import Update
from groundwork.documents.updating.behaviour import Behaviour
from groundwork.documents.updating.changes import Change, Kind

_MOST = 8  # entries of a list in the pull request
_PLAIN: tuple[Kind, ...] = ("updated", "new", "removed")  # the template's own files, of which a team need not read each
_LONGEST_EDIT = 12  # lines of a lost edit in the pull request


def files(changes: Iterable[Change]) -> str:
    """Returns the paths: each if they are few, else the number in each folder."""
    paths = [each.path for each in changes]
    if len(paths) <= 5:
        return ", ".join(paths)
    folders = Counter("/".join(path.split("/")[:-1][:3]) for path in paths)
    return ", ".join(f"{folder or 'the top folder'} ({count})" for folder, count in folders.most_common())


def for_owners(update: Update) -> list[str]:
    """Returns what owners must know, one line each."""
    if update.owners is None:
        return ["unknown: the template has no record of its releases"]
    return list(update.owners) or ["nothing"]


def warnings(found: Behaviour) -> list[str]:
    """Returns what will behave otherwise, or is unknown, one line each."""
    lines = [f"gate: {each.sentence}" for each in found.verdicts]
    for each in found.verdicts:
        for check in each.differences:
            lines.append(
                f"version {each.version}, {check.name}: before {check.before or 'no such check'}; "
                f"after {check.after or 'no such check'}"
            )
    if found.gate_unknown:
        lines.append(f"gate: unknown: {found.gate_unknown}")
    return [*lines, f"`groundwork check` {found.check_sentence}"]


def next_steps(update: Update, monorepo: bool) -> list[str]:
    """Returns the commands to type on the branch of the update."""
    github = any(each.path.startswith(".github/") for each in update.changes)
    return [
        "uv sync",
        "uv run groundwork migrate",
        *(["ops/delivery.sh monorepo"] if monorepo and github else []),
        "uv run groundwork check && uv run pytest",
    ]


def pull_request(update: Update, found: Behaviour, steps: Iterable[str]) -> str:
    """Returns the text of the pull request in Markdown, without its title: about one screen."""
    parts: list[str] = []
    if update.of_kind("conflict", "lost"):
        parts += ["**Not ready to merge**", ""]
        parts += _listed(f"- {each.kind}: `{each.path}`{_note(each)}" for each in update.of_kind("conflict", "lost"))
        parts.append("")
    parts += ["**What owners must know**", "", *_listed(f"- {line}" for line in for_owners(update))]
    parts += ["", "**What will behave otherwise**", "", *_listed(f"- {line}" for line in warnings(found)), ""]
    parts += ["**After merging**", "", "```sh", *steps, "```", "", "**Files**", ""]
    for kind in ("merged", "kept"):
        if changes := [each for each in update.of_kind(kind) if kind == "merged" or each.note]:
            parts += _listed(f"- {kind}: `{each.path}`{_note(each)}" for each in changes)
    for kind in _PLAIN:
        if changes := update.of_kind(kind):
            parts.append(f"- {kind}, {len(changes)}: {files(changes)}")
    compared = update.compared
    parts.append(
        f"- {len(compared.digests) - len(compared.edited)} files are exactly those of the template's version "
        f"{update.target.after}, SHA-256 of all {compared.digest}: `groundwork doctor` compares them again"
    )
    for each in update.of_kind("lost"):
        lines = each.edit.splitlines()
        cut = ["…"] if len(lines) > _LONGEST_EDIT else []
        parts += ["", f"The edit of `{each.path}` that is not in:", "", "```diff", *lines[:_LONGEST_EDIT], *cut, "```"]
    return "\n".join(parts) + "\n"


def _note(change: Change) -> str:
    return f": {change.note}" if change.note else ""


def _listed(lines: Iterable[str]) -> list[str]:
    """Returns the first lines, and how many more there are."""
    found = list(lines)
    return found if len(found) <= _MOST else [*found[:_MOST], f"- and {len(found) - _MOST} more: `groundwork update`"]
