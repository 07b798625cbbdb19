"""Updates that come by themselves: the weekly job of both platforms, and the check that stops what it left in conflict.

Where it is not said otherwise, `groundwork update` is a stand-in that makes the branch that a test plans.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from forge import TOKEN, Forge, serving
from pipelines import Ended, Runner, github, gitlab
from support import commit, execute, release

READERS = {"github": github, "gitlab": gitlab}
NAME = "ada/late-flights"
BRANCH = "groundwork-update"

both = pytest.mark.parametrize("platform", READERS)

UV = """
import os, pathlib, subprocess, tempfile
state = pathlib.Path(sys.argv[0]).parents[1]
git = lambda *words: subprocess.run(["git", *words], check=True)
if arguments[:3] == ["run", "groundwork", "update"]:
    plan = json.loads((state / "plan").read_text())
    told = {"branch": None}
    if plan["version"]:
        told = {"branch": "groundwork-update-" + plan["version"], "title": "Update to " + plan["version"]}
        told["text"] = "What owners must know in " + plan["version"] + "\\n"
        tree = tempfile.mkdtemp()
        folder = subprocess.check_output(["git", "rev-parse", "--show-prefix"], text=True).strip()
        git("worktree", "add", "--quiet", "--detach", tree)
        (pathlib.Path(tree) / folder / plan["path"]).write_text(plan["content"])
        git("-C", tree, "commit", "--quiet", "--all", "--message", "Update")
        git("-C", tree, "branch", told["branch"])
    print(json.dumps(told, indent=2))
    sys.exit(plan["code"])
if arguments[0] == "lock":
    pathlib.Path("uv.lock").write_text("locked")
    sys.exit(json.loads((state / "plan").read_text())["lock"])
"""
# Pull requests as GitHub keeps them, in a file.
GH = """
import os, pathlib
assert os.environ["GH_TOKEN"] == "secret" and os.environ["GH_REPO"] == "ada/late-flights"
file = pathlib.Path(sys.argv[0]).parents[1] / "pulls"
pulls = json.loads(file.read_text()) if file.exists() else []
given = lambda word: arguments[arguments.index(word) + 1]
if arguments[:2] == ["pr", "list"]:
    print(*(number for number, pull in enumerate(pulls) if pull["head"] == given("--head")))
elif arguments[:2] == ["pr", "create"]:
    pull = {"title": given("--title"), "text": pathlib.Path(given("--body-file")).read_text(), "head": given("--head")}
    pulls.append(pull | {"base": given("--base"), "draft": "--draft" in arguments})
elif arguments[:2] == ["pr", "ready"]:
    pulls[int(arguments[2])]["draft"] = "--undo" in arguments
elif arguments[0] == "api":
    path, _, number = next(each for each in arguments if "/" in each).rpartition("/")
    assert (path, given("--method")) == ("repos/{owner}/{repo}/pulls", "PATCH")
    fields = dict(each.split("=", 1) for each in (given("--raw-field"), given("--field")))
    pulls[int(number)] |= {"title": fields["title"], "text": pathlib.Path(fields["body"].removeprefix("@")).read_text()}
file.write_text(json.dumps(pulls))
"""


@pytest.fixture(scope="module")
def projects(render: Callable[..., Path]) -> dict[str, Path]:
    return {platform: render("late-flights", ci=platform) for platform in READERS}


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    (tmp_path / "forge").mkdir()
    with serving(tmp_path / "forge") as server:
        yield server


class Pilot:
    """A pilot's repository on a forge, and the job that updates it, run in a fresh clone as a runner does."""

    def __init__(self, platform: str, source: Path, forge: Forge, folder: Path, **tools: str) -> None:
        self.platform, self.forge, self.folder = platform, forge, folder
        forge.publish(NAME, source)
        forge.closed = True
        known = {
            "github": {
                "GITHUB_SERVER_URL": forge.address,
                "GITHUB_REPOSITORY": NAME,
                "GITHUB_REF_NAME": "master",
                "secrets.UPDATE_TOKEN": TOKEN,
            },
            "gitlab": {
                "GITLAB_CI": "true",
                "CI_SERVER_URL": forge.address,
                "CI_API_V4_URL": f"{forge.address}/api/v4",
                "CI_PROJECT_PATH": NAME,
                "CI_PROJECT_ID": NAME.replace("/", "%2F"),
                "CI_DEFAULT_BRANCH": "master",
                "CI_REGISTRY_IMAGE": "registry.example.com/late-flights",
                "CI_PROJECT_DIR": str(folder / "clone"),
                "UPDATE_TOKEN": TOKEN,
            },
        }[platform]
        self.home = folder / "clone"
        tools = {"uv": UV, "gh": GH, "pip": "", "pipx": ""} | tools
        self.runner = Runner(self.home, folder / "state", known, **tools)

    def plan(self, version: str, content: str = "# new\n", **other: Any) -> None:
        """What the stand-ins do: `groundwork update` writes a file and ends with a code, and so does `uv lock`."""
        planned = {"version": version, "content": content, "path": "ruff.toml", "code": 0, "lock": 0} | other
        (self.folder / "state/plan").write_text(json.dumps(planned))

    def update(self) -> Ended:
        shutil.rmtree(self.home, ignore_errors=True)
        execute(self.folder, "git", "clone", "--quiet", str(self.forge.folder / f"{NAME}.git"), str(self.home))
        if self.platform == "gitlab":  # checks out a commit
            execute(self.home, "git", "checkout", "--quiet", "--detach")
        ended = self.runner.run(READERS[self.platform](self.home)["update"])
        assert TOKEN not in ended.printed
        return ended

    def requests(self) -> list[dict[str, Any]]:
        """The pull or merge requests: title, text, whether it is a draft, and its branches."""
        if self.platform == "github":
            pulls = self.runner.state / "pulls"
            return list(json.loads(pulls.read_text())) if pulls.exists() else []
        return [
            {
                "title": each["title"].removeprefix("Draft: "),
                "text": each["description"],
                "head": each["source_branch"],
                "base": each["target_branch"],
                "draft": each["title"].startswith("Draft: "),
            }
            for each in self.forge.requests.get(NAME, [])
        ]

    def on_branch(self, path: str, branch: str = BRANCH) -> str:
        return self.forge.git(NAME, "show", f"{branch}:{path}")


