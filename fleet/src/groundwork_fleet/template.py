"""The template: its releases, and its files as it writes them for given answers."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatch
from typing import Any

import yaml
from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment
from packaging.version import InvalidVersion, Version

from groundwork_fleet.git import File, GitError, Repository

MARK = "---- Above: the template's"  # in a shared file; what stands below is the team's
EXTENSIONS = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]  # those that Copier has


class TemplateUnknown(Exception):
    """What the template wrote for a pilot cannot be told; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """A release of the template."""

    version: Version
    on: date  # when it was tagged


@dataclass(frozen=True, kw_only=True)
class Edits:
    """How a pilot's files differ from those that its version of the template wrote."""

    compared: int
    edited: list[str]
    missing: list[str]


def version_of(commit: str) -> Version | None:
    """Return the version that Copier noted as `_commit`, such as v1.2.0 or, 3 commits later, v1.2.0-3-gab12cd3."""
    tag, ahead = re.fullmatch(r"(.*?)(?:-(\d+)-g[0-9a-f]+)?", commit, re.DOTALL).groups()  # type: ignore[union-attr]
    try:
        version = Version(tag)
        return Version(f"{version}.post{ahead}") if ahead else version
    except InvalidVersion:
        return None


class Template:
    """The template's repository, read once."""

    def __init__(self, repository: Repository, releases: list[Release]) -> None:
        self._repository = repository
        self._releases = releases
        self._made: dict[str, _Source | TemplateUnknown] = {}

    @classmethod
    async def of(cls, repository: Repository) -> "Template":
        """Read the releases. Raises GitError if there is none."""
        listed = await repository.text("for-each-ref", "--format=%(refname:strip=2) %(creatordate:short)", "refs/tags")
        tags = [(version_of(tag), on) for tag, _, on in (line.partition(" ") for line in listed.splitlines())]
        releases = [
            Release(version=version, on=date.fromisoformat(on))
            for version, on in tags
            if version and on and not version.is_prerelease
        ]
        if not releases:
            raise GitError("it has no tag of a release")
        return cls(repository, sorted(releases, key=lambda release: release.version))

    @property
    def newest(self) -> Release:
        """The newest release."""
        return self._releases[-1]

    def newer_than(self, version: Version) -> list[Release]:
        """Return the releases after this version, the oldest first."""
        return [release for release in self._releases if release.version > version]

    async def edits(self, pilot: Repository, files: list[File], answers: Mapping[str, Any], answers_file: str) -> Edits:
        """Compare a pilot's files with those that its version of the template wrote for its answers.

        The team's own files are left out; of a shared file, only the part above the marked line is compared. Raises
        TemplateUnknown.
        """
        commit = str(answers.get("_commit") or "")
        if commit not in self._made:
            try:
                self._made[commit] = await _Source.of(self._repository, commit)
            except TemplateUnknown as error:
                self._made[commit] = error
        source = self._made[commit]
        if isinstance(source, TemplateUnknown):
            raise source
        written, there = source.written(answers, answers_file), {file.path: file.blob for file in files}
        different = [path for path, content in written.items() if path in there and there[path] != content.blob]
        now = await pilot.contents([there[path] for path in different])
        originals = dict(zip(different, await source.texts([written[path] for path in different]), strict=True))
        return Edits(
            compared=len(written),
            edited=[
                path
                for path, text in zip(different, now, strict=True)
                if text is None or _above(originals[path]) != _above(text)
            ],
            missing=[path for path in written if path not in there],
        )


@dataclass(frozen=True)
class _Written:
    """A file as the template writes it: the name of its content, and the content if it was made from answers."""

    blob: str
    text: bytes | None = None


