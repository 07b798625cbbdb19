"""Examines what an update of the pilot depends on: the template's files, the version, the data, the state of git."""

import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from groundwork.core.errors import AnswersError, GroundworkError, SchemaMismatch, TemplateUnknown
from groundwork.core.git import git, is_shallow
from groundwork.core.settings import Settings
from groundwork.documents import answers_file
from groundwork.documents.template_files import WHOLE, Compared, compare_as_written
from groundwork.documents.upstream import Template, Upstream, copier, without_credentials

HEALTHY, NEEDS_A_HAND, UNKNOWN = range(3)
_NAMED = 5  # files that one sentence names
_MIGRATED = "Until then, the commands that need it refuse to run."


@dataclass(frozen=True)
class Ailment:
    """One thing that needs a hand."""

    kind: str
    what: str
    why: str
    mend: str  # a command, to be typed in the pilot's folder
    paths: tuple[str, ...] = ()
    diff: str = ""


@dataclass(frozen=True)
class Examined:
    """The result of an examination. What could not be found out is in `unknown`, and counts as neither good nor bad."""

    ailments: tuple[Ailment, ...]
    unknown: tuple[str, ...]
    template: str = ""
    version: str = ""
    newest: str = ""
    releases_behind: int | None = None
    days_behind: int | None = None
    exact: bool | None = None  # whether the template's part is the template's to the byte
    digest: str = ""  # of the template's part here
    files: dict[str, str] = field(default_factory=dict)  # digest of each file of the template's part

    @property
    def code(self) -> int:
        """The exit code. What is unknown is told even where other things need a hand, because there may be more."""
        if self.unknown:
            return UNKNOWN
        return NEEDS_A_HAND if self.ailments else HEALTHY


def examine(settings: Settings, pending: Iterable[Callable[[], list[str]]] = ()) -> Examined:
    """Examine the pilot. Nothing is changed; the template is fetched and written in temporary folders.

    `pending` has one function per kind of thing that `groundwork migrate` brings up to date: what it would do.
    """
    found: list[Ailment] = [*_of_git(settings.home)]
    unknown, facts = list[str](), dict[str, Any]()
    for each in pending:
        try:
            if lines := each():
                found.append(
                    Ailment(kind="not-migrated", what=lines[0], why=_MIGRATED, mend="uv run groundwork migrate")
                )
        except SchemaMismatch as error:
            found.append(Ailment(kind="newer-data", what=str(error), why=_MIGRATED, mend="uv run groundwork update"))
        except GroundworkError as error:
            unknown.append(f"whether there is something to migrate: {error}")
    try:
        upstream = Upstream.of(settings.home)
        with upstream.fetched() as template:
            facts |= _versions(template)
            found += _behind(facts)
            compared = compare_as_written(template)
        found += _of_files(upstream, compared)
        facts |= {"exact": compared.exact, "digest": compared.digest, "files": dict(compared.digests)}
    except AnswersError as error:
        why = "An update reads from it which template, which version and which answers the project was made with."
        found.append(Ailment(kind="answers", what=str(error), why=why, mend="git log --follow -- .copier-answers.yml"))
    except TemplateUnknown as error:
        unknown.append(str(error))
    return Examined(ailments=tuple(found), unknown=tuple(unknown), **facts)


def _versions(template: Template) -> dict[str, Any]:
    """Returns the version here, the newest one, and how far apart they are, by the days of their tags."""
    missed, releases = template.missed(), template.releases()
    day = template.day_of(template.pilot.version)
    return {
        "template": without_credentials(template.pilot.source),
        "version": template.pilot.version,
        "newest": releases[-1].version if releases else template.pilot.version,
        "releases_behind": len(missed),
        "days_behind": max((missed[-1].day - day).days, 0) if missed else 0,
    }


def _behind(facts: dict[str, Any]) -> Iterator[Ailment]:
    if releases := facts["releases_behind"]:
        yield Ailment(
            kind="behind",
            what=f"{facts['version']} is {_count(releases, 'release')} and {_count(facts['days_behind'], 'day')} "
            f"behind {facts['newest']}",
            why="The longer an update waits, the more it changes at once.",
            mend="uv run groundwork update",
        )


