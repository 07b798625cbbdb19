"""What delivery does with images, on a real engine and a real registry; and the tools of a job of GitLab, installed."""

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines import Runner, gitlab
from support import ROOT, commit, execute, free_port

from .conftest import Docker, reachable

pytestmark = [pytest.mark.container, pytest.mark.soak]

CONFIG = """
version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}/blobs}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
# docker itself; a build is told of the certificate of this machine's proxy, if there is one.
DOCKER = """
import os
bundle = os.environ.get("SSL_CERT_FILE", "")
if arguments[0] == "build" and os.path.isfile(bundle):
    arguments[1:1] = ["--secret", "id=ca_bundle,src=" + bundle]
os.execv("{docker}", ["docker", *arguments])
"""
KUBECTL = """
import pathlib, shutil
if arguments[0] == "kustomize":
    print("  namespace: late-flights-staging")
if arguments[0] == "apply":
    shutil.copy(arguments[-1] + "/images/kustomization.yaml", pathlib.Path(sys.argv[0]).parents[1] / "applied.yaml")
"""


@pytest.fixture
def registry(docker: Docker, tmp_path: Path) -> Iterator[str]:
    """The address of a registry of Debian's, empty."""
    execute(tmp_path, "apt-get", "-qq", "download", "docker-registry")
    [package] = tmp_path.glob("*.deb")
    execute(tmp_path, "dpkg", "-x", str(package), "unpacked")
    port = free_port()
    (tmp_path / "config.yml").write_text(CONFIG.format(folder=tmp_path, port=port))
    command: list[str | Path] = [tmp_path / "unpacked/usr/bin/docker-registry", "serve", tmp_path / "config.yml"]
    with (tmp_path / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            while not reachable(f"http://127.0.0.1:{port}/v2/"):
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.1)
            yield f"127.0.0.1:{port}"
        finally:
            server.terminate()


def components(bill: Path) -> set[str]:
    """The packages that a CycloneDX file lists, without their versions."""
    return {each["purl"].partition("@")[0] for each in json.loads(bill.read_text())["components"] if "purl" in each}


def applied(runner: Runner) -> dict[str, str]:
    images = yaml.safe_load((runner.state / "applied.yaml").read_text())["images"]
    return {each["name"]: f"{each['newName']}@{each['digest']}" for each in images}


def test_what_was_built_is_deployed_and_found_again_by_its_digest(
    docker: Docker, registry: str, pilot: Path, tmp_path: Path
) -> None:
    """As GitLab's jobs do it; GitHub's run the same commands, and differ in the registry."""
    folder = tmp_path / "clone"
    execute(tmp_path, "git", "clone", "--quiet", str(pilot), str(folder))
    shutil.copy(ROOT / "template/{% if ci_gitlab %}.gitlab-ci.yml{% endif %}", folder / ".gitlab-ci.yml")
    commit(folder)
    released = execute(folder, "git", "rev-parse", "HEAD").strip()
    jobs = gitlab(folder)
    settings = tmp_path / "settings"  # of the docker command, which keeps the password there
    if configured := docker.environment.get("DOCKER_CONFIG"):
        shutil.copytree(configured, settings, symlinks=True)
    engine = {"DOCKER_HOST": docker.environment.get("DOCKER_HOST", ""), "DOCKER_CONFIG": str(settings)}
    for job in jobs.values():  # the engine of the tests, in the place of GitLab's service, and uv's own cache
        for name in [*engine, "DOCKER_TLS_CERTDIR", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "UV_CACHE_DIR"]:
            job.blocks[0].environment.pop(name, None)
        job.blocks[0].environment.update({name: value for name, value in engine.items() if value})
    known = {
        "CI_REGISTRY": registry,
        "CI_REGISTRY_IMAGE": f"{registry}/Ada/Late-Flights",
        "CI_REGISTRY_USER": "ada",
        "CI_REGISTRY_PASSWORD": "secret",
        "KUBE_CONFIG": "the cluster",
    }
    real = DOCKER.format(docker=shutil.which("docker", path=docker.environment["PATH"]))
    runner = Runner(folder, tmp_path / "state", known, docker=real, kubectl=KUBECTL, apt_get="", pip="")

    ended = runner.run(jobs["images"])
    assert ended.code == 0, ended.printed[-6000:]
    assert set(ended.outputs) == {"SERVICE_DIGEST", "PIPELINE_DIGEST"}
    listed = {name: components(folder / f"sbom/{name}.cdx.json") for name in ("service", "pipeline")}
    assert {"pkg:deb/debian/libc6", "pkg:pypi/fastapi"} <= listed["service"]
    assert "pkg:pypi/mlflow" in listed["pipeline"] - listed["service"]
    runner.known |= ended.outputs
    ended = runner.run(jobs["staging"])
    assert ended.code == 0, ended.printed
    deployed = applied(runner)
    try:
        for name, command in (("service", "import fastapi"), ("pipeline", "import mlflow")):
            assert deployed[name].startswith(f"{registry}/ada/late-flights/{name}@sha256:")
            docker("image", "rm", "--force", deployed[name], f"{registry}/ada/late-flights/{name}:{released}")
            docker("run", "--rm", deployed[name], "python", "-c", command)  # pulled by its digest
        (folder / "README.md").write_text("newer\n")
        commit(folder)
        runner.known |= {"ROLLBACK": released, "SERVICE_DIGEST": "", "PIPELINE_DIGEST": ""}
        (runner.state / "applied.yaml").unlink()
        ended = runner.run(jobs["rollback"])
        assert ended.code == 0, ended.printed
        assert applied(runner) == deployed
    finally:
        docker("image", "rm", "--force", *deployed.values())


def test_the_tools_of_gitlabs_jobs_are_in_debians_packages(docker: Docker) -> None:
    """Of the Debian of the image that the jobs name, of which the stand-in for python:3.12-slim is made too."""
    content = yaml.safe_load((ROOT / "template/{% if ci_gitlab %}.gitlab-ci.yml{% endif %}").read_text())
    assert content["default"]["image"].endswith("-trixie")
    lines = {line for job in content.values() if isinstance(job, dict) for line in job.get("before_script", [])}
    installed = sorted((line for line in lines if "apt-get" in line), key=lambda line: "update" not in line)
    assert len(installed) == 4
    signing = ["cd /tmp", "apt-get -qq download cosign", "dpkg -x ./cosign*.deb .", "usr/bin/cosign version"]
    tools = [
        "docker --version",
        "docker buildx version",
        "kubectl version --client",
        *signing,
    ]  # as ops/delivery.sh does
    script = "\n".join(["set -e", *installed, *tools])
    certificates = os.environ.get("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")
    trusted = "/etc/ssl/certs/ca-certificates.crt"
    shown = docker("run", "--rm", "--volume", f"{certificates}:{trusted}:ro", "python:3.12-slim", "bash", "-c", script)
    assert re.search(r"Docker version (.|\n)*buildx(.|\n)*Client Version: v1\.(.|\n)*GitVersion:", shown)
