"""The running service, met as its users meet it: the clients in the documentation, and its own description."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import ROOT, serving

pytestmark = pytest.mark.slow

SCHEMATHESIS = "schemathesis@4.32.5"
CLIENTS = dict(re.findall(r"```(\w+)\n(.*?)```", (ROOT / "template/docs/clients.md").read_text(encoding="utf-8"), re.S))


@pytest.fixture(scope="module")
def key(pilot: Path) -> tuple[str, str]:
    """A key as `groundwork key` makes it, and its entry for the service."""
    command = [str(pilot / ".venv/bin/groundwork"), "key", "tests", "predict+outcomes+admin"]
    secret, entry = subprocess.run(command, cwd=pilot, text=True, capture_output=True, check=True).stdout.split()
    return secret, entry.removeprefix("GROUNDWORK_API_KEYS=")


@pytest.fixture(scope="module")
def service(pilot: Path, key: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the pilot's service, ready."""
    log = tmp_path_factory.mktemp("service") / "log"
    with serving(pilot, log, GROUNDWORK_API_KEYS=key[1]) as address:
        yield address


@pytest.mark.parametrize("language", ["sh", "python", "js"])
def test_a_client_works_as_it_is_copied(language: str, service: str, key: tuple[str, str], tmp_path: Path) -> None:
    interpreter = shutil.which({"sh": "bash", "python": "python3", "js": "node"}[language])
    if interpreter is None or (language == "sh" and not shutil.which("curl")):
        pytest.skip(f"there is nothing here that runs {language}")
    client = tmp_path / {"sh": "client.sh", "python": "client.py", "js": "client.mjs"}[language]
    client.write_text(CLIENTS[language].replace("http://127.0.0.1:8000", service), encoding="utf-8")

    def run(secret: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"GROUNDWORK_KEY": secret}
        return subprocess.run([interpreter, client], env=environment, text=True, capture_output=True, timeout=60)

    answered, refused = run(key[0]), run("a guess")
    assert answered.returncode == 0, answered.stderr
    assert "replan" in answered.stdout or "keep" in answered.stdout
    assert refused.returncode != 0
    assert "send an API key" in refused.stdout + refused.stderr


def test_it_keeps_what_its_own_description_promises(service: str, key: tuple[str, str], tmp_path: Path) -> None:
    """Requests made from the OpenAPI document, valid and invalid ones, each answered as the document says."""
    options = ["--max-examples", "50", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color"]
    header = f"Authorization: Bearer {key[0]}"
    done = subprocess.run(
        ["uvx", "--quiet", SCHEMATHESIS, "run", f"{service}/openapi.json", "--header", header, *options],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-3000:]
