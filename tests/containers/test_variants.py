"""Every supported combination of answers, really installed and run: its loop, its own checks, its image."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pipelines import Runner, github, gitlab
from support import ROOT, commit, execute, variants

from .conftest import KEYS, Container, Docker, built

pytestmark = [pytest.mark.container, pytest.mark.soak, pytest.mark.night, pytest.mark.timeout(1800)]

BY_HAND = ("uv sync --locked", "uv run groundwork check", "uv run pytest")  # where there is no CI: as the README says
NOTHING = dict.fromkeys(("apt_get", "pip", "pipx"), "")  # what a job would install is there


@pytest.mark.parametrize("variant", variants())
def test_a_variant_installs_runs_checks_itself_and_serves_from_its_image(
    variant: str, render: Callable[..., Path], docker: Docker, tmp_path: Path
) -> None:
    folder = render(variant, **variants()[variant])
    if (ROOT / "examples" / variant).is_dir():
        shutil.copytree(ROOT / "examples" / variant, folder, dirs_exist_ok=True)
    execute(folder, "uv", "sync", "--quiet")
    for verb in ("dictionary", "owners"):
        execute(folder, "uv", "run", "groundwork", verb)
    commit(folder)
    assert "version 1 is now the champion" in execute(folder, "uv", "run", "groundwork", "up", "--once")

    read = github if (folder / ".github").exists() else gitlab if (folder / ".gitlab-ci.yml").exists() else None
    if read:
        known = {"CI_PROJECT_DIR": str(folder), "secrets.GROUNDWORK_SOURCE_URL": ""}
        ended = Runner(folder, tmp_path / "state", known, **NOTHING).run(read(folder)["checks"])
        assert ended.code == 0, ended.printed[-8000:]
    else:
        for command in BY_HAND:
            execute(folder, *command.split())

    title = yaml.safe_load((folder / "charter.yaml").read_text(encoding="utf-8"))["metadata"]["title"]
    with built(docker, folder, f"image of {variant}") as image:
        identifier = docker(
            "run", "--detach", "--publish", "127.0.0.1::8000", "--read-only", "--tmpfs", "/tmp",
            "--volume", "/app/data", "--env", "MLFLOW_TRACKING_URI=http://127.0.0.1:9",
            "--env", f"GROUNDWORK_API_KEYS={KEYS}", "--env", "GROUNDWORK_TRUSTED_KEYS=", image,
        )  # fmt: skip
        try:
            container = Container(docker, identifier)
            container.wait_until_live()
            assert title in container.ask("/openapi.json").body["info"]["title"]
        finally:
            docker("rm", "--force", "--volumes", identifier)