class _Source:
    """One version of the template."""

    def __init__(self, repository: Repository, settings: dict[str, Any], files: dict[str, str], texts: dict[str, str]):
        self._repository = repository
        self._files = files
        self._texts = texts
        self._settings = settings
        # As Copier's: values of answers are not escaped, and a misspelt name is an error.
        self._jinja = SandboxedEnvironment(
            undefined=StrictUndefined, keep_trailing_newline=True, extensions=EXTENSIONS, autoescape=False
        )

    @classmethod
    async def of(cls, repository: Repository, commit: str) -> "_Source":
        """Read one version. Raises TemplateUnknown."""
        if not re.fullmatch(r"\w[\w.+/-]*", commit):
            raise TemplateUnknown("its answers file names no commit of the template")
        try:
            revision = await repository.text("rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}")
            files = {file.path: file.blob for file in await repository.files(revision)}
            [settings] = await repository.contents([files["copier.yml"]])
            loaded = yaml.safe_load(settings or b"")
            suffix, folder = loaded.get("_templates_suffix", ".jinja"), loaded.get("_subdirectory", "")
            inside = {path.removeprefix(f"{folder}/"): blob for path, blob in files.items() if path.startswith(folder)}
            made = [path for path in inside if path.endswith(suffix)]
            texts = await repository.contents([inside[path] for path in made])
        except GitError:
            raise TemplateUnknown(f"the template has no commit {commit}") from None
        except (KeyError, AttributeError, yaml.YAMLError):
            raise TemplateUnknown(f"the template's commit {commit} has no copier.yml that can be read") from None
        rendered = {path: (text or b"").decode(errors="replace") for path, text in zip(made, texts, strict=True)}
        return cls(repository, loaded | {"_templates_suffix": suffix}, inside, rendered)

    def written(self, answers: Mapping[str, Any], answers_file: str) -> dict[str, _Written]:
        """Return the template's own and the shared files, by path, without the answers file. Raises TemplateUnknown."""
        suffix, yours = self._settings["_templates_suffix"], self._settings.get("_skip_if_exists", [])
        found = {}
        try:
            known = self._context(answers, answers_file)
            for path, blob in self._files.items():
                parts = [self._rendered(part, known) if "{" in part else part for part in path.split("/")]
                name = "/".join(parts)
                made = name.endswith(suffix)
                name = name.removesuffix(suffix) if made else name
                if not all(parts) or name == answers_file or any(_matches(name, pattern) for pattern in yours):
                    continue
                text = self._rendered(self._texts[path], known).encode() if made else None
                found[name] = _Written(blob if text is None else _blob(text, len(blob)), text)
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise TemplateUnknown(f"its answers do not fit the template: {' '.join(str(error).split())}") from None
        return found

    async def texts(self, files: list[_Written]) -> list[bytes | None]:
        """Return what each file holds as the template writes it."""
        read = iter(await self._repository.contents([file.blob for file in files if file.text is None]))
        return [next(read) if file.text is None else file.text for file in files]

    def _context(self, answers: Mapping[str, Any], answers_file: str) -> dict[str, Any]:
        """Return what Copier gives to its templates: the answers, and what is computed from them."""
        known: dict[str, Any] = {
            "_copier_conf": {"answers_file": answers_file},
            "_copier_answers": dict(answers),
            "_copier_operation": "copy",
        }
        for name, question in self._settings.items():
            if name.startswith("_") or not isinstance(question, dict):
                continue
            if name in answers:
                value, kind = answers[name], question.get("type")
                known[name] = str(value) if kind == "str" else value
            else:
                default = question.get("default", "")
                value = self._rendered(default, known) if isinstance(default, str) else default
                known[name] = yaml.safe_load(value) if question.get("type") == "bool" and value == str(value) else value
        return known

    def _rendered(self, text: str, known: dict[str, Any]) -> str:
        return self._jinja.from_string(text).render(known)


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern of copier.yml names this path, or a folder that it is in."""
    return path == pattern or path.startswith(f"{pattern}/") or fnmatch(path, pattern)


def _blob(content: bytes, digits: int) -> str:
    """Return the name that git gives to this content, by SHA-1 or SHA-256 as its other names."""
    text = b"blob %d\0%b" % (len(content), content)
    return (hashlib.sha1(text, usedforsecurity=False) if digits == 40 else hashlib.sha256(text)).hexdigest()


def _above(content: bytes | None) -> bytes:
    """Return the template's part of a file: all of it, or what stands above the marked line."""
    lines = (content or b"").splitlines(keepends=True)
    marked = next((number for number, line in enumerate(lines) if MARK.encode() in line), len(lines))
    return b"".join(lines[:marked])
