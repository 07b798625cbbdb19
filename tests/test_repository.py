"""What may be in this repository, and what may not."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support import ROOT, execute, files

FILES = files(ROOT)

MARKUP = re.compile(
    r"<!doctype|</?(?:a|b|body|br|button|code|d[dlt]|div|em|form|g|h[1-6]|head|html|i|img|li|link|main|meta|nav|ol|p|pre"
    r"|rect|script|span|strong|style|svg|table|tbody|td|text|textarea|th|thead|title|tr|ul)(?=[\s/>])"  # HTML and SVG
    r"|\bstyle=|\b(?:border|color|display|fill|font|margin|padding|width)(?:-[a-z]+)?: ?[^\s:,]+ ?[;}]",  # CSS
    re.IGNORECASE,
)

# In pieces, or this file would hold them.
REGISTRIES = ["py" + "pi.org", "python" + "hosted", "npm" + "js.org", "deb." + "debian.org"]


def texts() -> dict[str, str]:
    return {name: (ROOT / name).read_bytes().decode("utf-8", "replace") for name in FILES}


def test_no_file_names_a_package_registry() -> None:
    """Whoever runs this has an index, or a mirror, of their own."""
    assert [name for name, text in texts().items() if any(host in text for host in REGISTRIES)] == []


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    here = {
        f"{folder}/" for folder in (ROOT, Path.home()) if len(folder.parts) > 2
    }  # /app or /root is no one machine's
    assert [name for name, text in texts().items() if any(folder in text for folder in here)] == []


def test_no_lock_file_is_committed() -> None:
    """A lock file holds addresses; each project makes its own."""
    assert [name for name in execute(ROOT, "git", "ls-files").splitlines() if name.endswith("uv.lock")] == []


def test_the_tools_come_with_checksums_and_without_addresses() -> None:
    requirements = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8")
    entries = re.split(r"\n(?=\S)", requirements.strip())
    assert [entry for entry in entries if not re.match(r"[a-z0-9-]+==[^\n]*\\\n    --hash=sha256:", entry)] == []
    assert "://" not in requirements


def test_paths_can_be_checked_out_everywhere() -> None:
    r"""Windows knows none of " < > : | ? * \ in a name."""
    assert [name for name in FILES if re.search(r'["<>:|?*\\]', name)] == []


def test_there_is_no_jinja_in_python() -> None:
    assert [name for name in FILES if name.endswith(".py.jinja")] == []


def test_there_is_no_html_in_python() -> None:
    """A page is a file in a folder `pages`, which escapes what is put into it."""
    sources = {name: text for name, text in texts().items() if re.match(r"template/src/groundwork/.*\.py$", name)}
    assert len(sources) > 50
    found = {name: match[0] for name, text in sources.items() if (match := MARKUP.search(text))}
    assert found == {}


@pytest.mark.parametrize(
    "line",
    [
        'f"<div>{name}"',
        '"<table><tr>"',
        '"</p>"',
        "<td class='a'>",
        '"<br>"',
        '<svg xmlns="',
        "style='x'",
        "td { color: red }",
    ],
)
def test_the_check_for_html_finds_it(line: str) -> None:
    assert MARKUP.search(line)


@pytest.mark.parametrize("line", ['if low < b: Table(header_style="dim")', "dict[str, i]", "width: int", "<name>"])
def test_the_check_for_html_lets_python_pass(line: str) -> None:
    assert not MARKUP.search(line)


def test_questions_are_in_order() -> None:
    """Each question has a default, so that --defaults works; what is computed is never asked."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    questions = {name: details for name, details in settings.items() if not name.startswith("_")}
    assert [name for name, details in questions.items() if "default" not in details] == []
    assert [name for name, details in questions.items() if details.get("when", True) and "help" not in details] == []


def test_what_is_yours_is_kept_both_ways() -> None:
    """Each path that updates leave out is kept on recopies too; one that is only kept arrives in pilots that exist."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    on_update = {match[1] for entry in settings["_exclude"] if (match := re.match(r"\{\{ '(.*?)' if ", entry))}
    assert len(on_update) >= 8
    assert on_update <= set(settings["_skip_if_exists"])
    template = {re.sub(r"\.jinja$", "", name.removeprefix("template/")) for name in FILES}
    assert [path for path in settings["_skip_if_exists"] if not any(name.startswith(path) for name in template)] == []


def test_pages_ask_for_a_copier_that_the_template_accepts() -> None:
    """An older one that uvx has kept may fail before it reads the template's own minimum."""
    minimum = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))["_min_copier_version"]
    asked = [(name, found) for name, text in texts().items() for found in re.findall(r"uvx \S*copier\S*", text)]
    asked = [(name, found) for name, found in asked if name.endswith((".md", ".md.jinja"))]
    assert len(asked) >= 6
    assert [each for each in asked if each[1] != f"uvx 'copier>={minimum}'"] == []


@pytest.mark.parametrize("tool", ["uv"])
def test_a_tool_has_one_version(tool: str) -> None:
    """CI's entry files install the version that the template was tested with."""
    named = {name: set(re.findall(rf"\b{tool}==([0-9.]+)", text)) for name, text in texts().items()}
    versions = {name: version for name, version in named.items() if version}
    assert len(versions) >= 4
    assert len(set.union(*versions.values())) == 1, versions


