"""The template that a pilot came from: the recorded answers, the released versions, and the pilot as Copier writes it.

Copier is no package of the pilot: it runs as a command of its own. Templates are rendered without trust.
"""

import fnmatch
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self

import yaml

from groundwork.core.errors import TemplateUnknown, shortened
from groundwork.core.git import git, git_or_raise
from groundwork.documents import answers_file

BOUNDARY = re.compile(r"^.*Above: the template's.*Below: yours\..*\n?", re.MULTILINE)
Owner = Literal["yours", "template", "shared"]

_OLDEST_COPIER = "9.19.1"
_PATIENCE = 300  # seconds for one call of git or Copier
_ALIASES = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
# What Copier counts as a release: a version of PEP 440 that is no pre-release.
_RELEASE = re.compile(r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(?:post|rev|r)[-_.]?(\d*)|-(\d+))?(?:\+[a-z\d.]+)?", re.I)


@dataclass(frozen=True)
class Upstream:
    """What the answers file says: which template, at which version, with which answers."""

    home: Path  # the pilot's folder
    answers_file: str  # relative to home
    source: str  # as Copier recorded it: a URL, a shorthand such as gh:OWNER/NAME, or a folder
    version: str  # a tag, or what `git describe` said of a commit between two tags
    answers: Mapping[str, Any]

    @classmethod
    def of(cls, home: Path) -> Self:
        """Read the answers file of the pilot. Raises AnswersError if it is missing or cannot be read."""
        name = answers_file.find(home)
        recorded = answers_file.read(home / name)
        return cls(
            home=home,
            answers_file=name,
            source=recorded["_src_path"],
            version=recorded["_commit"],
            answers={key: value for key, value in recorded.items() if not key.startswith("_")},
        )

    @property
    def address(self) -> str:
        """What git clones. A relative folder counts from the pilot's folder, or from the folder that it lies in."""
        for alias, start in _ALIASES.items():
            if self.source.startswith(alias):
                return start + self.source.removeprefix(alias).lstrip("/").removesuffix(".git") + ".git"
        source = self.source.removeprefix("git+")
        places = (folder / Path(source).expanduser() for folder in (self.home, self.home.parent))
        return str(next((place.resolve() for place in places if place.exists()), source))

    @contextmanager
    def fetched(self) -> "Iterator[Template]":
        """Provide the template, fetched once with its whole history into a temporary folder.

        Raises TemplateUnknown if it cannot be fetched or does not have the pilot's version.
        """
        with TemporaryDirectory(prefix="groundwork-template-") as folder:
            clone = Path(folder) / "template.git"  # by this ending, Copier knows a repository without a work tree
            run_aside(
                f"the template {without_credentials(self.source)} cannot be fetched",
                *("git", "clone", "--quiet", "--bare", "--", self.address, str(clone)),
            )
            template = Template(clone, self)
            template.commit_of(self.version)
            yield template


@dataclass(frozen=True)
class Release:
    """A released version of the template."""

    version: str  # the tag
    day: date  # of the tag


