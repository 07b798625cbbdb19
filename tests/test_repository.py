"""What may be in this repository, and what may not."""

import re
import tomllib
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
    """The two lists of copier.yml, against updates and against recopies, name the same paths."""
    settings = yaml.safe_load((ROOT / "copier.yml").read_text(encoding="utf-8"))
    on_update = {match[1] for entry in settings["_exclude"] if (match := re.match(r"\{\{ '(.*?)' if ", entry))}
    assert on_update == set(settings["_skip_if_exists"])
    template = {re.sub(r"\.jinja$", "", name.removeprefix("template/")) for name in FILES}
    assert [path for path in on_update if not any(name.startswith(path) for name in template)] == []


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
    assert [use for use in used if not re.search(r"@[0-9a-f]{40}$", use)] == []


def test_the_python_that_ruff_writes_for_is_the_oldest_that_a_project_accepts() -> None:
    target = tomllib.loads((ROOT / "template/ruff.toml").read_text(encoding="utf-8"))["target-version"]
    oldest = re.search(
        r'requires-python = ">=(\d)\.(\d+)', (ROOT / "template/pyproject.toml.jinja").read_text(encoding="utf-8")
    )
    assert oldest
    assert target == f"py{oldest[1]}{oldest[2]}"
