"""Reads the team's YAML documents into typed objects, and reports mistakes with file, field and expected value."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from groundwork.core.errors import DocumentError

UNANSWERED = "TBD"
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if PyYAML was built with libyaml


class Part(BaseModel):
    """A part of a document: immutable, with camelCase keys in the file; unknown keys are an error."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True, strict=True)


class Document(Part):
    """A whole document, read from a YAML file."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and validate the file. Raises DocumentError with one line per mistake."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DocumentError(f"{path.name}: not found in {path.parent}") from None
        except OSError as error:
            raise DocumentError(f"{path.name}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise DocumentError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None
        return cls.parse(text, path.name)

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Validate the text of a document. Raises DocumentError with one line per mistake; each begins with `name`."""
        try:
            content = yaml.load(text, Loader=_UniqueKeys)
        except yaml.YAMLError as error:
            raise DocumentError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            mistakes = error.errors()
            lines = [
                f"{name}: {_dotted(mistake['loc'])}: {_expectation(mistake)}"
                for mistake in mistakes
                # pydantic also reports a list as too short if its items are invalid; only the items' mistakes help.
                if not (mistake["type"] == "too_short" and any(_inside(other, mistake) for other in mistakes))
            ]
            raise DocumentError("\n".join(lines)) from None


def unanswered(part: Any, path: str = "") -> list[str]:
    """Returns the dotted paths of all texts that start with TBD."""
    if isinstance(part, BaseModel):
        part = part.model_dump(by_alias=True)
    if isinstance(part, str):
        return [path] if part.startswith(UNANSWERED) else []
    if isinstance(part, list | tuple):
        part = dict(enumerate(part))
    if isinstance(part, dict):
        return [found for key, value in part.items() for found in unanswered(value, f"{path}.{key}".lstrip("."))]
    return []


class _UniqueKeys(SafeLoader):  # type: ignore[misc]
    """A YAML loader that refuses repeated keys, which YAML would silently overwrite."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.YAMLError(f"{', '.join(repeated)} occurs twice in one mapping, line {node.start_mark.line + 1}")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _inside(mistake: Any, outer: Any) -> bool:
    depth = len(outer["loc"])
    return len(mistake["loc"]) > depth and bool(mistake["loc"][:depth] == outer["loc"])


def _dotted(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location) or "(the whole document)"


def _expectation(mistake: Any) -> str:
    """Returns pydantic's message, with the value found unless it is a mapping or a list."""
    message = {
        "missing": "is missing",
        "extra_forbidden": "is not a known key here; remove it or correct its spelling",
    }.get(mistake["type"], mistake["msg"].removeprefix("Value error, "))
    found = mistake["input"]
    if mistake["type"] in ("missing", "extra_forbidden") or isinstance(found, dict | list):
        return message
    return f"{message}, found {found!r}"
