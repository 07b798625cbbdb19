"""What a pilot's repository says: version, day, decision, owner, edited files, pending update."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import yaml

from groundwork_fleet.facts import Fact, some, unknown
from groundwork_fleet.git import File, GitError, Repository, without_credentials
from groundwork_fleet.template import Template, TemplateUnknown, version_of

LAST_DAY, EXTENSION = 90, 30  # as in documents/decision_record.py and documents/charter.py of a pilot
ANSWERS = ".copier-answers.yml"
DOCUMENTS = ("charter.yaml", "OWNERS", "decision-record.yaml")
LARGEST = 200_000  # bytes of a document
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
AsWritten: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # every value is the text that stands there


class NotAPilot(Exception):
    """The repository can be read, but not as a pilot; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """A pilot as it was committed."""

    repository: Repository
    files: list[File]
    answers_file: str
    answers: dict[str, Any]
    documents: dict[str, Any]  # by file; an Unreadable where one cannot be read, and no entry where there is none
    branches: dict[str, str]  # what `_commit` the answers file of each other branch holds, by the branch's name

    @property
    def name(self) -> str:
        """The pilot's title."""
        title = _in(self.documents.get("charter.yaml"), "metadata", "title")
        return str(title or self.answers.get("project_name") or "")


@dataclass(frozen=True)
class Unreadable:
    """A document that cannot be read."""

    reason: str


async def read(repository: Repository) -> Pilot:
    """Read the pilot at HEAD. Raises GitError or NotAPilot."""
    head = await repository.text("rev-parse", "--verify", f"{repository.head}^{{commit}}")
    try:
        files = await repository.files(head)
    except GitError:
        raise NotAPilot(f"there is no folder {repository.folder}") from None
    blobs = {file.path: file.blob for file in files}
    candidates = [path for path in blobs if path.startswith(".copier-answers") and path.endswith((".yml", ".yaml"))]
    name = ANSWERS if ANSWERS in candidates else candidates[0] if len(candidates) == 1 else ""
    if not name:
        raise NotAPilot(f"it has {'several answers files, and none is' if candidates else 'no'} {ANSWERS}")
    there = [path for path in DOCUMENTS if path in blobs]
    others = await _answers_of_branches(repository, name, blobs[name])
    wanted = [blobs[path] for path in (name, *there)]
    texts = await repository.contents([*wanted, *others.values()])
    answers = _parsed(texts[0], Loader)
    if isinstance(answers, Unreadable):
        raise NotAPilot(f"{name} {answers.reason}")
    if not isinstance(answers, dict) or "_src_path" not in answers:
        raise NotAPilot(f"{name} names no template")
    if "charter.yaml" not in blobs and "project_name" not in answers:
        raise NotAPilot(f"made from another template, {without_credentials(str(answers['_src_path']))}")
    return Pilot(
        repository=repository,
        files=files,
        answers_file=name,
        answers=answers,
        documents=dict(zip(there, (_parsed(text, AsWritten) for text in texts[1 : len(wanted)]), strict=True)),
        branches={
            branch: str(each["_commit"])
            for branch, text in zip(others, texts[len(wanted) :], strict=True)
            if isinstance(each := _parsed(text, Loader), dict) and "_commit" in each
        },
    )


async def _answers_of_branches(repository: Repository, name: str, present: str) -> dict[str, str]:
    """Return the object of the answers file on each branch where it is another one than at HEAD."""
    listed = await repository.text("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/remotes")
    tips = [line.partition(" ")[::2] for line in listed.splitlines()]
    found = await repository.entries([commit for commit, _ in tips], name)
    return {
        ref.split("/", 2)[2]: blob
        for (_, ref), blob in zip(tips, found, strict=True)
        if blob is not None and blob != present
    }


