"""The documentation names nothing that does not exist, and leaves out nothing that its reference should have."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from groundwork.cli.main import app
from groundwork.core.environment import QUIET
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.service.app import create_app
from pilots import documents
from pydantic import AliasChoices
from typer.main import get_command

from quoted import Command, Shell, agrees, commands, written_anew
from support import ROOT

TEMPLATE = ROOT / "template"
PAGES = [
    ROOT / "README.md",
    ROOT / "AGENTS.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    TEMPLATE / "README.md.jinja",
    TEMPLATE / "AGENTS.md",
    TEMPLATE / "docs/clients.md",
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
    "secrets/",
    "champion",
    "groundwork.db",
    "mlflow.db",
    "readiness.yaml",
    "decision-record.yaml",
    "tests/use_case/sample.duckdb",
    "pilots/",
)

every_page = pytest.mark.parametrize("page", PAGES, ids=NAMES)


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code(page: Path) -> list[str]:
    """Everything in backticks: words in the text, and the commands of the blocks."""
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.MULTILINE | re.DOTALL)
    typed = [line for command in commands(page) for line in command.text.splitlines()]
    return [*re.findall(r"`([^`\n]+)`", prose), *typed]


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
    assert {page for page in PAGES if page.suffix == ".md"} - {
        TEMPLATE / "docs/clients.md",
        TEMPLATE / "AGENTS.md",
    } <= reached


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
            (root / name).exists()
            for root in (ROOT, TEMPLATE, TEMPLATE / "src", TEMPLATE / "src/groundwork")
            for name in (path, f"{path}.jinja", re.sub(r"(cosign\.pub)$", r"{% if sign_images %}\1{% endif %}", path))
        )
    ]
    assert missing == []


def settings() -> set[str]:
    """The environment variables that Settings reads."""
    names = set()
    for field, about in Settings.model_fields.items():
        alias = about.validation_alias
        if isinstance(alias, AliasChoices):
            names |= {str(choice) for choice in alias.choices}
        else:
            names.add(str(alias or f"GROUNDWORK_{field.upper()}"))
    return names


OF_LIBRARIES = {  # read by libraries, or by the shell of the example itself
    "AWS_ACCESS_KEY_ID",
    "AWS_ALLOW_HTTP",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "GROUNDWORK_KEY",  # of docs/clients.md
    "COSIGN_PASSWORD",  # by cosign, for ops/delivery.sh
    "COSIGN_PRIVATE_KEY",
    "KUBE_CONFIG",  # by ops/delivery.sh, as UPDATE_TOKEN
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_SAMPLER",
    "PREFECT_HOME",
    "PREFECT_LOGGING_LEVEL",
    "PROMETHEUS_MULTIPROC_DIR",
    "SPARK_CONF_DIR",
    "UPDATE_TOKEN",
}


@every_page
def test_environment_variables_are_read(page: Path) -> None:
    build_arguments = set(re.findall(r"^ARG (\w+)", text(TEMPLATE / "Dockerfile"), re.MULTILINE))
    of_compose = set(re.findall(r"^(\w+)=", text(TEMPLATE / ".env.example"), re.MULTILINE))
    named = {name for each in code(page) for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", each)}
    assert named - settings() - OF_LIBRARIES - set(QUIET) - build_arguments - of_compose == set()


def test_the_reference_lists_every_setting() -> None:
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text(ROOT / "docs/reference/settings.md"), re.MULTILINE)
    assert sorted(re.findall(r"\w+", " ".join(listed))) == sorted(settings())


@pytest.mark.parametrize("document", ["charter", "contract", "owners"])
def test_the_reference_has_every_field_of_the_documents(document: str) -> None:
    schema = json.loads(text(TEMPLATE / f"src/groundwork/schemas/{document}.json"))
    fields = {
        field
        for part in (schema, *schema["$defs"].values())
        for field, about in part.get("properties", {}).items()
        if about.get("description") != "Kept for other tools."
    }
    page = code(ROOT / "docs/reference/documents.md")
    named = {name for each in page for name in re.findall(r"\w+", each)}
    assert fields - named == set()


def test_the_reference_lists_every_test_of_the_rubric() -> None:
    from groundwork.readiness.ml_test_score import RUBRIC

    rows = re.findall(r"^\| (`[^|]*) \| ", text(ROOT / "docs/reference/readiness.md"), re.MULTILINE)
    listed = re.findall(r"`((?:data|model|infra|monitor)-[a-z-]+)`", " ".join(rows))
    assert len(RUBRIC) == 28
    assert listed == [rubric.id for rubric in RUBRIC]


def test_the_reference_lists_every_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the application itself says: its OpenAPI document, and the pages that this leaves out."""
    shutil.copytree(documents(), tmp_path / "pilot", ignore=shutil.ignore_patterns("src", "tests"))
    (tmp_path / "pilot/data").mkdir()
    service: Any = create_app(Pilot(Settings(home=tmp_path / "pilot"))).app
    described = {(method.upper(), path) for path, methods in service.openapi()["paths"].items() for method in methods}
    assert ("POST", "/predict") in described
    offered = described | {
        (method, route.path) for route in service.routes for method in route.methods - {"HEAD", "OPTIONS"}
    }
    named = re.findall(r"`(GET|POST) (/[\w/.]*)", text(ROOT / "docs/reference/http-api.md"))
    assert set(named) == offered


