"""Checks and delivery on GitHub and GitLab: every line that a job runs is run here, in a clone of a pilot.

Docker, the cluster and what installs a job's tools are stand-ins: tests/containers/test_delivery.py has the real ones.
"""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import copier
import pytest
import yaml

from pipelines import Block, Ended, Job, Runner, github, gitlab
from support import PYTHON, ROOT, commit, execute, releases, update

TEMPLATE = ROOT / "template"
READERS = {"github": github, "gitlab": gitlab}
# The actions that may be used. The commits were read from the tags of the actions' own repositories.
ACTIONS = {
    "actions/cache": ("27d5ce7f107fe9357f9df03efb73ab90386fccae", "v5.0.5"),
    "actions/checkout": ("08c6903cd8c0fde910a37f88322edcfb5dd907a8", "v5.0.0"),
    "actions/upload-artifact": ("bbbca2ddaa5d8feaa63e36b76fdaad77386f024f", "v7.0.0"),
}
ZIZMOR = str(Path(PYTHON).with_name("zizmor"))
SERVICE, PIPELINE = (f"sha256:{digit * 64}" for digit in "ab")

both = pytest.mark.parametrize("platform", READERS)


@pytest.fixture(scope="module")
def projects(render: Callable[..., Path]) -> dict[str, Path]:
    """A project for each platform."""
    return {platform: render(platform, ci=platform) for platform in READERS}


# ---- the files -------------------------------------------------------------------------------------------------------


def test_both_platforms_run_the_same_commands(projects: dict[str, Path]) -> None:
    there, here = (
        {name: job.commands for name, job in READERS[each](projects[each]).items()} for each in ("github", "gitlab")
    )
    assert [each.pop("rollback")[0].split()[1] for each in (there, here)] == ["rollback", "rollback"]
    assert there == here
    assert set(there) == {"checks", "scan", "build", "images", "staging", "readiness", "production", "update"}
    assert len(there["checks"]) == 11


def test_workflows_have_no_known_weakness(projects: dict[str, Path]) -> None:
    """By zizmor: no template injection, no permission or credential left lying about, no action by a movable tag."""
    assert "No findings" in execute(projects["github"], ZIZMOR, "--offline", "--no-progress", ".github/workflows")


def test_actions_are_those_whose_commits_are_known(projects: dict[str, Path]) -> None:
    files = sorted((projects["github"] / ".github/workflows").glob("*.yml"))
    used = {found for file in files for found in re.findall(r"uses: ([^.\s]+)@(\S+) # (\S+)", file.read_text())}
    assert used == {(action, *pinned) for action, pinned in ACTIONS.items()}


def test_only_one_job_may_write_and_only_packages(projects: dict[str, Path]) -> None:
    """To the registry, where the images are pushed."""
    granted = {}
    for file in (projects["github"] / ".github/workflows").glob("*.yml"):
        workflow = yaml.safe_load(file.read_text())
        for name, job in workflow["jobs"].items():
            granted[f"{file.stem} {name}"] = job.get("permissions", workflow["permissions"])
    assert {job for job, rights in granted.items() if "write" in rights.values()} == {"deliver images"}
    assert granted["deliver images"] == {"contents": "read", "packages": "write"}


@both
def test_nothing_is_delivered_before_the_team_says_so(platform: str, projects: dict[str, Path]) -> None:
    """A new pilot's CI is green although it has neither registry nor cluster."""
    if platform == "gitlab":
        jobs = yaml.safe_load((projects[platform] / ".gitlab-ci.yml").read_text())
        for name in ("images", "staging", "readiness", "production"):
            rules = [rule for rule in jobs[name]["rules"] if rule.get("when") != "never"]
            assert rules, name
            assert all('$DELIVER == "true" &&' in rule["if"] for rule in rules), name
    else:
        jobs = yaml.safe_load((projects[platform] / ".github/workflows/deliver.yml").read_text())["jobs"]
        assert jobs["staging"]["if"] == "vars.DELIVER == 'true'"
        assert (jobs["readiness"]["needs"], jobs["production"]["needs"]) == ("staging", ["images", "readiness"])


