"""The preset for Renovate, by the real Renovate: pilots of the first release, on a forge that has a newer template."""

import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import copier
import pytest

from forge import TOKEN, Forge, serving
from support import PYTHON, ROOT, commit, execute, release, releases, tool

pytestmark = [pytest.mark.soak, pytest.mark.night]

RENOVATE, NODE = "44.121.2", "24.22.3"  # this Renovate wants Node 24, which npm has for each system
NEXT = "v9.0.0"  # Renovate takes 1,000 as the next major version of nothing
BRANCH = "renovate/groundwork"


@pytest.fixture(scope="module")
def renovate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder of commands, with a Node of its own."""
    npm = tool("npm", lacking="Renovate is installed by npm, and there is none")
    folder = tmp_path_factory.mktemp("renovate")
    machine = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    node = f"node-{sys.platform}-{machine}"
    quick = ("--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
    execute(folder, npm, "install", *quick, f"renovate@{RENOVATE}", f"{node}@{NODE}")
    commands = folder / "node_modules/.bin"
    (commands / "node").unlink(missing_ok=True)
    (commands / "node").symlink_to(folder / "node_modules" / node / "bin/node")
    return commands


@pytest.fixture(scope="module")
def forge(template: Path, renovate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    """A forge on which Renovate has run once, for two pilots with the preset: `kept`, within the rule, and `edited`."""
    folder = tmp_path_factory.mktemp("forge")
    source = folder / "template"
    execute(folder, "git", "clone", "--quiet", str(template), str(source))
    execute(source, "git", "tag", "--delete", execute(source, "git", "describe", "--tags").strip())
    ruff = source / "template/ruff.toml"
    ruff.write_text(f"# the next release's\n{ruff.read_text()}")
    release(source, NEXT)
    with serving(folder) as server:
        url = server.publish("platform/groundwork", source)
        for name in ("kept", "edited"):
            pilot = folder / name
            first = f"v{releases()[-1]['version']}"
            copier.run_copy(url, pilot, data={"ci": "gitlab"}, vcs_ref=first, defaults=True, quiet=True, unsafe=False)
            (pilot / "renovate.json").write_text(json.dumps({"extends": ["local>platform/groundwork"]}))
            own = pilot / ("README.md" if name == "kept" else "ruff.toml")
            own.write_text(f"{own.read_text()}ours\n" if name == "kept" else f"# ours\n{own.read_text()}")
            commit(pilot)
            server.publish(f"team/{name}", pilot)
        settings = {
            "RENOVATE_PLATFORM": "gitlab",
            "RENOVATE_ENDPOINT": f"{server.address}/api/v4/",
            "RENOVATE_TOKEN": TOKEN,
            "RENOVATE_BASE_DIR": str(folder / "renovate"),
            "RENOVATE_ONBOARDING": "false",  # the pilots have their renovate.json
            "RENOVATE_GIT_AUTHOR": "Bot <bot@example.com>",
            "RENOVATE_ALLOW_SCRIPTS": "true",
            "PATH": f"{renovate}:{Path(PYTHON).parent}:{os.environ['PATH']}",
        }
        words = [f"{name}={value}" for name, value in settings.items()]
        execute(folder, "env", *words, "renovate", "team/kept", "team/edited")
        yield server


def request(forge: Forge, name: str) -> dict[str, Any]:
    [only] = forge.requests[f"team/{name}"]
    return only


def statuses(forge: Forge, name: str) -> dict[str, str]:
    """Of the branch: the state of each check that Renovate has reported."""
    sha = forge.git(f"team/{name}", "rev-parse", BRANCH).strip()
    return {each["context"]: each["state"] for each in forge.statuses.get((f"team/{name}", sha), [])}


def test_the_preset_is_valid(renovate: Path) -> None:
    said = execute(
        ROOT, "env", f"PATH={renovate}:{os.environ['PATH']}", "renovate-config-validator", "--strict", "default.json"
    )
    assert "Config validated successfully" in said


def test_one_request_brings_the_newest_version_and_nothing_else_is_proposed(forge: Forge, tmp_path: Path) -> None:
    """Neither for the images of compose.yaml nor for the packages of the tested set, which the template brings."""
    only = request(forge, "kept")
    assert (only["title"], only["source_branch"]) == ("Update Groundwork to v9", BRANCH)
    branches = forge.git("team/kept", "branch", "--format=%(refname:short)").split()
    assert branches == ["master", BRANCH]
    assert statuses(forge, "kept").get("renovate/artifacts", "success") == "success"
    here = tmp_path / "kept"
    execute(tmp_path, "git", "clone", "--quiet", str(forge.folder / "team/kept.git"), str(here))
    copier.run_update(here, defaults=True, overwrite=True, quiet=True, unsafe=True)  # as somebody would by hand
    execute(here, "git", "add", "--all")
    assert execute(here, "git", "diff", "--cached", "--stat", f"origin/{BRANCH}") == ""


def test_a_conflict_is_red_twice(forge: Forge, tmp_path: Path) -> None:
    """By Renovate's own status, and by the pilot's checks on the branch, for those whose Renovate is older."""
    assert statuses(forge, "edited")["renovate/artifacts"] == "failed"
    here = tmp_path / "edited"
    execute(tmp_path, "git", "clone", "--quiet", "--branch", BRANCH, str(forge.folder / "team/edited.git"), str(here))
    with pytest.raises(AssertionError, match=r"ruff\.toml:1:<<<<<<< before updating"):
        execute(here, "ops/delivery.sh", "conflicts")
