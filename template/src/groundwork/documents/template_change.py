"""Says whether a change, such as a pull request, leaves the template's part of the pilot as the template wrote it.

An update changes more files than anybody reads. This says that they are the template's, so that a reviewer reads the
others alone. An edit of the template's files that was here before the change, and is the same after it, passes.
"""

import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from groundwork.core.errors import AnswersError, GroundworkError, TemplateUnknown
from groundwork.core.git import git
from groundwork.documents.template_files import Compared, Edit, above, compare_as_written
from groundwork.documents.upstream import Template, Upstream, matches, without_credentials


@dataclass(frozen=True)
class ChangeJudged:
    """What a change does to the template's part."""

    update: bool  # whether it changes the answers file: then the whole part has to be the template's
    sentence: str
    unknown: bool = False
    wrong: tuple[str, ...] = ()  # files of the template that the change leaves in another state than the template's
    edits: tuple[Edit, ...] = ()  # those of `wrong` that were edited
    kept: tuple[str, ...] = ()  # files that were edited, deleted or added before, in the same way
    rest: tuple[str, ...] = ()  # what an update changes beside the template's part: this is what a reviewer reads
    digest: str = ""

    @property
    def code(self) -> int:
        """The exit code: for an update, 1 if it is not the template's, and 2 if this cannot be known; otherwise 0."""
        if not self.update:
            return 0
        return 2 if self.unknown else int(bool(self.wrong))


def judge(home: Path, since: str) -> ChangeJudged:
    """Judge what changed in the folder since the commit, or since the history left it.

    Raises GroundworkError if git does not know the commit, AnswersError if the answers file cannot be read.
    """
    base = git(home, "merge-base", since, "HEAD")
    if base is None:
        raise GroundworkError(f"git finds no common history with {since}: fetch all of it, `git fetch --unshallow`")
    changed = set((git(home, "diff", "--name-only", "--no-renames", "--relative", "-z", base) or "").split("\0")) - {""}
    upstream = Upstream.of(home)
    update = upstream.answers_file in changed
    try:
        with upstream.fetched() as template, _folder_at(home, base) as before:
            if not update and all(_is_yours(path, template) for path in changed):
                return ChangeJudged(update=update, sentence="this change touches nothing of the template's")
            return _updated(template, changed, before) if update else _edited(template, changed)
    except TemplateUnknown as error:
        required = "an update must be" if update else "only an update must be"
        return ChangeJudged(
            update=update,
            sentence=f"unknown whether this is the template's, and {required} verified: {error}",
            unknown=True,
        )


def _edited(template: Template, changed: set[str]) -> ChangeJudged:
    """Judges a change that is no update: what it edits of the template's is told."""
    here = compare_as_written(template)
    wrong = sorted(changed & _states(here).keys())
    return ChangeJudged(
        update=False,
        sentence=f"{len(wrong)} of the template's files are edited here; an update may conflict or lose the edits"
        if wrong
        else "this change leaves the template's files as they were",
        wrong=tuple(wrong),
        edits=tuple(edit for edit in here.edited if edit.path in wrong),
        digest=here.digest,
    )


def _updated(template: Template, changed: set[str], before: Path) -> ChangeJudged:
    """Judges an update: all of the template's part has to be the template's, but for edits that were here before."""
    here, earlier = compare_as_written(template), _earlier(template, before)
    states, source = _states(here), template.pilot.source
    kept = {path for path, state in states.items() if earlier and _states(earlier).get(path) == state}
    wrong = states.keys() - kept
    version = f"{template.pilot.version} of {without_credentials(source)}"
    sentence = f"{len(here.digests) - len(kept):,} files of the template are exactly those of {version}"
    if wrong:
        sentence = f"{len(wrong):,} of the template's files are not as {version} has them"
    elif (earlier_source := _source(before, source)) != source:
        wrong = {template.pilot.answers_file}
        sentence = f"the template is now {without_credentials(source)}, and was {without_credentials(earlier_source)}"
    theirs = here.digests.keys() | (earlier.digests.keys() if earlier else set())
    below = (path for path in changed & theirs if _below(template.pilot.home / path) != _below(before / path))
    return ChangeJudged(
        update=True,
        sentence=sentence,
        wrong=tuple(sorted(wrong)),
        edits=tuple(edit for edit in here.edited if edit.path in wrong),
        kept=tuple(sorted(kept)),
        rest=tuple(sorted((changed - theirs) | set(below))),
        digest=here.digest,
    )


def _below(file: Path) -> bytes:
    """Returns the team's part of a shared file; nothing of any other file."""
    content = file.read_bytes() if file.is_file() else b""
    return content[len(above(content)) :]


def _is_yours(path: str, template: Template) -> bool:
    return any(matches(path, pattern) for pattern in template.yours(template.pilot.version))


def _states(compared: Compared) -> dict[str, str]:
    """Returns how each file differs from the template's: the same text for the same difference."""
    edited = {edit.path: "\n".join(edit.changes) for edit in compared.edited}
    added = {path: compared.digests[path] for path in compared.added}
    return edited | added | dict.fromkeys(compared.missing, "missing")


def _source(home: Path, default: str) -> str:
    try:
        return Upstream.of(home).source
    except AnswersError:
        return default


def _earlier(template: Template, before: Path) -> Compared | None:
    """Returns the comparison of the pilot as it was before the change; None where there was none, or it is unknown."""
    try:
        return compare_as_written(Template(template.clone, Upstream.of(before)))
    except GroundworkError:
        return None


@contextmanager
def _folder_at(home: Path, commit: str) -> Iterator[Path]:
    """Provide the pilot's folder as it was at the commit."""
    with TemporaryDirectory(prefix="groundwork-before-") as folder:
        packed = Path(folder) / "before.tar"
        before = Path(folder) / "pilot"
        before.mkdir()
        if git(home, "archive", f"--output={packed}", commit) is not None:
            with tarfile.open(packed) as archive:
                archive.extractall(before, filter="data")
        yield before