def test_a_pipeline_that_updates_does_nothing_else(projects: dict[str, Path]) -> None:
    """On GitLab, where all jobs are in one file: the others exclude the update's rule, or need another trigger."""
    jobs = yaml.safe_load((projects["gitlab"] / ".gitlab-ci.yml").read_text())
    [rule] = jobs.pop("update")["rules"]
    assert rule == {"if": '$CI_PIPELINE_SOURCE == "schedule" && $UPDATE == "true"'}
    others = {name: job["rules"] for name, job in jobs.items() if isinstance(job, dict) and "script" in job}
    assert others.pop("build") == [{"if": '$CI_PIPELINE_SOURCE == "merge_request_event"'}]
    assert others.pop("rollback")[0]["if"].startswith("$ROLLBACK &&")
    for name, rules in others.items():
        never = [each["if"] for each in rules if each.get("when") == "never"]
        assert rule["if"] in never, name


def test_the_bill_of_materials_has_the_groups_that_the_images_install() -> None:
    script = (TEMPLATE / "ops/delivery.sh").read_text(encoding="utf-8")
    dockerfile = (TEMPLATE / "Dockerfile").read_text(encoding="utf-8")
    for image in ("service", "pipeline"):
        [listed] = re.findall(rf"{image}\.cdx\.json\"((?: |\\\n|--group|[a-z-])+)", script)
        [installed] = re.findall(rf"AS build-{image}\n(.*?)\nFROM", dockerfile, re.DOTALL)
        assert set(re.findall(r"--group (\S+)", listed)) == set(re.findall(r"--group (\S+)", installed)), image


def test_the_script_says_what_it_can_do(tmp_path: Path) -> None:
    script = TEMPLATE / "ops/delivery.sh"
    with pytest.raises(AssertionError, match="ended with 2") as shown:
        execute(tmp_path, str(script))
    verbs = re.findall(r"^ *([a-z |]+)\) \"\$@\" ;;$", script.read_text(), re.MULTILINE)[0].split(" | ")
    assert re.findall(r"ops/delivery\.sh ([a-z]+)", str(shown.value).split("\n", 1)[1]) == verbs


# ---- a larger repository ---------------------------------------------------------------------------------------------


@pytest.fixture
def monorepo(tmp_path: Path) -> Callable[[Path], Path]:
    """Puts a project into the folder pilots/late-flights of a repository; returns the repository."""

    def make(project: Path) -> Path:
        shutil.copytree(project, tmp_path / "all/pilots/late-flights", ignore=shutil.ignore_patterns(".git"))
        commit(tmp_path / "all")
        return tmp_path / "all"

    return make


NOTE_FOLDER = "import os; notes = open('{}', 'a'); notes.write(os.getcwd())"


def test_github_finds_the_workflows_of_a_pilot_in_a_folder(
    projects: dict[str, Path], monorepo: Callable[[Path], Path], tmp_path: Path
) -> None:
    root = monorepo(projects["github"])
    execute(root / "pilots/late-flights", "ops/delivery.sh", "monorepo")
    assert "No findings" in execute(root, ZIZMOR, "--offline", "--no-progress", ".github/workflows")
    files = {file.name: file for file in (root / ".github/workflows").iterdir()}
    assert set(files) == {f"late-flights-{name}.yml" for name in ("checks", "deliver", "rollback", "update")}
    for file in files.values():
        execute(root, PYTHON, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(file))
    assert yaml.safe_load(files["late-flights-update.yml"].read_text())["concurrency"]["group"] == "late-flights-update"
    deliver = yaml.safe_load(files["late-flights-deliver.yml"].read_text())
    assert deliver[True]["push"]["paths"] == ["pilots/late-flights/**"]  # YAML 1.1 reads a bare `on` as true
    assert deliver["jobs"]["checks"]["uses"] == "./.github/workflows/late-flights-checks.yml"
    assert deliver["jobs"]["production"]["environment"] == "late-flights-production"
    rollback = yaml.safe_load(files["late-flights-rollback.yml"].read_text())["jobs"]["rollback"]
    assert rollback["environment"] == rollback["concurrency"] == "late-flights-${{ inputs.environment }}"
    assert (
        rollback["steps"][2]["env"]["REGISTRY"]
        == deliver["env"]["REGISTRY"]
        == "ghcr.io/${{ github.repository }}/late-flights"
    )
    runner = Runner(root, tmp_path / "state", {}, docker=NOTE_FOLDER.format(tmp_path / "where"))
    ended = runner.run(github(root)["build"])
    assert ended.code == 0, ended.printed
    assert set((tmp_path / "where").read_text().split(str(root))) == {"", "/pilots/late-flights"}


