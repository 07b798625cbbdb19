"""Reads the team's YAML documents into typed objects, and reports mistakes with file, field and expected value.

YAML is read by the core schema of its version 1.2, as editors read it. PyYAML's own loaders follow version 1.1, in
which a bare `on` or `no` is a boolean, 12:30 is a number of minutes, and 010 is eight.
"""

import re
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from groundwork.core.errors import DocumentError, FormatMismatch

UNANSWERED = "TBD"
FORMAT_VERSION = 1  # of the three documents together, which the charter's apiVersion names
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if PyYAML was built with libyaml


def as_day(value: Any) -> date:
    """Returns the date that is written as YYYY-MM-DD; YAML 1.2 has no dates of its own."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        return date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    raise ValueError("must be a valid date as YYYY-MM-DD")


Day = Annotated[date, BeforeValidator(as_day)]


class Part(BaseModel):
    """A part of a document: immutable, with camelCase keys in the file; unknown keys are an error."""

    # A part's own validator is built when it is first used: most are only used as parts of a document. So a default is
    # given by `default_factory`, as `Part()` in the code of a class would build one at import.
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, extra="forbid", frozen=True, strict=True, defer_build=True
    )


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
            content = read_yaml(text)
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # such as a number of 5,000 digits
            summary = " ".join(str(error).replace('in "<unicode string>", ', "at ").split())
            raise DocumentError(f"{name}: not valid YAML: {summary}") from None
        if isinstance(content, dict):
            check_format(content.get("apiVersion"), name)
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


def check_format(api_version: Any, name: str) -> None:
    """Raises FormatMismatch if documents of this apiVersion are older or newer than this code reads."""
    found = re.fullmatch(r"groundwork/v(\d+)", str(api_version))
    if found and int(found[1]) != FORMAT_VERSION:
        newer = int(found[1]) > FORMAT_VERSION
        remedy = "update the pilot's code" if newer else "run `groundwork migrate`, which proposes the change"
        raise FormatMismatch(
            f"{name}: apiVersion: {found[0]} is {'newer' if newer else 'older'} than groundwork/v{FORMAT_VERSION}, "
            f"which this code reads: {remedy}"
        )


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


class _Loader(SafeLoader):  # type: ignore[misc]
    """A loader for the core schema of YAML 1.2 that refuses repeated keys, which YAML would silently overwrite."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        lines: dict[str, int] = {}
        for key, _ in node.value:
            name = f"{key.tag} {key.value}"
            if name in lines:
                raise yaml.YAMLError(
                    f"{key.value} occurs twice in one mapping, on lines {lines[name]} and {key.start_mark.line + 1}"
                )
            lines[name] = key.start_mark.line + 1
        mapping: dict[Any, Any] = super().construct_mapping(node, deep)
        return mapping

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        return int(node.value, {"0o": 8, "0x": 16}.get(node.value[:2], 10))


class _Dumper(yaml.SafeDumper):
    """Quotes each text that YAML 1.1 or YAML 1.2 would read as something else."""


_CORE_SCHEMA = {
    "null": ("~|null|Null|NULL|", ["~", "n", "N", ""]),
    "bool": ("true|True|TRUE|false|False|FALSE", list("tTfF")),
    "int": ("[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
}
for _name, (_pattern, _first) in _CORE_SCHEMA.items():
    for _each in (_Loader, _Dumper):
        _each.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"(?:{_pattern})\Z"), _first)
# Other tags, such as !!timestamp, are refused: their values are not JSON.
_TAGS = {None, *(f"tag:yaml.org,2002:{name}" for name in (*_CORE_SCHEMA, "str", "seq", "map"))}
_Loader.yaml_constructors = {tag: found for tag, found in SafeLoader.yaml_constructors.items() if tag in _TAGS}
_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_yaml(text: str) -> Any:
    """Returns the content of a YAML text; dates and times are texts. Raises yaml.YAMLError."""
    return yaml.load(text, _Loader)


def write_yaml(*contents: Any) -> str:
    """Returns the YAML text of the documents, for readers of YAML 1.1 and 1.2 alike."""
    return str(yaml.dump_all(contents, None, _Dumper, sort_keys=False, allow_unicode=True, width=1000))


def _inside(mistake: Any, outer: Any) -> bool:
    depth = len(outer["loc"])
    return len(mistake["loc"]) > depth and bool(mistake["loc"][:depth] == outer["loc"])


def _dotted(location: tuple[str | int, ...]) -> str:
    return ".".join(str(step) for step in location) or "(the whole document)"


def _expectation(mistake: Any) -> str:
    """Returns pydantic's message, with the value found unless it is a mapping or a list."""
    message = {
        "missing": "is missing",
        "invalid_key": "is a key that is not text; write it in quotes",
        "extra_forbidden": "is not a known key here; remove it or correct its spelling",
    }.get(mistake["type"], mistake["msg"].removeprefix("Value error, "))
    found = mistake["input"]
    if mistake["type"] in ("missing", "extra_forbidden") or isinstance(found, dict | list):
        return message
    return f"{message}, found {found!r}"