def test_hooks_run_no_code_from_elsewhere() -> None:
    for config in (ROOT / ".pre-commit-config.yaml", ROOT / "template/.pre-commit-config.yaml"):
        assert {repo["repo"] for repo in yaml.safe_load(config.read_text(encoding="utf-8"))["repos"]} == {"local"}


def test_ci_pins_what_it_runs() -> None:
    """An action by its commit, since a tag can be moved."""
    used = [use for name, text in texts().items() if "/workflows/" in name for use in re.findall(r"uses: (\S+)", text)]
    assert used
    assert [use for use in used if not re.search(r"^\./|@[0-9a-f]{40}$", use)] == []


def test_the_python_that_ruff_writes_for_is_the_oldest_that_a_project_accepts() -> None:
    target = tomllib.loads((ROOT / "template/ruff.toml").read_text(encoding="utf-8"))["target-version"]
    oldest = re.search(
        r'requires-python = ">=(\d)\.(\d+)', (ROOT / "template/pyproject.toml.jinja").read_text(encoding="utf-8")
    )
    assert oldest
    assert target == f"py{oldest[1]}{oldest[2]}"


SYSTEM = ROOT / "template/src/groundwork"
MODULES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(SYSTEM.rglob("*.py"))}
RECORDS = {"dataclass", "NamedTuple", "BaseModel", "Part", "Document", "Struct"}  # what makes a class a record


def name_of(node: ast.expr) -> str:
    """The last part of a dotted name, whatever it is called with or indexed by."""
    while isinstance(node, ast.Call | ast.Subscript):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def classes() -> Iterator[ast.ClassDef]:
    return (node for tree in MODULES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef))


def built_by_position(source: str, large: set[str]) -> list[str]:
    """The calls that build one of these records with values that have no name."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    return [
        f"line {call.lineno}: {name_of(call.func)}"
        for call in calls
        if call.args and (name_of(call.func) in large or (name_of(call.func) == "_make" and large & names_in(call)))
    ]


def names_in(call: ast.Call) -> set[str]:
    return {node.id for node in ast.walk(call.func) if isinstance(node, ast.Name)}


def test_no_two_classes_have_one_name() -> None:
    named = Counter(each.name for each in classes())
    assert named["Prediction"] == 1  # it looks where they are
    assert [name for name, count in named.items() if count > 1] == []


def test_no_two_modules_have_one_name() -> None:
    named = Counter(path.stem for path in MODULES if path.stem not in ("__init__", "__main__"))
    assert named["snapshots"] == 1
    assert [name for name, count in named.items() if count > 1] == []


def test_no_module_is_long() -> None:
    """A module of more than 300 lines has more than one reason to change."""
    lines = {str(path.relative_to(SYSTEM)): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_records_of_more_than_four_fields_are_built_by_keyword() -> None:
    large = {
        each.name
        for each in classes()
        if RECORDS & {name_of(part) for part in (*each.bases, *each.decorator_list)}
        and sum(isinstance(part, ast.AnnAssign) for part in each.body) > 4
    }
    assert {"Prediction", "Row", "Trained"} <= large
    assert built_by_position("Row(1)", large) == ["line 1: Row"]
    assert built_by_position("store.Row(*values)", large) == ["line 1: Row"]
    assert built_by_position("Row._make(values)", large) == ["line 1: _make"]
    assert built_by_position("Row(id=1)", large) == []
    found = {path: built_by_position(path.read_text(encoding="utf-8"), large) for path in MODULES}
    assert {str(path.relative_to(SYSTEM)): calls for path, calls in found.items() if calls} == {}


def test_no_private_name_is_imported_elsewhere() -> None:
    imported = [
        f"{path.relative_to(SYSTEM)}: {alias.name}"
        for path, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("groundwork")
        for alias in node.names
        if alias.name.startswith("_") and not alias.name.startswith("__")
    ]
    assert imported == []


def test_commands_of_a_pilot_find_the_pilots_own_code() -> None:
    """Whatever the system's tests set for theirs, in the same process."""
    assert "PYTHONPATH" not in os.environ
    assert not [name for name in os.environ if name.startswith(("GROUNDWORK_", "PREFECT_", "MLFLOW_"))]


def test_a_group_of_tests_stays_in_one_process(tmp_path: Path) -> None:
    """Tests that share a pilot rest on it; with pytest 9.2.0 pytest-xdist spreads them without a word."""
    (tmp_path / "test_group.py").write_text(
        "import os, time, pathlib, pytest\n\n"
        "@pytest.mark.xdist_group('shop')\n"
        "@pytest.mark.parametrize('number', range(6))\n"
        "def test_of_the_group(number):\n"
        "    time.sleep(0.2)\n"
        "    pathlib.Path(os.environ['PYTEST_XDIST_WORKER']).touch()\n"
    )
    parallel = re.search(r"^PARALLEL := (.*?)#", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
    assert parallel is not None
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *parallel[1].split()],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
    )
    assert len([path for path in tmp_path.iterdir() if path.name.startswith("gw")]) == 1