def test_make_knows_the_targets() -> None:
    named = {target for page in PAGES for each in code(page) for target in re.findall(r"^make ([a-z]+)", each)}
    assert {"demo", "test"} <= named
    assert named <= set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))


def verbs() -> dict[str, click.Command]:
    """Each verb of the command line, such as `charter lock`, as Typer knows it."""

    def below(group: Any, name: str) -> Iterator[tuple[str, click.Command]]:
        for word, command in group.commands.items():
            if hasattr(command, "commands"):
                yield from below(command, f"{name}{word} ")
            else:
                yield f"{name}{word}", command

    return dict(below(get_command(app), ""))


def options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if name.startswith("--")} - {"--help"}


def test_the_pages_name_only_verbs_and_options_that_exist() -> None:
    known = verbs()
    named = [
        (page.name, line)
        for page in PAGES
        for each in code(page)
        for line in re.findall(r"(?<![\w/.-])groundwork ([a-z-][^|&;`)]*)", each)
    ]
    assert len(named) > 50
    wrong = []
    for page, quoted in named:
        line = quoted.removeprefix("--traceback ").replace("COMMAND", "check")  # an option before any verb
        [verb] = [name for name in known if f"{line} ".startswith(f"{name} ")] or [""]
        given = set(re.findall(r"(?<!\S)--[a-z-]+", line))
        allowed = options(known[verb]) | {"--help"} if verb else {"--help", "--version"}
        if not (verb or line.startswith("--") or line.strip() in {"charter", "quarantine"}) or not given <= allowed:
            wrong.append((page, quoted))
    assert wrong == []


def test_the_reference_has_every_verb_with_its_arguments_and_options() -> None:
    listed = {}
    for row in re.findall(r"^\| `groundwork .*$", text(COMMAND_LINE), re.MULTILINE):
        command, *_, cell = row.strip("|").split("|")
        verb, *arguments = re.split(r" (?=\[?[A-Z])", command.strip().strip("`").removeprefix("groundwork "))
        named = [argument.strip("[]") for argument in arguments]
        listed[verb] = (named, set(re.findall(r"`(--[a-z-]+)", cell)))
    assert listed.pop("--version") == ([], set())
    assert listed.pop("--traceback") == (["COMMAND"], set())
    assert listed == {
        name: (
            [str(each.name).upper() for each in command.params if each.param_type_name == "argument"],
            options(command),
        )
        for name, command in verbs().items()
    }


# ------------------------------------------------------------------ commands in the pages ----