def test_gitlab_finds_the_pipeline_of_a_pilot_in_a_folder(
    projects: dict[str, Path], monorepo: Callable[[Path], Path], tmp_path: Path
) -> None:
    """With the file that the guide says to write."""
    guide = (ROOT / "docs/how-to/deliver.md").read_text(encoding="utf-8")
    [written] = re.findall(r"```yaml\n(include:.*?)```", guide, re.DOTALL)
    root = monorepo(projects["gitlab"])
    content = yaml.safe_load(written)
    (root / content["include"][0]["local"]).rename(root / ".gitlab-ci.yml")  # as GitLab reads both as one
    nothing = dict.fromkeys(("apt_get", "pip"), "")
    known = {"CI_REGISTRY_IMAGE": "registry/all", "CI_PROJECT_DIR": str(root)}
    runner = Runner(root, tmp_path / "state", known, docker=NOTE_FOLDER.format(tmp_path / "where"), **nothing)
    job = gitlab(root)["build"]
    job.blocks[0].environment.update(content["variables"])
    ended = runner.run(job)
    assert ended.code == 0, ended.printed
    assert set((tmp_path / "where").read_text().split(str(root))) == {"", "/pilots/late-flights"}


@pytest.mark.parametrize(
    ("platform", "words"),
    [("github", "ops/delivery.sh monorepo copies"), ("gitlab", "with the variable FOLDER"), ("none", "")],
)
def test_the_copy_says_what_a_larger_repository_needs(
    platform: str, words: str, template: Path, tmp_path: Path
) -> None:
    said = execute(
        tmp_path, PYTHON, "-m", "copier", "copy", "--defaults", "-d", f"ci={platform}", str(template), "pilot"
    )
    assert words in said
    assert ("larger repository" in said) == bool(words)


def test_the_root_of_a_repository_needs_no_copies(projects: dict[str, Path]) -> None:
    commit(projects["github"])
    with pytest.raises(AssertionError, match="is the root of its repository"):
        execute(projects["github"], "ops/delivery.sh", "monorepo")


# ---- the jobs, run ---------------------------------------------------------------------------------------------------

# Docker knows what was pushed by its digest; kubectl tells what would run.
DOCKER = f"""
if "image" in arguments:
    name = arguments[-1].rpartition(":")[0]
    print(name + "@" + ("{SERVICE}" if "service" in name else "{PIPELINE}"))
if "imagetools" in arguments:
    print(json.dumps("{SERVICE}" if "service" in arguments[-1] else "{PIPELINE}"))
if "login" in arguments:
    assert sys.stdin.read() == "secret\\n"
"""
KUBECTL = """
import os, pathlib, shutil
if name == "kubectl" and arguments[0] == "kustomize":
    print("kind: Service\\nmetadata:\\n  name: service\\n  namespace: late-flights-" + arguments[1].split("/")[-1])
if arguments[0] == "apply":
    notes = pathlib.Path(sys.argv[0]).parents[1]
    shutil.copy(pathlib.Path(arguments[-1]) / "images/kustomization.yaml", notes / "applied.yaml")
    shutil.copy(os.environ["KUBECONFIG"], notes / "kubeconfig")
"""
# uv itself, but that it asks a server of ours for vulnerabilities, and prunes a cache of ours.
UV = """
import os
os.environ.pop("UV_CACHE_DIR", "")
if name == "uv" and arguments[0] == "audit":
    arguments += ["--service-url", "{database}"]
if arguments[0] == "cache":
    os.environ["UV_CACHE_DIR"] = "{cache}"
os.execv("{uv}", ["uv", *arguments])
"""
SECRETS = ("GROUNDWORK_SOURCE_URL", "GROUNDWORK_STORE_URL", "GROUNDWORK_PROMETHEUS_URL")
KNOWN = {
    "github": {
        "vars.DELIVER": "true",
        "github.repository": "Ada/Late-Flights",
        "github.token": "secret",
        "github.event.pull_request.base.sha": "",
        "secrets.KUBE_CONFIG": "the cluster",
        **dict.fromkeys((f"secrets.{name}" for name in SECRETS), ""),
    },
    "gitlab": {
        "CI_REGISTRY": "registry.example.com",
        "CI_REGISTRY_IMAGE": "registry.example.com/ada/late-flights",
        "CI_REGISTRY_USER": "ada",
        "CI_REGISTRY_PASSWORD": "secret",
        "CI_PROJECT_DIR": "/builds/ada",
        "KUBE_CONFIG": "the cluster",
    },
}
IMAGES = {"github": "ghcr.io/ada/late-flights", "gitlab": "registry.example.com/ada/late-flights"}