@dataclass(frozen=True)
class Template:
    """A clone of the template, for one pilot. A version is a tag, or any other name that git has for a commit."""

    clone: Path
    pilot: Upstream
    _configurations: dict[str, dict[str, Any]] = field(default_factory=dict)  # by version, once read

    def commit_of(self, version: str) -> str:
        """Returns the version's full commit hash. Raises TemplateUnknown if the template has no such version."""
        commit = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{version}^{{commit}}")
        if commit is None:
            raise TemplateUnknown(
                f"the template {without_credentials(self.pilot.source)} has no version {version}: was its history "
                f"rewritten, or {self.pilot.answers_file} edited?"
            )
        return commit

    def releases(self) -> list[Release]:
        """Returns the released versions, oldest first; pre-releases are left out, as Copier does."""
        listed = self._git("for-each-ref", "--format=%(refname:strip=2) %(creatordate:short)", "refs/tags") or ""
        tags = (line.rsplit(" ", 1) for line in listed.splitlines())
        found = [Release(tag, date.fromisoformat(day)) for tag, day in tags if _order(tag)]
        return sorted(found, key=lambda each: _order(each.version))

    def day_of(self, version: str) -> date:
        """Returns the day of the version's tag, or of its commit if it has no tag."""
        tagged = self._git("for-each-ref", "--format=%(creatordate:short)", f"refs/tags/{version}")
        return date.fromisoformat(tagged or self._git("log", "-1", "--format=%cs", self.commit_of(version)) or "")

    def missed(self) -> list[Release]:
        """Returns the releases that are newer than the pilot's version, oldest first."""
        merged = self._git("tag", "--merged", self.commit_of(self.pilot.version)) or ""
        here = max((_order(tag) for tag in merged.split()), default=())
        return [each for each in self.releases() if _order(each.version) > here]

    def read(self, version: str, path: str) -> str | None:
        """Returns the text of a file of the template's repository at a version; None if there is no such file."""
        return self._git("show", f"{self.commit_of(version)}:{path}")

    def yours(self, version: str) -> list[str]:
        """Returns the patterns of the paths that belong to the team: written once, never updated."""
        patterns = self.configuration(version).get("_skip_if_exists", [])
        return [str(pattern).rstrip("/") for pattern in patterns]

    def owner(self, version: str, path: str, text: str) -> Owner:
        """Returns who owns a path, as written at the version; the text tells whether the file is shared."""
        if any(matches(path, pattern) for pattern in self.yours(version)):
            return "yours"
        return "shared" if BOUNDARY.search(text) else "template"

    def render(self, version: str, folder: Path) -> None:
        """Write the pilot as the version makes it of the recorded answers; a question that is new has its default.

        Raises TemplateUnknown if there is no Copier, or Copier fails.
        """
        oldest = str(self.configuration(version).get("_min_copier_version", _OLDEST_COPIER))
        with TemporaryDirectory(prefix="groundwork-answers-") as aside:
            answers = Path(aside) / "answers.yml"
            answers.write_text(yaml.safe_dump(dict(self.pilot.answers), allow_unicode=True), encoding="utf-8")
            run_aside(
                f"Copier cannot write the template's version {version}",
                *(*copier(oldest), "copy", "--quiet", "--defaults", "--vcs-ref", self.commit_of(version)),
                *("--data-file", str(answers), "--answers-file", self.pilot.answers_file),
                *(str(self.clone), str(folder)),
            )
        self._record(folder / self.pilot.answers_file, version, self.pilot.source)

    def update(self, folder: Path, version: str, data: Mapping[str, str], trust: bool) -> None:
        """Bring the pilot in a folder to the version, as `copier update` does; conflicts stay as markers in the files.

        The folder is in a worktree of its own, without changes and on no branch: a commit comes and goes in it.
        `data` holds changed answers. Raises TemplateUnknown if there is no Copier, or Copier fails.
        """
        answers, start = folder / self.pilot.answers_file, git(folder, "rev-parse", "HEAD")
        self._record(answers, self.pilot.version, str(self.clone))  # fetched once, and found from everywhere
        nobody = ("-c", "user.name=groundwork", "-c", "user.email=groundwork@localhost", "-c", "commit.gpgsign=false")
        aside = ("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--all", "--message", "the clone")
        git_or_raise(TemplateUnknown, folder, *nobody, *aside)
        oldest = str(self.configuration(version).get("_min_copier_version", _OLDEST_COPIER))
        changed = [word for name, value in data.items() for word in ("--data", f"{name}={value}")]
        run_aside(
            f"Copier cannot update the pilot to the template's version {version}",
            *(*copier(oldest), "update", "--quiet", "--defaults", "--vcs-ref", self.commit_of(version), *changed),
            *("--conflict", "inline", "--answers-file", self.pilot.answers_file, *(["--trust"] if trust else [])),
            str(folder),
        )
        git(folder, "update-ref", "HEAD", str(start))
        self._record(answers, version, self.pilot.source)

    def _record(self, answers: Path, version: str, source: str) -> None:
        """Write source and version into an answers file, in place of those that Copier has written."""
        text = answers.read_text(encoding="utf-8")
        for key, value in (("_commit", version), ("_src_path", source)):
            line = yaml.safe_dump({key: value}, allow_unicode=True, width=10_000).replace("\\", r"\\")
            text = re.sub(rf"^{key}: .*\n(  .*\n)*", line, text, flags=re.MULTILINE)
        answers.write_text(text, encoding="utf-8")

    def _git(self, *words: str) -> str | None:
        return git(self.clone, "--git-dir=.", *words)  # whatever repository a hook of git has named

    def configuration(self, version: str) -> dict[str, Any]:
        """Returns the template's copier.yml at a version. Raises TemplateUnknown if it cannot be read."""
        if version not in self._configurations:
            found = yaml.safe_load(self.read(version, "copier.yml") or self.read(version, "copier.yaml") or "")
            if not isinstance(found, dict):
                raise TemplateUnknown(f"the template's version {version} has no copier.yml that can be read")
            self._configurations[version] = found
        return self._configurations[version]


