"""Reads the team's documents into typed objects, and says in plain words what is wrong with one."""

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from groundwork.core.errors import DocumentError

UNANSWERED = "TBD"
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast where PyYAML has libyaml


class Part(BaseModel):
    """A part of a document: camelCase keys as in the file, nothing but the known keys, immutable."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True, strict=True)


class Document(Part):
    """A whole document, read from a YAML file."""

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and validate the file. Raises DocumentError with one line per mistake."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise DocumentError(f"{path.name}: there is no such file in {path.parent}") from None
        except OSError as error:
            raise DocumentError(f"{path.name}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise DocumentError(f"{path.name}: not valid YAML: {' '.join(str(error).split())}") from None
        return cls.parse(text, path.name)

    @classmethod
    def parse(cls, text: str, name: str) -> Self:
        """Validate the text of a document. Raises DocumentError with one line per mistake, each with the name."""
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
                # A list is called too short when its items were refused: those are the mistakes.
                if not (mistake["type"] == "too_short" and any(_inside(other, mistake) for other in mistakes))
            ]
            raise DocumentError("\n".join(lines)) from None


def unanswered(part: Any, path: str = "") -> list[str]:
    """The paths of the texts that still start with TBD."""
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
    """YAML lets a later key silently replace an earlier one; a document that people sign must not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = sorted({str(key) for key in keys if keys.count(key) > 1})
        if repeated:
            raise yaml.YAMLError(f"{', '.join(repeated)} stands twice in one mapping, line {node.start_mark.line + 1}")
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping


def _inside(mistake: Any, outer: Any) -> bool:
    depth = len(outer["loc"])
    return len(mistake["loc"]) > depth and bool(mistake["loc"][:depth] == outer["loc"])


def _dotted(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location) or "(the whole document)"


def _expectation(mistake: Any) -> str:
    """Pydantic's message, with the value that was found instead where that helps."""
    message = {
        "missing": "is missing",
        "extra_forbidden": "is not a known key here; remove it or correct its spelling",
    }.get(mistake["type"], mistake["msg"].removeprefix("Value error, "))
    found = mistake["input"]
    if mistake["type"] in ("missing", "extra_forbidden") or isinstance(found, dict | list):
        return message
    return f"{message}, found {found!r}"
