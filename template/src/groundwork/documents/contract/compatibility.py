"""Compares the contract with the last released version, to find breaking changes."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from groundwork.core.errors import DocumentError
from groundwork.core.git import git, is_shallow
from groundwork.core.quoting import listed
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Contract, Dataset
from groundwork.documents.contract.quality import ROLES

CONTRACT = "contract.yaml"
MAIN = (
    "refs/remotes/origin/HEAD",
    "refs/remotes/origin/main",
    "refs/remotes/origin/master",
    "refs/heads/main",
    "refs/heads/master",
)


class Released(NamedTuple):
    """The text of the contract at a commit."""

    at: str
    text: str


def check_version(home: Path, contract: Contract) -> str:
    """Compare the contract with the last released one; returns the result as one line of text.

    Raises DocumentError if it has breaking changes without a new major version, or if it cannot be compared.
    """
    earlier = last_released(home)
    if earlier is None:
        return f"{CONTRACT}: there is no earlier version to compare it with"
    try:
        promised = Contract.parse(earlier.text, f"{CONTRACT} at {earlier.at}")
    except DocumentError as error:
        version = _version(earlier.text)
        changes = [f"unknown, because that version cannot be read any more: {error}"]
    else:
        version = promised.version
        changes = list(breaking_changes(promised, contract))
        if promised.id != contract.id or promised.status in ("proposed", "draft"):
            return f"{CONTRACT} is not compared with {earlier.at}, where the contract was another one or a draft"
    if _series(contract.version) != _series(version):
        return f"{CONTRACT} starts a new series: version {contract.version} after {version} at {earlier.at}"
    if not changes:
        return f"{CONTRACT} is compatible with version {version} at {earlier.at}"
    listed = "\n".join(f"  {change}" for change in changes)
    raise DocumentError(
        f"{CONTRACT}: version {contract.version} breaks compatibility with version {version} at {earlier.at}:\n"
        f"{listed}\nUndo these changes, or raise the version to {_next(version)} and inform the data's producers and "
        "the service's clients."
    )


def breaking_changes(old: Contract, new: Contract) -> Iterator[str]:
    """Yields one line of text per change by which valid rows or requests of the old contract are refused now."""
    before, now = old.dataset, new.dataset
    if before.name != now.name:
        yield f"the data set {before.name} was renamed to {now.name}"
    columns = {column.name: column for column in now.columns}
    known = {column.name for column in before.columns}
    added = [column for column in now.columns if column.name not in known]
    for column in before.columns:
        if column.name not in columns:
            alike = [each.name for each in added if each.logical_type == column.logical_type]
            yield f"{column.name}: removed" + (f", or renamed to {' or '.join(alike)}" if alike else "")
        else:
            yield from (f"{column.name}: {change}" for change in _column_changes(column, columns[column.name]))
    yield from (f"{column.name}: new and required" for column in added if column.needed)
    rules = _row_rules(before)
    yield from (f"{name}: a new rule" for condition, name in _row_rules(now).items() if condition not in rules)


def _column_changes(old: Column, new: Column) -> Iterator[str]:
    if old.logical_type != new.logical_type:
        yield f"the type was {old.logical_type}, is now {new.logical_type}"
    if old.zone != new.zone:
        yield f"the time zone was {old.zone}, is now {new.zone}"
    if new.logical_type_options.timezone and not old.logical_type_options.timezone:
        yield "must now have a time zone in the source"
    for role in ROLES:
        if old.plays(role) != new.plays(role):
            yield f"is {'now' if new.plays(role) else 'no longer'} tagged {role}"
    if old.primary_key != new.primary_key:
        yield f"is {'now' if new.primary_key else 'no longer'} the primaryKey"
    if new.needed and not old.needed:
        yield "is now required"
    if new.unique and not (old.unique or old.primary_key):
        yield "must now be unique"
    before, now = old.logical_type_options, new.logical_type_options
    for name, narrower in (("minimum", 1), ("min_length", 1), ("maximum", -1), ("max_length", -1)):
        was, bound = getattr(before, name), getattr(now, name)
        if name == "max_length" and old.logical_type == "string" and not old.valid_values:
            was, bound = old.longest, new.longest
        if bound is not None and (was is None or (bound - was) * narrower > 0):
            yield f"{name.replace('_l', 'L')} was {'not set' if was is None else f'{was:g}'}, is now {bound:g}"
    if now.pattern is not None and now.pattern != before.pattern:
        yield f"the pattern was {before.pattern or 'not set'}, is now {now.pattern}, which may accept fewer values"
    if new.valid_values and not old.valid_values:
        yield f"must now be one of {', '.join(listed(new.valid_values))}"
    elif new.valid_values and (gone := [value for value in old.valid_values if value not in new.valid_values]):
        yield f"may no longer be {', '.join(listed(gone))}"


def _row_rules(dataset: Dataset) -> dict[str, str]:
    return {str(rule.query.condition): f"{rule.place}: {rule.name}" for rule in dataset.row_rules}


def last_released(home: Path) -> Released | None:
    """Returns the contract at the last release tag, else where this branch left main, else before its last change.

    Returns None outside a repository and for the first version. Raises DocumentError if git fails, or if the clone is
    too shallow to find the release.
    """
    if not any((folder / ".git").exists() for folder in (home, *home.parents)):
        return None
    head = git(home, "rev-parse", "--verify", "--quiet", "HEAD")
    if head is None:
        if git(home, "rev-parse", "--git-dir") is None:
            raise DocumentError(f"{CONTRACT}: git cannot read this repository: run `git status` here to see why")
        return None
    found = _base(home, head)
    if found is None:
        if is_shallow(home):
            raise DocumentError(
                f"{CONTRACT}: the last release cannot be found in a shallow clone: fetch the whole history with tags "
                "(`git fetch --unshallow --tags`; in CI `fetch-depth: 0` or `GIT_DEPTH: 0`)"
            )
        return None
    at, commit = found
    text = git(home, "show", f"{commit}:./{CONTRACT}")
    return Released(at, text) if text is not None else None


def _base(home: Path, head: str) -> tuple[str, str] | None:
    """Returns a description of the commit to compare with, and its git revision; None if there is none.

    Each call of git takes as long as reading a document, so none is made twice.
    """
    if tag := git(home, "describe", "--tags", "--abbrev=0", "--match=v[0-9]*", "--match=[0-9]*"):
        return f"the tag {tag}", f"refs/tags/{tag}"
    refs = dict(
        line.split(" ", 1)
        for line in (git(home, "for-each-ref", "--format=%(refname) %(objectname)", *MAIN) or "").splitlines()
    )
    ref = next((name for name in MAIN if name in refs), None)
    main = ref.split("/", 2)[2] if ref else ""
    left_at = git(home, "merge-base", "HEAD", main) if ref and refs[ref] != head else head
    if left_at is None:
        return None
    if left_at != head:
        return f"the commit {left_at[:10]} of {main}", left_at
    if git(home, "diff", "--name-only", "HEAD", "--", CONTRACT):
        return "the last commit", "HEAD"
    before = (git(home, "log", "--first-parent", "-1", "--format=%P", "--", CONTRACT) or "").split()
    return (f"the commit {before[0][:10]}", before[0]) if before else None


def _version(text: str) -> str:
    """Returns the version in the text of an invalid contract; 0.0.0 if none is found."""
    found = re.search(r"^version: *[\"']?(\d+\.\d+\.\d+)", text, re.MULTILINE)
    return found[1] if found else "0.0.0"


def _series(version: str) -> list[str]:
    """Returns the part of the version that must increase with a breaking change: major, or 0 and minor before 1.0.0."""
    major, minor, _ = version.split(".")
    return [major] if major != "0" else [major, minor]


def _next(version: str) -> str:
    major, minor, _ = version.split(".")
    return f"{int(major) + 1}.0.0" if major != "0" else f"0.{int(minor) + 1}.0"
