"""Which repositories are shown: those of the command line, and those of a file that lists them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from groundwork_fleet.git import is_url, without_credentials


class ListError(Exception):
    """The list cannot be used; the message says where and why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One pilot of the list."""

    repository: str  # a URL, or a path on this machine
    folder: str = ""  # the pilot's folder in the repository
    service: str = ""  # address of the pilot's service
    key: str = ""  # the environment variable that holds an API key of the service, with the scope admin
    prometheus: str = ""  # address of the Prometheus that scrapes the service
    labels: dict[str, str] = field(default_factory=dict)  # which alerts are this pilot's, where it has those of others

    @property
    def shown(self) -> str:
        """The repository without user and password, with the folder."""
        return without_credentials(self.repository) + (f" ({self.folder})" if self.folder else "")


def read(path: Path) -> tuple[list[Entry], str]:
    """Return the entries of a list, and the template it names, which may be empty. Raises ListError."""
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ListError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict) or not isinstance(content.get("pilots"), list):
        raise ListError(f"{path}: `pilots` must be a list of repositories")
    if strange := set(content) - {"pilots", "template"}:
        raise ListError(f"{path}: {', '.join(map(str, strange))}: unknown; a list has `pilots` and `template`")
    entries = [_entry(each, f"{path}: pilot {number}", path.parent) for number, each in enumerate(content["pilots"], 1)]
    template = content.get("template", "")
    if not isinstance(template, str):
        raise ListError(f"{path}: `template` must be one URL or path")
    return entries, _beside(template, path.parent) if template else ""


def _entry(written: Any, place: str, folder: Path) -> Entry:
    """Return one entry: the repository alone, or a mapping with it."""
    fields = {"repository": written} if isinstance(written, str) else written
    if not isinstance(fields, dict) or not fields.get("repository"):
        raise ListError(f"{place}: must be a repository, or a mapping with `repository`")
    if strange := set(fields) - set(Entry.__dataclass_fields__):
        known = ", ".join(Entry.__dataclass_fields__)
        raise ListError(f"{place}: {', '.join(map(str, strange))}: unknown; known are {known}")
    for name, value in fields.items():
        texts = list(value.values()) if name == "labels" and isinstance(value, dict) else [value]
        if not all(isinstance(text, str) for text in texts) or (name == "labels") != isinstance(value, dict):
            raise ListError(f"{place}: {name} must be {'a mapping of texts' if name == 'labels' else 'a text'}")
    for name in ("service", "prometheus"):
        if not fields.get(name, "https://").startswith(("http://", "https://")):
            raise ListError(f"{place}: {name} must begin with http:// or https://")
    return Entry(**fields | {"repository": _beside(fields["repository"], folder)})


def _beside(repository: str, folder: Path) -> str:
    """Return a relative path as one from the list's folder."""
    return repository if is_url(repository) else str(folder / Path(repository).expanduser())