@pytest.fixture
def pilot_of(projects: dict[str, Path], forge: Forge, tmp_path: Path) -> Callable[[str], Pilot]:
    def make(platform: str) -> Pilot:
        source = tmp_path / "source"
        shutil.copytree(projects[platform], source)
        commit(source)
        return Pilot(platform, source, forge, tmp_path)

    return make


Make = Callable[[str], Pilot]


@both
def test_a_newer_version_is_proposed_locked_and_in_one_request_that_follows_the_newest(
    platform: str, pilot_of: Make
) -> None:
    pilot = pilot_of(platform)
    for version in ("0.2.0", "0.3.0"):
        pilot.plan(version, f"# {version}\n")
        ended = pilot.update()
        assert ended.code == 0, ended.printed
        text = f"What owners must know in {version}\n"
        assert pilot.requests() == [
            {"title": f"Update to {version}", "text": text, "head": BRANCH, "base": "master", "draft": False}
        ]
        assert text.strip() in (ended.summary if platform == "github" else ended.printed)
        assert pilot.on_branch("ruff.toml") == f"# {version}\n"
        assert pilot.on_branch("uv.lock") == "locked"
        assert pilot.forge.git(NAME, "rev-list", "--count", f"master..{BRANCH}").strip() == "1"


@both
def test_a_conflict_or_a_lost_edit_fails_and_is_a_draft_until_it_is_gone(platform: str, pilot_of: Make) -> None:
    pilot = pilot_of(platform)
    for code, lock in ((1, 0), (0, 0), (0, 1)):  # then they are gone; then the packages do not go together
        pilot.plan("0.2.0", f"# {code} {lock}\n", code=code, lock=lock)
        ended = pilot.update()
        stopped = bool(code or lock)
        assert (ended.code, [each["draft"] for each in pilot.requests()]) == (int(stopped), [stopped]), ended.printed


@both
def test_an_update_that_is_proposed_already_is_not_pushed_again(platform: str, pilot_of: Make) -> None:
    """A push would run all checks again."""
    pilot = pilot_of(platform)
    pilot.plan("0.2.0")
    before = [pilot.update(), pilot.forge.git(NAME, "rev-parse", BRANCH)][1]
    assert pilot.update().code == 0
    assert pilot.forge.git(NAME, "rev-parse", BRANCH) == before


@both
def test_what_somebody_has_resolved_on_the_branch_is_not_overwritten(platform: str, pilot_of: Make) -> None:
    pilot = pilot_of(platform)
    pilot.plan("0.2.0", code=1)
    assert pilot.update().code == 1
    execute(pilot.home, "git", "fetch", "--quiet", "origin")
    execute(pilot.home, "git", "switch", "--quiet", BRANCH)
    (pilot.home / "ruff.toml").write_text("# resolved\n")
    commit(pilot.home)
    execute(pilot.home, "git", "push", "--quiet")
    pilot.plan("0.3.0")
    ended = pilot.update()
    assert (ended.code, pilot.on_branch("ruff.toml")) == (0, "# resolved\n")
    assert "Somebody has committed to the branch" in ended.printed


@both
def test_nothing_is_proposed_where_there_is_nothing_new(platform: str, pilot_of: Make) -> None:
    pilot = pilot_of(platform)
    pilot.plan("")
    assert pilot.update().code == 0
    assert pilot.requests() == []
    assert pilot.forge.git(NAME, "branch", "--format=%(refname:short)") == "master\n"