def copier(oldest: str = _OLDEST_COPIER) -> list[str]:
    """Returns the words that start Copier: the command `copier` if it is new enough, else uv's.

    Raises TemplateUnknown if the machine has neither.
    """
    if shutil.which("copier"):
        said = re.search(r"(\d+)\.(\d+)\.(\d+)", run_aside("Copier cannot tell its version", "copier", "--version"))
        if said and [int(each) for each in said.groups()] >= [int(each) for each in re.findall(r"\d+", oldest)[:3]]:
            return ["copier"]
    if shutil.which("uvx"):
        return ["uvx", f"copier>={oldest}"]
    raise TemplateUnknown(f"Copier {oldest} or newer is needed: install uv, or Copier with `pipx install copier`")


def without_credentials(address: str) -> str:
    """Returns the address without the user name and password that a URL may hold."""
    return re.sub(r"//[^/@]*@", "//", address)


def matches(path: str, pattern: str) -> bool:
    """Whether a pattern of Copier, which is one of .gitignore, names this path or a folder above it."""
    parts = path.split("/")
    if "/" not in pattern:
        return any(fnmatch.fnmatchcase(part, pattern) for part in parts)
    above = ("/".join(parts[: depth + 1]) for depth in range(len(parts)))
    return any(fnmatch.fnmatchcase(each, pattern.lstrip("/")) for each in above)


def _order(tag: str) -> tuple[Any, ...]:
    """Returns what releases are sorted by; nothing for a tag that is no release."""
    found = _RELEASE.fullmatch(tag)
    if not found:
        return ()
    epoch, numbers, post, dashed = found.groups()
    parts = [int(each) for each in numbers.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    after = -1 if post is None and dashed is None else int(post or dashed or 0)
    return int(epoch or 0), tuple(parts), after


def run_aside(what: str, *command: str) -> str:
    """Returns what the command printed. It may not ask, and Python's settings of the pilot do not reach it.

    Raises TemplateUnknown, with the end of what it said.
    """
    pilots = (
        "PYTHONPATH",
        "PYTHONHOME",
        "VIRTUAL_ENV",
        "UV_PROJECT_ENVIRONMENT",
        "GIT_DIR",
        "GIT_INDEX_FILE",
        "GIT_WORK_TREE",
    )
    environment = {name: value for name, value in os.environ.items() if name not in pilots}
    environment |= {"GIT_TERMINAL_PROMPT": "0"}
    environment.setdefault("GIT_SSH_COMMAND", "ssh -o BatchMode=yes")
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
            timeout=_PATIENCE,
        )
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if line.strip()] or ["it said nothing"]
        raise TemplateUnknown(f"{what}: {without_credentials(shortened(' '.join(said[-3:])))}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise TemplateUnknown(f"{what}: {without_credentials(shortened(str(error)))}") from None
    return done.stdout