@pytest.fixture(scope="module")
def database() -> Iterator[tuple[str, set[str]]]:
    """A server that answers as osv.dev does: its address, and the packages that have a vulnerability."""
    vulnerable = set[str]()
    found = {"id": "GHSA-test", "modified": "2026-01-01T00:00:00Z", "summary": "It leaks."}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            queries = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            names = [query["package"]["name"] for query in queries]
            self.answer({"results": [{"vulns": [found]} if name in vulnerable else {} for name in names]})

        def do_GET(self) -> None:
            self.answer(found)

        def answer(self, content: Any) -> None:
            body = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", vulnerable
        server.shutdown()


@pytest.fixture
def clone(pilot: Path, projects: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Clones the pilot's repository, with the files of the platform; nothing is installed in the clone."""

    def make(platform: str) -> Path:
        folder = tmp_path / "clone"
        execute(tmp_path, "git", "clone", "--quiet", str(pilot), str(folder))
        if platform == "gitlab":
            shutil.copy(projects[platform] / ".gitlab-ci.yml", folder)
            commit(folder)
        return folder

    return make


@pytest.fixture
def runner(database: tuple[str, set[str]], tmp_path: Path) -> Callable[[Path, str], Runner]:
    def make(folder: Path, platform: str) -> Runner:
        uv = UV.format(database=database[0], cache=tmp_path / "cache", uv=shutil.which("uv"))
        tools = {"uv": uv, "docker": DOCKER, "kubectl": KUBECTL, **dict.fromkeys(("apt_get", "pip", "pipx"), "")}
        if shutil.which("promtool") is None:
            del tools["apt_get"]
        return Runner(folder, tmp_path / "state", dict(KNOWN[platform]), **tools)

    return make


Clone = Callable[[str], Path]
Make = Callable[[Path, str], Runner]


def run(runner: Runner, job: Job) -> Ended:
    ended = runner.run(job)
    assert ended.code == 0, ended.printed[-8000:]
    return ended


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["github", pytest.param("gitlab", marks=pytest.mark.soak)])  # the same again
def test_a_pilot_passes_its_checks(platform: str, clone: Clone, runner: Make) -> None:
    """Documents, contract, alert rules, format, lint, types, imports and tests; and they leave nothing to commit."""
    folder = clone(platform)
    jobs = READERS[platform](folder)
    ended = run(runner(folder, platform), jobs["checks"])
    assert re.search(r"contract\.yaml(: there is no earlier version| is compatible with version)", ended.printed)
    assert re.search(r"alerts\.yml\n +SUCCESS: \d+ rules found", ended.printed)
    assert re.search(r"\d+ passed", ended.printed)
    assert execute(folder, "git", "status", "--porcelain").replace("?? .cache/", "").strip() == ""


# `uv run groundwork` without an installation: the code of the folder runs in the environment of the tests.
IN_PLACE = f"""
import os
assert arguments[:2] == ["run", "groundwork"], arguments
os.environ["PYTHONPATH"] = "src"
os.environ["PATH"] += ":{Path(PYTHON).parent}"
os.execv("{PYTHON}", ["{PYTHON}", "-m", "groundwork.cli.main", *arguments[2:]])
"""


@both
def test_a_change_is_verified_from_where_it_starts(platform: str, projects: dict[str, Path], tmp_path: Path) -> None:
    """What was merged is not verified again."""
    [line] = verification(platform, projects[platform])
    runner = Runner(projects[platform], tmp_path / "state", dict(KNOWN[platform]), uv="")
    for base, calls in (("", []), ("abc", [["run", "groundwork", "doctor", "--since", "abc"]])):
        variable = {"github": "BASE", "gitlab": "CI_MERGE_REQUEST_DIFF_BASE_SHA"}[platform]
        run(runner, Job([Block(line, {variable: base})], {}))
        assert runner.asked("uv") == calls


def verification(platform: str, project: Path) -> list[str]:
    return [line for line in READERS[platform](project)["checks"].commands if line == "ops/delivery.sh template"]