@both
def test_a_job_without_a_token_says_what_to_set(platform: str, pilot_of: Make) -> None:
    pilot = pilot_of(platform)
    pilot.runner.known["secrets.UPDATE_TOKEN" if platform == "github" else "UPDATE_TOKEN"] = ""
    ended = pilot.update()
    assert ended.code == 1
    assert "Set UPDATE_TOKEN" in ended.printed


def test_in_a_larger_repository_the_copies_of_the_workflows_are_brought_up_to_date_too(
    projects: dict[str, Path], forge: Forge, tmp_path: Path
) -> None:
    home = tmp_path / "source/pilots/late-flights"
    shutil.copytree(projects["github"], home)
    commit(tmp_path / "source")
    execute(home, "ops/delivery.sh", "monorepo")
    commit(tmp_path / "source")
    pilot = Pilot("github", tmp_path / "source", forge, tmp_path)
    checks = (home / ".github/workflows/checks.yml").read_text()
    pilot.plan("0.2.0", f"{checks}# the next release's\n", path=".github/workflows/checks.yml")
    ended = pilot.update()
    assert ended.code == 0, ended.printed
    [request] = pilot.requests()
    branch = f"{BRANCH}-late-flights"
    assert (request["title"], request["head"]) == ("Update to 0.2.0 in pilots/late-flights", branch)
    copied = pilot.on_branch(".github/workflows/late-flights-checks.yml", branch)
    assert copied.endswith("# the next release's\n")
    assert pilot.on_branch("pilots/late-flights/uv.lock", branch) == "locked"


@pytest.mark.parametrize(
    "rest",
    [
        ("docs/notes.md", "<<<<<<< before updating\nours\n=======\ntheirs\n>>>>>>> after updating\n"),
        ("docs/notes.md", "theirs\n>>>>>>>\n"),
        ("ruff.toml.rej", "@@ -1 +1 @@\n"),
    ],
)
@both
def test_a_file_that_was_left_in_conflict_stops_the_change(
    platform: str, rest: tuple[str, str], projects: dict[str, Path], tmp_path: Path
) -> None:
    home = tmp_path / "pilot"
    shutil.copytree(projects[platform], home)
    commit(home)
    name, text = rest
    [check, *_] = READERS[platform](home)["checks"].commands
    assert check == "ops/delivery.sh conflicts"
    execute(home, *check.split())
    (home / name).write_text(text)
    commit(home)
    with pytest.raises(AssertionError, match=re.escape(name)):
        execute(home, *check.split())


@pytest.mark.soak
@pytest.mark.parametrize(
    ("platform", "edited"),
    [("github", "ruff.toml"), pytest.param("gitlab", "README.md", marks=pytest.mark.night)],  # the same again
)
def test_the_real_update_is_proposed(
    platform: str, edited: str, pilot: Path, projects: dict[str, Path], forge: Forge, tmp_path: Path
) -> None:
    """Of a pilot with an edit in a file of the template's, which conflicts, and of one with an edit where it may be."""
    released, source = tmp_path / "template", tmp_path / "source"
    template = yaml.safe_load((pilot / ".copier-answers.yml").read_text())["_src_path"]
    execute(tmp_path, "git", "clone", "--quiet", template, str(released))
    ruff = released / "template/ruff.toml"
    ruff.write_text(f"# the next release's\n{ruff.read_text()}")
    release(released, "v1001.0.0")
    execute(tmp_path, "git", "clone", "--quiet", str(pilot), str(source))
    answers = source / ".copier-answers.yml"
    address = forge.publish("platform/groundwork", released)
    answers.write_text(re.sub("^_src_path: .*$", f"_src_path: {address}", answers.read_text(), flags=re.MULTILINE))
    if platform == "gitlab":
        answers.write_text(answers.read_text().replace("ci: github", "ci: gitlab"))
        shutil.rmtree(source / ".github")
        shutil.copy(projects[platform] / ".gitlab-ci.yml", source)
    own = source / edited
    own.write_text(f"# ours\n{own.read_text()}" if edited == "ruff.toml" else f"{own.read_text()}ours\n")
    commit(source)
    uv = f'import os; os.environ.pop("UV_CACHE_DIR", ""); os.execv("{shutil.which("uv")}", ["uv", *arguments])'
    late_flights = Pilot(platform, source, forge, tmp_path, uv=uv)
    ended = late_flights.update()
    conflict = edited == "ruff.toml"
    assert ended.code == int(conflict), ended.printed
    [request] = late_flights.requests()
    assert request["draft"] == conflict
    assert re.fullmatch(r"Update Groundwork from .* to 1001\.0\.0", request["title"])
    assert "Not ready to merge" in request["text"] or not conflict
    assert late_flights.on_branch("ruff.toml").startswith("<<<<<<< " if conflict else "# the next release's\n")