COMMAND_LINE = ROOT / "docs/reference/command-line.md"
TUTORIAL = ROOT / "docs/tutorials/first-pilot.md"
TYPED = [  # pages whose commands are run, in this order: what they do to the pilot adds up
    TUTORIAL,
    ROOT / "README.md",
    TEMPLATE / "README.md.jinja",
    *sorted((ROOT / "docs/how-to").glob("*.md")),
    COMMAND_LINE,
    TEMPLATE / "AGENTS.md",
    TEMPLATE / "docs/runbook.md",
]
# Commands that are not run here as they are written, by their page and beginning, and why not.
UPDATE = "there is no newer release to update to: tests/test_update.py updates pilots"
RELEASE = "changes the template's repository: tests/test_releases.py releases a small one as the page says"
PREVIEW = "there is no newer release to update to: tests/test_preview.py updates pilots"
EXAMINED = "tests/system/readiness/test_doctor.py and tests/system/cli/test_upkeep.py examine pilots in every state"
SUITE = "this runs the tests: tests/test_generated.py runs those of a pilot, as its CI does"
OWN_DATA = "needs a database of the team's own: tests/test_examples.py replaces the example as the page says"
MINUTES = "takes minutes: tests/system/ calls it on a part of the data"
TWO_CHAMPIONS = "needs several versions: tests/system/models/registry and tests/system/models/gate have them"
PREFECT = "needs a Prefect server: tests/test_flows.py starts a worker, and a pool on a server of its own"
DOCKER = "needs Docker: tests/containers/test_pipeline.py runs flows in a pool of containers"
STACK = "needs Docker: tests/containers/test_compose.py runs the whole stack"
ENGINES = "needs another engine, a bucket or a cluster: tests/test_scale_out.py and tests/system/ start them"
DELIVERY = "needs a registry, a cluster or a larger repository: tests/test_delivery.py and tests/containers/ have them"
SIGNING = "needs cosign: tests/test_signing.py does what the page says"
CLUSTER = "needs a cluster: tests/test_kubernetes.py runs it with a kubectl that only builds what it is asked to apply"
NOT_RUN = {
    ("README.md", "make"): SUITE,
    ("README.md", "uvx 'copier>=9.19.1' copy"): "the tutorial copies and starts a pilot in the same way",
    ("README.md", "cd my-pilot"): "the tutorial copies and starts a pilot in the same way",
    ("README.md", "uv run groundwork up"): "serves until Ctrl-C: the tutorial runs `up --once` and `serve`",
    ("README.md", "uv run groundwork update"): PREVIEW,
    ("README.md.jinja", "uv run groundwork up"): "the tutorial runs `up --once`; `up` serves until Ctrl-C",
    ("README.md.jinja", "uv run groundwork demo"): MINUTES,
    ("README.md.jinja", "uv run pytest"): SUITE,
    ("AGENTS.md", "uv run ruff"): SUITE,
    ("AGENTS.md", "uv run mypy"): SUITE,
    ("AGENTS.md", "uv run lint-imports"): SUITE,
    ("AGENTS.md", "uv run pytest"): SUITE,
    ("AGENTS.md", "ops/delivery.sh"): SUITE,
    ("README.md.jinja", "uv run groundwork doctor"): EXAMINED,
    ("README.md.jinja", "uv run groundwork update"): PREVIEW,
    ("README.md.jinja", "git switch groundwork-update-VERSION"): PREVIEW,
    ("bring-your-own.md", "export GROUNDWORK_SOURCE_URL"): OWN_DATA,
    ("bring-your-own.md", "uv run groundwork ingest"): OWN_DATA,
    ("bring-your-own.md", "uv run groundwork evaluate"): MINUTES,
    ("deliver.md", "export"): DELIVERY,
    ("deliver.md", "ops/delivery.sh"): DELIVERY,
    ("deliver.md", "uvx 'copier>=9.19.1' update"): SIGNING,
    ("deliver.md", "cosign"): SIGNING,
    ("deliver.md", "mv cosign.pub"): SIGNING,
    ("maintain-the-template.md", ""): "the commands are those of AGENTS.md, which tests/test_agents.py runs",
    ("maintain-a-fleet.md", "python3 scripts/update_tested_set.py"): "asks the package index for newer versions",
    ("maintain-a-fleet.md", "make test"): SUITE,
    ("maintain-a-fleet.md", "make release"): RELEASE,
    ("maintain-a-fleet.md", "git push"): RELEASE,
    ("maintain-a-fleet.md", "git tag"): RELEASE,
    ("maintain-a-fleet.md", "git reset"): RELEASE,
    ("maintain-a-fleet.md", "uvx --from"): "needs servers: tests/test_fleet.py installs it in this way, and has them",
    ("maintain-a-fleet.md", "uvx 'copier>=9.19.1' update"): UPDATE,
    ("maintain-a-fleet.md", "uv run groundwork update"): PREVIEW,
    ("maintain-a-fleet.md", "uv run groundwork doctor"): EXAMINED,
    ("maintain-a-fleet.md", "sed '/Above"): "tests/system/documents/test_template_files.py makes the digest with it",
    ("maintain-a-fleet.md", "git worktree add"): EXAMINED,
    ("maintain-a-fleet.md", "GROUNDWORK_HOME=../review"): EXAMINED,
    ("maintain-a-fleet.md", "uv run groundwork check && uv run pytest"): SUITE,
    ("maintain-a-fleet.md", "git add"): UPDATE,
    ("retrofit.md", ""): "needs a repository of the team's own: tests/test_retrofit.py follows the page in one",
    ("run-on-a-schedule.md", "uv run groundwork worker"): PREFECT,
    ("run-on-a-schedule.md", "export PREFECT_API_URL"): PREFECT,
    ("run-on-a-schedule.md", "uv run prefect work-pool create --type process"): PREFECT,
    ("run-on-a-schedule.md", "uv run groundwork deploy --pool pilots"): PREFECT,
    ("run-on-a-schedule.md", "uv run prefect worker"): PREFECT,
    ("run-on-a-schedule.md", "IMAGE="): DOCKER,
    ("run-on-a-schedule.md", "docker"): DOCKER,
    ("run-on-a-schedule.md", "uv run prefect work-pool get-default-base-job-template"): DOCKER,
    ("run-on-a-schedule.md", "uv run prefect work-pool create --type docker"): DOCKER,
    ("run-on-a-schedule.md", "uv run --with prefect-docker"): DOCKER,
    ("deploy-to-kubernetes.md", "kubectl"): CLUSTER,
    ("deploy-to-kubernetes.md", "cat ops/kubernetes/components/monitoring/alerts.yaml"): CLUSTER,
    ("deploy-to-kubernetes.md", "cp"): CLUSTER,
    ("deploy-to-kubernetes.md", "git"): CLUSTER,
    ("run-the-stack.md", "GIT_COMMIT="): STACK,
    ("run-the-stack.md", "docker"): STACK,
    ("run-the-stack.md", "ops/compose/archive.sh"): STACK,
    ("scale-out.md", "uv"): ENGINES,
    ("scale-out.md", "export"): ENGINES,
    ("runbook.md", "prometheus"): "serves until Ctrl-C: tests/test_ops.py checks its configuration and alerts",
    ("runbook.md", "alertmanager"): "serves until Ctrl-C: tests/test_ops.py checks its routes",
    (
        "runbook.md",
        "uv run groundwork verify --mend",
    ): "needs a forged entry: tests/system/models/serving/test_chain.py",
    ("runbook.md", "uv run groundwork rollback"): TWO_CHAMPIONS,
    ("runbook.md", "uv run groundwork evaluate"): MINUTES,
    ("runbook.md", "uv run groundwork approve"): TWO_CHAMPIONS,
    ("runbook.md", "uv run groundwork reproduce"): TWO_CHAMPIONS,
}
ENDS_WITH = {"uv run groundwork readiness": 3}  # the exit code, where it is not 0: the example has no sealed criteria