@pytest.mark.slow
def test_an_update_passes_if_it_is_the_templates_and_fails_if_anything_else_is_in_it(
    template: Path, tmp_path: Path
) -> None:
    project = tmp_path / "pilot"
    first = f"v{releases()[-1]['version']}"
    copier.run_copy(str(template), project, vcs_ref=first, defaults=True, quiet=True)
    commit(project)
    base = execute(project, "git", "rev-parse", "HEAD").strip()
    update(project)
    append_to(project / "src/use_case/model.py", "# ours\n")
    commit(project)

    [line] = verification("github", project)
    job = Job([Block(line, {"BASE": base})], {})
    runner = Runner(project, tmp_path / "state", {}, uv=IN_PLACE)
    printed = run(runner, job).printed
    assert re.search(r"\d+ files of the template are exactly those of v1000\.0\.0", printed)
    assert "read these changes: src/use_case/model.py\n" in printed

    append_to(project / "src/groundwork/core/git.py", "import os\n")
    commit(project)
    ended = runner.run(job)
    assert ended.code == 1
    assert "1 of the template's files are not as v1000.0.0" in ended.printed
    assert "+import os\n" in ended.printed

    edit = Job([Block(line, {"BASE": execute(project, "git", "rev-parse", "HEAD~1").strip()})], {})
    assert "+import os\n" in run(runner, edit).printed  # no update: the team may, and is told


