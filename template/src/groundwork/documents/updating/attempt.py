"""An update that is tried in a worktree: the version, the scripts that run, what happens to each file, the branch."""

import re
import subprocess
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

from groundwork.core.errors import UpdateError
from groundwork.core.git import git
from groundwork.documents.template_files import Compared, compare
from groundwork.documents.updating.changes import STOPPING, Change, Kind, Trees
from groundwork.documents.updating.worktree import Worktree
from groundwork.documents.upstream import Owner, Release, Template

_SCRIPT = re.compile(r"hooks/[\w./-]+")


@dataclass(frozen=True)
class Script:
    """A migration that the update runs: the release it belongs to, its path in the template, and its text."""

    version: str
    path: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Which version the pilot goes to, with what it passes on the way."""

    before: str
    after: str
    passed: Sequence[Release]  # the releases after `before`, up to `after`
    data: Mapping[str, str] = field(default_factory=dict)  # answers to change

    @property
    def branch(self) -> str:
        """The branch that holds the update."""
        return f"groundwork-update-{self.after.removeprefix('v')}" + ("-answers" if not self.passed else "")

    @property
    def title(self) -> str:
        """What the update does, in one line."""
        if not self.passed:
            return f"Change the answers {', '.join(self.data)} to Groundwork's questions"
        return f"Update Groundwork from {self.before.removeprefix('v')} to {self.after.removeprefix('v')}"


@dataclass(frozen=True, kw_only=True)
class Update:
    """An update that was carried out in a worktree, and what it does."""

    target: Destination
    owners: Sequence[str] | None  # what owners of pilots must know; None if the template has no record of it
    changes: Sequence[Change]
    compared: Compared  # the template's part of the pilot after the update, with that of the new version
    new_packages: bool  # whether pyproject.toml asks for other packages

    def of_kind(self, *kinds: Kind) -> list[Change]:
        """Returns the changes of these kinds."""
        return [each for each in self.changes if each.kind in kinds]

    @property
    def stopped(self) -> bool:
        """Whether there are conflicts, or edits that would be lost."""
        return bool(self.of_kind(*STOPPING))


def choose(template: Template, wanted: str | None, data: Mapping[str, str]) -> Destination | None:
    """Returns the way to the wanted release, by default the newest; None if the pilot is there already.

    Raises UpdateError if there is no such release, if it is older, or if the template asks no such question.
    """
    before, missed = template.pilot.version, template.missed()
    after = missed[-1].version if missed else before
    if wanted:
        names = {each.version.removeprefix("v"): each.version for each in template.releases()}
        after = names.get(wanted.removeprefix("v"), "")
        if not after:
            raise UpdateError(f"the template has no release {wanted}: it has {', '.join(names) or 'none'}")
    if after != before and after not in [each.version for each in missed]:
        raise UpdateError(
            f"{after} is older than the pilot's version {before}, and an update goes forward only: to go back, revert "
            "the commit of the update with `git revert`"
        )
    passed = missed[: [each.version for each in missed].index(after) + 1] if after != before else []
    questions = template.configuration(after)
    if unknown := [name for name in data if name.startswith("_") or name not in questions]:
        raise UpdateError(f"the template asks no question {', '.join(unknown)}: see {template.pilot.answers_file}")
    return Destination(before=before, after=after, passed=passed, data=data) if passed or data else None


def scripts(template: Template, chosen: Destination) -> list[Script]:
    """Returns the migrations of the template that run on the way, each once."""
    passed = {each.version.removeprefix("v") for each in chosen.passed}
    found = {}
    for each in template.configuration(chosen.after).get("_migrations", []):
        version = str(each.get("version", "")).removeprefix("v") if isinstance(each, dict) else ""
        if version and version not in passed:
            continue
        command = str(each.get("command", each) if isinstance(each, dict) else each)
        named = _SCRIPT.search(command)
        path = named.group() if named else command
        found[path] = Script(version, path, (template.read(chosen.after, path) if named else None) or command)
    return list(found.values())


def try_out(template: Template, chosen: Destination, tree: Worktree, trust: bool) -> Update:
    """Bring the pilot in the worktree to the chosen version, and return what that does; all of it is in git's index.

    Raises TemplateUnknown if Copier fails.
    """
    if not (tree.home / template.pilot.answers_file).is_file():
        raise UpdateError(f"git does not know {template.pilot.answers_file}: commit it")
    there = replace(template, pilot=replace(template.pilot, answers=dict(template.pilot.answers) | dict(chosen.data)))
    with tempfile.TemporaryDirectory(prefix="groundwork-render-") as folder:
        old, new = Path(folder) / "old", Path(folder) / "new"
        template.render(chosen.before, old)
        there.render(chosen.after, new)
        mine = _tree(tree.home, tree.paths("ls-files", "-z"))
        template.update(tree.home, chosen.after, chosen.data, trust)
        conflicts = {line.split("\t")[1] for line in tree.paths("ls-files", "-z", "--unmerged")}
        tree.git("add", "--all", "--", ".")
        result = _tree(tree.home, tree.paths("ls-files", "-z"))
        trees = Trees(
            old=_tree(old, _files(old)),
            new=_tree(new, _files(new)),
            mine=mine,
            result=result,
            conflicts=conflicts,
            moved=_moved(Path(folder)),
            in_the_way={path for path in result.keys() - mine.keys() if (template.pilot.home / path).exists()},
        )
        compared = compare(tree.home, there, chosen.after, new)
    expected = template.pilot.answers_file  # each update changes it
    changes = trees.changes(_owners(template, chosen, trees))
    return Update(
        target=chosen,
        owners=_owners_lines(template, chosen),
        changes=[each for each in changes if each.path != expected or each.kind in STOPPING],
        compared=compared,
        new_packages=_packages(mine) != _packages(result),
    )


def to_branch(update: Update, tree: Worktree, text: str) -> bool:
    """Commit what is in the worktree's index to the branch of the update; return False if it was there already.

    Raises UpdateError if the branch holds something else, or if git cannot commit.
    """
    branch = update.target.branch
    there = git(tree.home, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}")
    if there:
        same = tree.git("diff", "--cached", "--name-only", branch) == ""
        if same and git(tree.home, "rev-parse", "--verify", "--quiet", f"{branch}^") == tree.start:
            return False
        raise UpdateError(
            f"there is a branch {branch} already: merge it, or delete it with `git branch --delete --force {branch}`"
        )
    tree.git(
        "commit", "--quiet", "--no-verify", "--cleanup=whitespace", "--message", f"{update.target.title}\n\n{text}"
    )
    tree.git("branch", branch)
    return True


def require_name(home: Path) -> None:
    """Raises UpdateError if git does not know who commits."""
    if git(home, "var", "GIT_COMMITTER_IDENT") is None:
        raise UpdateError(
            "git does not know who commits: run `git config user.name NAME` and `git config user.email ADDRESS`"
        )


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


def _tree(folder: Path, paths: Iterable[str]) -> dict[str, bytes]:
    """Returns the content of the files; of a symbolic link its target."""
    found = {}
    for path in paths:
        file = folder / path
        if file.is_symlink():
            found[path] = str(file.readlink()).encode()
        elif file.is_file():
            found[path] = file.read_bytes()
    return found


def _moved(folder: Path) -> dict[str, str]:
    """Returns where the files of `old` are in `new`, of those that the template has moved, as git finds them."""
    words = ("git", "diff", "--no-index", "--find-renames", "--diff-filter=R", "--name-status", "-z", "old", "new")
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)  # 1: they differ
    parts = done.stdout.split("\0")
    return {
        before.removeprefix("old/"): after.removeprefix("new/")
        for before, after in zip(parts[1::3], parts[2::3], strict=False)
    }


def _owners(template: Template, chosen: Destination, trees: Trees) -> dict[str, Owner]:
    """Returns the owner of each path that the template writes."""
    found: dict[str, Owner] = {}
    for version, files in ((chosen.before, trees.old), (chosen.after, trees.new)):
        found |= {path: template.owner(version, path, text.decode(errors="replace")) for path, text in files.items()}
    return found


def _owners_lines(template: Template, chosen: Destination) -> list[str] | None:
    """Returns what the record of releases says to owners, oldest release first."""
    text = template.read(chosen.after, "releases.yaml")
    recorded = yaml.safe_load(text) if text else None
    if not isinstance(recorded, list):
        return None
    passed = {each.version.removeprefix("v") for each in chosen.passed}
    return [
        f"{each['version']}: {line}"
        for each in reversed(recorded)
        if str(each.get("version")) in passed
        for line in each.get("owners", [])
    ]


def _packages(tree: Mapping[str, bytes]) -> object:
    """Returns what decides which packages are installed."""
    try:
        project = tomllib.loads(tree["pyproject.toml"].decode())
    except (KeyError, ValueError):  # it has a conflict
        return None
    own = project.get("project", {})
    return [
        own.get("requires-python"),
        own.get("dependencies"),
        project.get("dependency-groups"),
        project.get("tool", {}).get("uv"),
    ]