def why_not(page: Path, command: Command) -> str | None:
    reasons = [why for (name, begin), why in NOT_RUN.items() if name == page.name and command.text.startswith(begin)]
    return reasons[0] if reasons else None


def test_every_reason_not_to_run_a_command_is_needed() -> None:
    typed = [(page.name, command.text) for page in TYPED for command in commands(page)]
    unused = [key for key in NOT_RUN if not any(name == key[0] and text.startswith(key[1]) for name, text in typed)]
    assert unused == []


def test_a_command_with_promised_output_is_run() -> None:
    assert [c.text for page in TYPED for c in commands(page) if c.promised is not None and why_not(page, c)] == []


@pytest.fixture(scope="module")
def shell(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Begins where the tutorial does: in a folder that holds a clone of this repository."""
    folder = tmp_path_factory.mktemp("ada")
    (folder / "groundwork").symlink_to(template)
    shell = Shell(folder, tmp_path_factory.mktemp("shell"))
    yield shell
    shell.close()


def follow(page: Path, shell: Shell) -> None:
    """Run a page's commands one by one, and compare what they print with what the page promises."""
    printed, wrong = {}, []
    for command in commands(page):
        if why_not(page, command):
            continue
        if re.search(r"groundwork serve\b", command.text):
            shell.close()
            shell.serve(command.text)
            continue
        if command.promised and any("🎤" in line for line in command.promised):
            done = shell.answer(command.text, command.promised)
            promised = command.promised[command.promised.index("…") :]
        else:
            done = shell.run(command.text)
            promised = command.promised or ()
        code = next((ENDS_WITH[begin] for begin in ENDS_WITH if command.text.startswith(begin)), 0)
        assert done.code == code, f"{command.text}\n{done.printed}\n{done.complaints}"
        if command.promised is not None and not agrees(promised, done.printed):
            printed[command.line] = done.printed
            wrong.append(f"$ {command.text}\n{done.printed}")
    shell.close()
    if os.environ.get("UPDATE_DOCS"):
        written_anew(page, printed)
    assert wrong == [], "\n".join(["not as on the page (UPDATE_DOCS=1 writes it there):", *wrong])


@pytest.mark.soak
def test_the_tutorial_runs_as_written(shell: Shell, late_flights: dict[str, Any]) -> None:
    follow(TUTORIAL, shell)
    answers = yaml.safe_load((shell.home / "late-flights/.copier-answers.yml").read_text(encoding="utf-8"))
    assert [str(answers[name]) for name in late_flights] == [str(answer) for answer in late_flights.values()]


@pytest.mark.soak
@pytest.mark.parametrize("page", TYPED[1:], ids=[page.name for page in TYPED[1:]])
def test_commands_run_as_written(page: Path, shell: Shell) -> None:
    """In the pilot that the tutorial leaves behind."""
    assert (shell.home / "late-flights/data").is_dir(), "the tutorial's test did not get that far"
    follow(page, shell)