def _parsed(text: bytes | None, loader: Any) -> Any:
    if text is None or len(text) > LARGEST:
        return Unreadable("is too large to be read")
    try:
        return yaml.load(text.decode(), loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        summary = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
        return Unreadable(f"is not valid YAML: {summary}")


def _in(document: Any, *names: str) -> Any:
    """Return the value under these names; None where there is none."""
    for name in names:
        document = document.get(name) if isinstance(document, dict) else None
    return document


def _day(text: Any) -> date | None:
    """Return the day that is written as YYYY-MM-DD, in a year that leaves room for a pilot; None for anything else."""
    if not isinstance(text, str) or not re.fullmatch(r"[1-8]\d{3}-\d\d-\d\d", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


async def facts(pilot: Pilot, template: Template | str, today: date) -> dict[str, Fact]:
    """Return what is known from git. `template` is a text that says why, if there is none to compare with."""
    decided = _decisions(pilot.documents)
    return {
        "version": _version(pilot.answers, template, today),
        "day": _pilots_day(pilot.documents, decided, today),
        "decision": decided if isinstance(decided, Fact) else _decision(decided),
        "owner": _owner(pilot.documents, today),
        "edited": await _edited(pilot, template),
        "update": _update(pilot),
    }


def _version(answers: Mapping[str, Any], template: Template | str, today: date) -> Fact:
    noted = str(answers.get("_commit") or "")
    version = version_of(noted)
    if version is None:
        return unknown(f"its version is no release: {noted}" if noted else "its answers file names no version")
    value: dict[str, Any] = {"version": str(version), "newest": None, "releases_behind": None, "days_behind": None}
    if isinstance(template, str):
        return Fact(text=f"{version}, newest unknown", value=value, unknown=template)
    newer = template.newer_than(version)
    days = max(0, (today - newer[0].on).days) if newer else 0
    value |= {"newest": str(template.newest.version), "releases_behind": len(newer), "days_behind": days}
    if not newer:
        return Fact(text=f"{version}, newest", value=value)
    behind = f"{_count(len(newer), 'release')}, {_count(days, 'day')} behind"
    return Fact(text=f"{version}, {behind}", value=value, to_do=behind)


def _decisions(documents: Mapping[str, Any]) -> list[dict[str, Any]] | Fact:
    """Return the decisions, the newest last; a Fact that says why if they are not known."""
    if "decision-record.yaml" not in documents:
        return []
    record = documents["decision-record.yaml"]
    if isinstance(record, Unreadable):
        return unknown(f"decision-record.yaml {record.reason}", f"decision-record.yaml {record.reason}")
    found = _in(record, "decisions") or []
    if not isinstance(found, list) or not all(isinstance(each, dict) and each.get("outcome") for each in found):
        return unknown("decision-record.yaml holds no list of decisions", "decision-record.yaml is damaged")
    return found


def _decision(decided: list[dict[str, Any]]) -> Fact:
    if not decided:
        return Fact(text="none yet")
    outcome, on = decided[-1]["outcome"], decided[-1].get("on")
    return Fact(text=f"{outcome} on {on}", value={"outcome": outcome, "on": on})


def _pilots_day(documents: Mapping[str, Any], decided: list[dict[str, Any]] | Fact, today: date) -> Fact:
    charter = documents.get("charter.yaml", Unreadable("is missing"))
    if isinstance(charter, Unreadable):
        return unknown(f"charter.yaml {charter.reason}", f"charter.yaml {charter.reason}")
    started = _day(_in(charter, "plan", "day0"))
    if started is None:
        return Fact(text="not started", unknown="day 0 is not set in charter.yaml")
    day = (today - started).days
    if isinstance(decided, Fact):
        return Fact(text=f"{day}", value={"day": day, "due": None}, unknown=decided.unknown)
    outcome = decided[-1]["outcome"] if decided else ""
    extension = str(_in(charter, "plan", "extensionDays") or EXTENSION)
    last = LAST_DAY + (int(extension) if outcome == "extend" and re.fullmatch("[0-9]{1,4}", extension) else 0)
    value = {"day": day, "due": (started + timedelta(last)).isoformat()}
    if outcome in ("scale", "stop"):
        return Fact(text=f"{day}, decided", value=value | {"due": None})
    if day < 0:
        return Fact(text=f"starts on {started}", value=value)
    overdue = f"decision overdue by {_count(day - last, 'day')}" if day > last else ""
    return Fact(text=f"{day} of {last}", value=value, to_do=overdue)


def _owner(documents: Mapping[str, Any], today: date) -> Fact:
    owners = documents.get("OWNERS", Unreadable("is missing"))
    if isinstance(owners, Unreadable):
        return unknown(f"OWNERS {owners.reason}", f"OWNERS {owners.reason}")
    name, handle, until = (_in(owners, "accountable", "decision", part) for part in ("name", "handle", "until"))
    if not isinstance(name, str) or not isinstance(handle, str) or "TBD" in (name[:3], handle[:3]):
        return unknown("OWNERS names nobody who answers for the decision", "no owner of the decision")
    last = _day(until)
    ended = f"the decision owner's appointment ended on {last}" if last and last < today else ""
    return Fact(text=name, value={"name": name, "handle": handle}, to_do=ended)


async def _edited(pilot: Pilot, template: Template | str) -> Fact:
    if isinstance(template, str):
        return unknown(template)
    try:
        found = await template.edits(pilot.repository, pilot.files, pilot.answers, pilot.answers_file)
    except TemplateUnknown as error:
        return unknown(str(error))
    value = {"compared": found.compared, "edited": found.edited, "missing": found.missing}
    if not found.edited and not found.missing:
        return Fact(text="none", value=value)
    kinds = (("edited", found.edited), ("missing", found.missing))
    text = "; ".join(f"{len(paths)} {what}: {some(paths)}" for what, paths in kinds if paths)
    return Fact(text=text, value=value, to_do=f"template files {text}")


def _update(pilot: Pilot) -> Fact:
    """Return the newest version that waits on a branch."""
    present = version_of(str(pilot.answers.get("_commit") or ""))
    if present is None:
        return unknown("its version is not known")
    waiting = [(version, branch) for branch, noted in pilot.branches.items() if (version := version_of(noted))]
    newer = sorted((version, branch) for version, branch in waiting if version > present)
    if not newer:
        return Fact(text="none", value=[])
    version, branch = newer[-1]
    value = [{"version": str(each), "branch": name} for each, name in newer]
    return Fact(text=f"{version} on {branch}", value=value, to_do=f"update pending: {version} on {branch}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
