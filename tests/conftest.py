"""What the tests share: this repository as a released template, projects rendered from it, and one that really runs."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support import RELEASE, ROOT, commit, copy, execute, files, from_file, release, tag_releases, tool

if TYPE_CHECKING:  # most tests need no browser
    from playwright.sync_api import Browser, Page, Route

# No setting of the person who runs the tests may decide how they end.
for name in list(os.environ):
    if name.startswith(
        (
            *("GROUNDWORK_", "MLFLOW_", "PREFECT_", "COPIER_", "GIT_DIR", "GIT_INDEX", "VIRTUAL_ENV", "PYTHONPATH"),
            *("MAKEFLAGS", "MAKELEVEL", "MFLAGS"),  # of the make that runs the tests, for those that they run
            "PYTHONDONTWRITEBYTECODE",  # each command would compile all its libraries anew, for half a minute
        )
    ):
        del os.environ[name]
for role in ("AUTHOR", "COMMITTER"):
    os.environ[f"GIT_{role}_NAME"] = "Ada Lovelace"
    os.environ[f"GIT_{role}_EMAIL"] = "ada@example.com"
if shutil.which("uv") is None:  # the one beside the Python that runs the tests will do
    os.environ["PATH"] += os.pathsep + str(Path(sys.executable).parent)


# The environment of the repository's tests, kept before the system's tests are read: those set up their process for the
# code in place, and leave in it what their session needs.
ENVIRONMENTS = {"repository": dict(os.environ)}

collect_ignore = ["data_sets"]  # what is in there are files of pilots, whose tests run in them

TRAINED = {"pilot", "pilot_copy", "flights", "first_weeks"}  # fixtures that take seconds to make
SYSTEM = ROOT / "tests" / "system"


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs a trained pilot is slow. Quick tests come first, so that their failures are seen early."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        if SYSTEM in item.path.parents:
            if names & TRAINED:
                item.add_marker("slow")
            continue
        if {"pilot", "shell", "docker"} & names:  # made in one process and used there, test after test
            together = item.path.parent if item.path.parent.name == "containers" else item.path
            item.add_marker(pytest.mark.xdist_group(together.stem))
    items.sort(key=lambda item: [item.get_closest_marker(mark) is not None for mark in ("soak", "slow")])


def pytest_collection_finish() -> None:
    """Keep the environment that the system's tests have set, whose turn it is first."""
    ENVIRONMENTS["now"] = ENVIRONMENTS["system"] = {}


@pytest.hookimpl(tryfirst=True)  # before the fixtures
def pytest_runtest_setup(item: pytest.Item) -> None:
    """The tests of the system run the code in place; the others run pilots as a user does."""
    wanted = ENVIRONMENTS["system" if SYSTEM in item.path.parents else "repository"]
    now = ENVIRONMENTS["now"]
    if wanted is now:
        return
    own = {name: value for name, value in os.environ.items() if name.startswith("PYTEST_")}
    now.clear()
    now.update(os.environ)
    os.environ.clear()
    os.environ.update(wanted | own)
    ENVIRONMENTS["now"] = wanted


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """This repository, uncommitted work included, as a release: a copy finds it by its tag, as for everybody."""
    clone = tmp_path_factory.mktemp("released") / "groundwork"
    execute(ROOT, "git", "clone", "--quiet", "--no-checkout", str(ROOT), str(clone))
    for name in files(ROOT):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, clone / name)
    tag_releases(clone)
    (clone / "RELEASE").write_text(RELEASE)  # so that there is always something to commit
    release(clone, RELEASE)
    return clone


@pytest.fixture(scope="session")
def render(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a project with the given answers, and defaults for the others; returns its folder."""

    def run(folder: str = "pilot", **answers: Any) -> Path:
        project = tmp_path_factory.mktemp("rendered") / folder
        copy(template, project, **answers)
        return project

    return run


@pytest.fixture(scope="session")
def late_flights() -> dict[str, Any]:
    """The answers of the demo."""
    return from_file("examples/late-flights.yml")


@pytest.fixture(scope="session")
def pilot(render: Callable[..., Path], late_flights: dict[str, Any]) -> Path:
    """The demo's project, installed and committed, its whole loop run once. Slow, and shared: do not change it.

    `PILOT=FOLDER` takes one that is there already.
    """
    if there := os.environ.get("PILOT"):
        return Path(there).resolve()
    project = render("late-flights", **late_flights)
    execute(project, "uv", "sync")
    execute(project, "uv", "run", "groundwork", "owners")
    commit(project)
    execute(project, "uv", "run", "groundwork", "up", "--once")
    return project


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """The machine's own Chromium: nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    found = tool("chromium", "chromium-browser", "google-chrome", lacking="Chromium is not installed")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: "Browser") -> Iterator[Callable[..., "Page"]]:
    """Opens a page without scripts; whatever it asks of anybody but `allowed` is refused, and fails the test."""
    contexts, refused = [], []

    def open_at(url: str, width: int, allowed: str, **options: Any) -> "Page":
        context = browser.new_context(java_script_enabled=False, viewport={"width": width, "height": 844}, **options)
        contexts.append(context)

        def decide(route: "Route") -> None:
            if route.request.url.startswith(allowed):
                route.continue_()
            else:
                refused.append(route.request.url)
                route.abort()

        context.route("**/*", decide)
        page = context.new_page()
        page.goto(url)
        return page

    yield open_at
    for context in contexts:
        context.close()
    assert refused == []
