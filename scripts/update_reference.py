"""Write the tables of docs/reference/ownership.md and questions.md from copier.yml, template/ and tests/variants.yaml.

Run with `.venv/bin/python`; a test compares the pages with what this would write.
"""

import re
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import yaml
from jinja2 import Environment, nodes

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "docs" / "reference" / name for name in ("ownership.md", "questions.md")]
SETTINGS: dict[str, Any] = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
QUESTIONS = {name: about for name, about in SETTINGS.items() if not name.startswith("_") and about.get("when", True)}
COMPUTED = {name: about for name, about in SETTINGS.items() if not name.startswith("_") and name not in QUESTIONS}
YOURS, SHARED, TEMPLATES, COPIERS = "yours", "shared", "the template's", "Copier's"
MARK = re.compile(r"^(?:#|<!--) ---- Above: the template's", re.MULTILINE)  # the line that divides a shared file
CONDITION = re.compile(r"\{% if (\w+) %\}(.*?)\{% endif %\}")

REFUSED = {"str": "the list of choices", "bool": "nothing: any word but no, false, off, none or 0 is a yes"}
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

Table = tuple[list[str], Iterable[list[str]]]  # heads, and rows


class Shipped(NamedTuple):
    """A file of a pilot: its path, its owner, the condition under which it is there, and its source in `template/`."""

    path: str
    owner: str
    condition: str
    source: Path


def shipped() -> list[Shipped]:
    """Return the files that `copier copy` writes with any answers, by path."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "."]
    names = subprocess.run(listed, cwd=ROOT / "template", check=True, capture_output=True, text=True).stdout
    sources = {ROOT / "template" / name for name in names.split("\0") if name}
    return sorted(_described(source) for source in sources if source.is_file())


def _described(source: Path) -> Shipped:
    named = source.relative_to(ROOT / "template").as_posix().removesuffix(".jinja")
    path = CONDITION.sub(r"\2", named.replace("{{_copier_conf.answers_file}}", ".copier-answers.yml"))
    conditions = [_by_choice(found[0]) for found in CONDITION.findall(named)]
    if path == ".copier-answers.yml":
        owner = COPIERS
    elif _in_a_list_of_yours(path):
        owner = YOURS
    else:
        owner = SHARED if MARK.search(source.read_text(encoding="utf-8")) else TEMPLATES
    return Shipped(path, owner, " and ".join(conditions), source)


def _in_a_list_of_yours(path: str) -> str:
    """Return the entry of `_skip_if_exists` that the path is or lies in, else nothing."""
    return next((each for each in SETTINGS["_skip_if_exists"] if PurePosixPath(path).is_relative_to(each)), "")


def _by_choice(computed: str) -> str:
    """Return the condition of an answer, computed or not, in words: "`ci` is `github`"."""
    if computed in QUESTIONS:
        return f"`{computed}` is yes"
    asked, answer = re.findall(r"(\w+) == '(\w+)'", COMPUTED[computed]["default"])[0]
    return f"`{asked}` is `{answer}`"


def rows(files: list[Shipped], folder: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield path, owner and condition; a folder whose files agree in both is one row."""
    for name in sorted({each.path.removeprefix(folder).partition("/")[0] for each in files}):
        inside = [each for each in files if each.path == folder + name or each.path.startswith(f"{folder}{name}/")]
        [(owner, condition), *others] = {(each.owner, each.condition) for each in inside}
        path = folder + name
        if inside[0].path == path:
            yield path, owner, condition
        elif others:
            yield from rows(inside, f"{path}/")
        else:
            yield f"{path}/", owner, condition


def paths() -> Table:
    """Return a row for each path of a pilot: its owner, and the answer without which it is not there."""
    return ["path", "owner", "only if"], ([f"`{path}`", *others] for path, *others in rows(shipped()))


def landing() -> dict[str, list[str]]:
    """Return the paths in which each question's answer ends, also by way of a computed answer."""
    found: dict[str, list[str]] = {name: [] for name in QUESTIONS}
    for each in shipped():
        named = each.source.relative_to(ROOT / "template").as_posix()
        texts = [named, each.source.read_text(encoding="utf-8")] if each.source.suffix == ".jinja" else [named]
        place = _in_a_list_of_yours(each.path) or (each.path.partition("/")[0] if each.condition else each.path)
        place += "/" * (place != each.path)
        for name in set[str]().union(*map(_asked, texts)):
            found[name] += [place] * (place not in found[name])
    return found


def _asked(text: str) -> set[str]:
    """Return the questions whose answers a text of Jinja needs."""
    found = set()
    for name in {node.name for node in Environment().parse(text).find_all(nodes.Name)}:  # noqa: S701
        if name in COMPUTED and COMPUTED[name]["default"] != text:  # a computed answer may name itself on its way
            found |= _asked(COMPUTED[name]["default"])
        elif name in QUESTIONS:
            found.add(name)
    return found


def questions() -> Table:
    """Return a row for each question, in the order in which they are asked."""
    heads = ["name", "question", "answer", "default", "a wrong answer is refused with", "lands in"]
    return heads, (
        [
            f"`{name}`",
            _without_jinja(about["help"]),
            _kind(about),
            _default(about),
            _without_jinja(about.get("validator", "")) or REFUSED[about["type"]],
            ", ".join(f"`{place}`" for place in landing()[name]) or "messages",
        ]
        for name, about in QUESTIONS.items()
    )


def variants() -> Table:
    """Return a row for each supported combination of answers, with the tests that run it."""
    listed = yaml.safe_load((ROOT / "tests/variants.yaml").read_text(encoding="utf-8"))
    heads = ["combination", "answers", *listed[0]["run"]]
    return heads, ([f"`{each['name']}`", each["about"], *map(_linked, each["run"].values())] for each in listed)


def _kind(about: dict[str, Any]) -> str:
    if about["type"] == "bool":
        return "yes or no"
    return f"one of {', '.join(f'`{each}`' for each in about['choices'].values())}" if "choices" in about else "text"


def _default(about: dict[str, Any]) -> str:
    if about["type"] == "bool":
        return "yes" if about["default"] else "no"
    if "_folder_name" in about["default"]:
        return "the name of the folder"
    return f"`{about['default']}`" if about["default"] else "open"


def _without_jinja(text: str) -> str:
    """Return the words of a text, with the names of what it fills in."""
    words = re.sub(r"\{\{ (\w+) \}\}", r"`\1`", re.sub(r"\{%.*?%\}", "", text, flags=re.DOTALL))
    return re.sub(r"\s+", " ", words).strip()


def _linked(run: str) -> str:
    """Return a link to the file of a test; what is not the id of one as it is."""
    file, _, test = run.partition("::")
    return f"[{test.removeprefix('test_').replace('_', ' ')}](../../{file})" if test else run


TABLES: dict[str, Callable[[], Table]] = {"paths": paths, "questions": questions, "variants": variants}


def renewed(page: str) -> str:
    """Return a page with each of its marked tables as it should be now."""

    def table(found: re.Match[str]) -> str:
        heads, lines = TABLES[found[2]]()
        rows = [heads, ["---"] * len(heads), *lines]
        return found[1] + "".join(f"| {' | '.join(cells)} |\n" for cells in rows) + found[3]

    return TABLE.sub(table, page)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(renewed(page.read_text(encoding="utf-8")), encoding="utf-8")