def _of_files(upstream: Upstream, compared: Compared) -> Iterator[Ailment]:
    in_repository = git(upstream.home, "rev-parse", "--show-prefix") or ""  # `git apply` names files from the root
    answers = upstream.answers_file
    for edit in compared.edited:
        if edit.path == answers:
            kind, what = "answers", f"{edit.path} was edited by hand"
            why = "Copier writes it and reads from it what the project was made with; an edit misleads the next update."
        elif edit.shared:
            kind, what = "edited-above-the-line", f"{edit.path} was edited above its marked line"
            why = "An update changes the part above the line, and may conflict. Write below it what is yours."
        else:
            kind, what = "edited", f"{edit.path} is the template's, and was edited here"
            why = "An update may conflict with it, or lose it. Propose the edit to the template, or take it back."
        only = shlex.quote(in_repository + edit.path)
        take_back = f"uv run groundwork doctor | git apply --reverse --include {only}"
        yield Ailment(kind=kind, what=what, why=why, mend=take_back, paths=(edit.path,), diff=edit.diff)
    if compared.missing:
        yield Ailment(
            kind="missing",
            what=f"{_named(compared.missing)} of the template {_are(compared.missing)} missing",
            why="An update does not bring back a file that was deleted, and what uses it fails.",
            mend=_written_again(compared.missing, answers),
            paths=compared.missing,
        )
    if compared.added:
        yield Ailment(
            kind="added",
            what=f"{_named(compared.added)} {_are(compared.added)} not of the template's version",
            why=f"All of {' and '.join(WHOLE)} is the template's: a file that was left there may still be imported.",
            mend=f"git rm --force -- {' '.join(map(shlex.quote, compared.added))}",
            paths=compared.added,
        )
    if compared.undelivered:
        yield Ailment(
            kind="never-delivered",
            what=f"{_named(compared.undelivered)} {_are(compared.undelivered)} yours, and never came here",
            why="A new project has it, but an update does not touch the files that are yours.",
            mend=_written_again(compared.undelivered, answers),
            paths=compared.undelivered,
        )


def _of_git(home: Path) -> Iterator[Ailment]:
    """What makes an update refuse to start, as documents/updating does, and an incomplete history."""
    first = "git add --all && git commit"
    if git(home, "rev-parse", "--is-inside-work-tree") != "true":
        why = "An update merges with git: without it, your edits could not be told from the template's."
        yield Ailment(kind="git", what="the project is not in a git repository", why=why, mend=f"git init && {first}")
        return
    if not git(home, "ls-files", "charter.yaml"):
        yield Ailment(
            kind="git", what="the project is not committed", why="An update starts from what is committed.", mend=first
        )
    elif status := git(home, "status", "--porcelain", "--untracked-files=no", "--", "."):
        what = f"{_count(len(status.splitlines()), 'changed file')} not committed"
        yield Ailment(kind="git", what=what, why="An update starts from what is committed.", mend="git commit --all")
    if git(home, "var", "GIT_COMMITTER_IDENT") is None:
        mend = "git config user.name NAME && git config user.email ADDRESS"
        yield Ailment(
            kind="git",
            what="git does not know who you are",
            why="An update commits to a branch, in your name.",
            mend=mend,
        )
    if is_shallow(home):
        why = "Changes of the charter, and files that never came here, are found through the history."
        yield Ailment(kind="git", what="the clone has no complete history", why=why, mend="git fetch --unshallow")


def _written_again(paths: tuple[str, ...], answers: str) -> str:
    """Returns the command that writes these files of the template once more, and no other."""
    where = [] if answers == answers_file.USUAL else ["--answers-file", answers]
    only = [word for path in paths for word in ("--exclude", f"!{path}")]
    return shlex.join(
        [*copier(), "recopy", "--defaults", "--overwrite", "--vcs-ref", ":current:", *where, "--exclude", "*", *only]
    )


def _named(paths: tuple[str, ...]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _are(paths: tuple[str, ...]) -> str:
    return "is" if len(paths) == 1 else "are"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
