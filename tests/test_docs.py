"""The documentation names nothing that does not exist, and leaves out nothing that its reference should have."""

import ast
import json
import re
from pathlib import Path

import pytest

from support import ROOT, execute

TEMPLATE = ROOT / "template"
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    TEMPLATE / "docs/runbook.md",
]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
MADE_BY_RUNNING = (
    "data/",
    "demo/",
    "late-flights/",
    "/home/ada/",
    "uv.lock",
    "catalog-info.yaml",
    "ops/prometheus/alertmanager.yml",
    "champion",
    "groundwork.db",
    "mlflow.db",
    "readiness.yaml",
    "decision-record.yaml",
)

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code(page: Path) -> list[str]:
    """Everything in backticks: words in the text, and the lines of the blocks that are typed."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text(page), re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    return [*re.findall(r"`([^`\n]+)`", prose), *(line for block in blocks for line in block.splitlines())]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@every_page
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text(page)):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), target
        assert not anchor or anchor in anchors(linked), target


def test_every_page_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+\.md[^)\s]*)\)", text(page))]
        waiting += [(page.parent / target).resolve() for target in targets if "://" not in target]
    assert set(PAGES) <= reached


def test_pictures_are_small() -> None:
    pictures = list((ROOT / "docs/images").iterdir())
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 300_000] == []


@every_page
def test_paths_exist(page: Path) -> None:
    """In this repository, or in the project that it writes."""
    paths = [
        word for word in code(page) if re.fullmatch(r"[\w.{}-]*(/[\w.{}-]+)+/?|[\w-]+\.(py|md|yaml|yml|toml|db)", word)
    ]
    missing = [
        path
        for path in paths
        if not path.startswith(("/", *MADE_BY_RUNNING))
        and not any(
            (root / name).exists() for root in (ROOT, TEMPLATE, TEMPLATE / "src") for name in (path, f"{path}.jinja")
        )
    ]
    assert missing == []


@every_page
def test_environment_variables_are_read(page: Path) -> None:
    read = documented_settings() | set(
        re.findall(r"\b[A-Z]+_[A-Z_]+\b", "".join(text(module) for module in TEMPLATE.glob("src/groundwork/**/*.py")))
    )
    read |= set(re.findall(r"^ARG (\w+)", text(TEMPLATE / "Dockerfile"), re.MULTILINE))
    named = {name for each in code(page) for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", each)}
    assert named - read == set()


def documented_settings() -> set[str]:
    """The names of the variables, as pydantic makes them of the fields of Settings."""
    module = ast.parse(text(TEMPLATE / "src/groundwork/settings.py"))
    [settings] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == "Settings"]
    names = set()
    for node in settings.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            alias = re.search(r"validation_alias=(?:AliasChoices\()?'(\w+)'", ast.unparse(node))
            names.add(alias[1] if alias else f"GROUNDWORK_{node.target.id.upper()}")
    return names


def test_the_reference_lists_every_setting() -> None:
    page = text(ROOT / "docs/reference/settings.md")
    assert set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE)) == documented_settings()


@pytest.mark.parametrize("document", ["charter", "contract", "owners"])
def test_the_reference_has_every_field_of_the_documents(document: str) -> None:
    schema = json.loads(text(TEMPLATE / f"src/groundwork/schemas/{document}.json"))
    fields = {
        field
        for part in (schema, *schema["$defs"].values())
        for field, about in part.get("properties", {}).items()
        if about.get("description") != "Not read."
    }
    page = code(ROOT / "docs/reference/documents.md")
    named = {name for each in page for name in re.findall(r"\w+", each)}
    assert fields - named == set()


def test_the_reference_lists_every_test_of_the_rubric() -> None:
    module = text(TEMPLATE / "src/groundwork/readiness/ml_test_score.py")
    rubric = re.findall(r'Rubric\(\s*"([a-z-]+)"', module)
    rows = re.findall(r"^\| (`[^|]*) \| ", text(ROOT / "docs/reference/readiness.md"), re.MULTILINE)
    listed = re.findall(r"`((?:data|model|infra|monitor)-[a-z-]+)`", " ".join(rows))
    assert len(rubric) == 28
    assert listed == rubric


def test_the_reference_lists_every_route() -> None:
    routes = set(re.findall(r'@app\.(?:get|post)\("([^"]+)"', text(TEMPLATE / "src/groundwork/service/app.py")))
    named = " ".join(code(ROOT / "docs/reference/http-api.md"))
    assert {"/predict", "/metrics"} <= routes | {"/predict"}
    assert [route for route in routes if not re.search(rf"(GET|POST) {route}\b", named)] == []


def test_make_knows_the_targets() -> None:
    named = {target for page in PAGES for each in code(page) for target in re.findall(r"^make ([a-z]+)", each)}
    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.slow
def test_the_command_line_knows_the_commands(pilot: Path) -> None:
    """Each command with its options; and the reference has them all."""

    def offered(*command: str) -> str:
        return execute(pilot, "uv", "run", "groundwork", *command, "--help")

    commands = set(re.findall(r"^│ ([a-z]+) ", offered(), re.MULTILINE))
    options = {command: set(re.findall(r"--[a-z]+", offered(command))) for command in commands}
    named = {
        match.groups()
        for page in PAGES
        for each in code(page)
        for match in re.finditer(r"\bgroundwork ([a-z]+)\b((?: --[a-z]+(?: \S+)?)*)", each)
    }
    for command, given in named:
        assert command in commands
        assert set(re.findall(r"--[a-z]+", given)) <= options[command] | {"--help"}
    reference = text(ROOT / "docs/reference/command-line.md")
    assert set(re.findall(r"^\| `groundwork ([a-z]+)", reference, re.MULTILINE)) == commands