def append_to(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


@pytest.mark.slow
@both
def test_a_vulnerable_package_stops_the_change(
    platform: str, clone: Clone, runner: Make, database: tuple[str, set[str]]
) -> None:
    folder = clone(platform)
    scan = READERS[platform](folder)["scan"]
    runs = runner(folder, platform)
    assert "no known vulnerabilities" in run(runs, scan).printed
    database[1].add("jinja2")
    try:
        ended = runs.run(scan)
        assert ended.code == 1
        assert "GHSA-test: It leaks." in ended.printed
        with (folder / "pyproject.toml").open("a") as settings:
            settings.write('\n[tool.uv.audit]\nignore = ["GHSA-test"]\n')  # as the guide says
        run(runs, scan)
    finally:
        database[1].clear()


@pytest.mark.slow
@both
def test_a_merge_reaches_production_by_the_digests_that_staging_runs(platform: str, clone: Clone, runner: Make) -> None:
    folder = clone(platform)
    jobs, runs = READERS[platform](folder), runner(folder, platform)
    released = execute(folder, "git", "rev-parse", "HEAD").strip()

    ended = run(runs, jobs["images"])
    bill = json.loads((folder / "sbom/pipeline.cdx.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    assert {"fastapi", "mlflow"} <= {component["name"] for component in bill["components"]}
    built = [call[call.index("--tag") + 1] for call in runs.asked("docker") if call[0] == "build"]
    assert built == [f"{IMAGES[platform]}/{name}:{released}" for name in ("service", "pipeline")]
    assert [call[-1] for call in runs.asked("docker") if call[0] == "push"] == built
    digests = {"SERVICE_DIGEST": SERVICE, "PIPELINE_DIGEST": PIPELINE}
    handed_on = dict(zip(ended.outputs, digests.values(), strict=True))  # GitHub's job gives them other names
    assert ended.outputs == handed_on
    known = {f"needs.images.outputs.{name}": value for name, value in handed_on.items()}
    runs.known |= known if platform == "github" else digests

    run(runs, jobs["staging"])
    assert applied(runs) == (IMAGES[platform], SERVICE, PIPELINE)
    namespace = ["--namespace", "late-flights-staging"]
    calls = [call for call in runs.asked("kubectl") if call[0] != "kustomize"]
    assert calls == [
        ["delete", "job", "migrate", *namespace, "--ignore-not-found"],
        ["apply", "--kustomize", "ops/kubernetes/overlays/staging"],
        ["rollout", "status", "deployment/service", *namespace, "--timeout", "35m"],
        ["rollout", "status", "deployment/worker", *namespace, "--timeout", "5m"],
    ]
    assert (runs.state / "kubeconfig").read_text() == "the cluster\n"

    ended = runs.run(jobs["readiness"])
    assert ended.code == 3  # the criteria were never sealed
    assert "Criteria not locked yet" in (folder / "readiness/scorecard.md").read_text()
    execute(folder, str(folder / ".venv/bin/groundwork"), "charter", "lock", "--by", "ada")
    commit(folder)
    ended = run(runs, jobs["readiness"])  # not ready to scale, which keeps no release back
    assert "Not ready to scale" in (folder / "readiness/scorecard.md").read_text()
    assert (folder / "readiness/scorecard.xml").exists()
    if platform == "github":
        assert "Not ready to scale" in ended.summary

    run(runs, jobs["production"])
    assert applied(runs) == (IMAGES[platform], SERVICE, PIPELINE)
    assert "late-flights-production" in runs.asked("kubectl")[-1]


def applied(runs: Runner) -> tuple[str, str, str]:
    """The registry, and the digests of service and pipeline, that kubectl was given last."""
    images = {each["name"]: each for each in yaml.safe_load((runs.state / "applied.yaml").read_text())["images"]}
    registries = {images[name]["newName"].removesuffix(f"/{name}") for name in ("service", "pipeline")}
    return registries.pop(), images["service"]["digest"], images["pipeline"]["digest"]


@pytest.mark.slow
@both
def test_a_rollback_runs_the_images_and_manifests_of_an_earlier_commit(
    platform: str, clone: Clone, runner: Make
) -> None:
    folder = clone(platform)
    job, runs = READERS[platform](folder)["rollback"], runner(folder, platform)
    earlier = execute(folder, "git", "rev-parse", "HEAD").strip()
    overlay = folder / "ops/kubernetes/overlays/production/kustomization.yaml"
    before = overlay.read_text()
    overlay.write_text(f"{before}# changed\n")
    commit(folder)
    for wanted, words in (("main", "not a full commit hash"), ("0" * 40, "not in the history")):
        chosen(runs, platform, wanted)
        ended = runs.run(job)
        assert ended.code == 1
        assert words in ended.printed
    assert not runs.asked("kubectl")
    chosen(runs, platform, earlier)
    run(runs, job)
    assert [call[-1] for call in runs.asked("docker") if call[0] == "buildx"] == [
        f"{IMAGES[platform]}/{name}:{earlier}" for name in ("service", "pipeline")
    ]
    assert applied(runs) == (IMAGES[platform], SERVICE, PIPELINE)
    assert overlay.read_text() == before


def chosen(runs: Runner, platform: str, wanted: str) -> None:
    """What somebody types who starts the rollback."""
    runs.known |= (
        {"inputs.commit": wanted, "inputs.environment": "production"} if platform == "github" else {"ROLLBACK": wanted}
    )


@pytest.mark.slow
def test_nothing_is_deployed_without_both_digests(clone: Clone, runner: Make) -> None:
    folder = clone("github")
    runs = runner(folder, "github")
    runs.known |= {"needs.images.outputs.service": SERVICE, "needs.images.outputs.pipeline": ""}
    ended = runs.run(github(folder)["staging"])
    assert (ended.code, runs.asked("kubectl")) == (1, [])
    assert '"" is not the digest of an image' in ended.printed


# ---- the tools of a job ----------------------------------------------------------------------------------------------


@pytest.mark.soak
@both
def test_uv_is_installed_as_a_job_does_it(platform: str, projects: dict[str, Path], tmp_path: Path) -> None:
    lines = {line for job in READERS[platform](projects[platform]).values() for line in job.lines if "uv==" in line}
    [line] = lines
    execute(tmp_path, "uv", "venv", "--quiet", "--seed", "venv")
    folder = tmp_path / "venv/bin"
    environment = ("env", f"PATH={folder}:/usr/bin:/bin", f"PIPX_HOME={tmp_path}/pipx", f"PIPX_BIN_DIR={folder}")
    if line.startswith("pipx"):
        execute(tmp_path, *environment, "pip", "install", "--quiet", "pipx")
    execute(tmp_path, *environment, *line.split())
    assert execute(tmp_path, *environment, "uv", "--version").split()[1] == line.partition("==")[2]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("apt-get") is None, reason="promtool comes out of a package of Debian or Ubuntu")
def test_promtool_comes_out_of_its_package_where_it_is_not_installed(tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE / "ops", tmp_path / "ops")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "apt-get", "dpkg", "dpkg-deb", "tar", "rm", "mktemp", "dirname", "id", "sudo", "env"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    said = execute(tmp_path, "env", f"PATH={tools}", "ops/delivery.sh", "alerts")
    assert re.search(r"SUCCESS: \d+ rules found", said)
