"""compose.yaml without an engine."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import execute

TEMPLATE = Path(__file__).parents[2] / "template"
TEXT = (TEMPLATE / "compose.yaml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
LOCKED = {name: service for name, service in SERVICES.items() if name != "archive"}
RUNNING = {name: service for name, service in LOCKED.items() if name != "migrate"}
every_locked = pytest.mark.parametrize("name", LOCKED)


def test_compose_accepts_it() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"]
    done = subprocess.run(command, cwd=TEMPLATE, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout


@every_locked
def test_a_container_has_no_right_that_it_does_not_need(name: str) -> None:
    service = LOCKED[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["pids_limit"]
    assert service["mem_limit"]
    assert service["restart"]
    assert set(service["profiles"]) <= {"serve", "watch", "all"}


def test_the_archive_reads_what_all_others_write_and_has_no_network() -> None:
    archive = SERVICES["archive"]
    assert archive["network_mode"] == "none"
    assert archive["profiles"] == ["archive"]
    assert archive["cap_drop"] == ["ALL"]
    assert sorted(volume.partition(":")[0] for volume in archive["volumes"]) == sorted(COMPOSE["volumes"])


def test_each_running_container_says_whether_it_is_well() -> None:
    assert len(RUNNING) == 9
    assert [name for name, service in RUNNING.items() if not service["healthcheck"]["test"]] == []


def test_a_container_needs_only_what_its_profiles_bring() -> None:
    for service in SERVICES.values():
        for needed in service.get("depends_on", {}):
            assert set(service["profiles"]) <= set(SERVICES[needed]["profiles"])


def test_an_image_that_is_built_is_built_in_each_profile_that_runs_it() -> None:
    builders = {service["image"]: set(service["profiles"]) for service in SERVICES.values() if "build" in service}
    assert len(builders) == 2
    for service in SERVICES.values():
        if service["image"] in builders:
            assert set(service["profiles"]) <= builders[service["image"]]


def test_ports_are_published_on_this_machine_alone_and_never_those_of_a_store() -> None:
    for name, service in SERVICES.items():
        ports = service.get("ports", [])
        assert all(port.startswith("127.0.0.1:") for port in ports), name
        assert not ports or "front" in service["networks"], name
        if name in ("postgres", "objects", "migrate"):
            assert (ports, service["networks"]) == ([], ["back"])
    assert {name for name, network in COMPOSE["networks"].items() if network.get("internal")} == {"back", "watch"}


def test_images_are_named_by_version() -> None:
    built = re.compile(r"\$\{COMPOSE_PROJECT_NAME\}-(service|pipeline):\$\{TAG:-local\}")
    for name, service in SERVICES.items():
        assert re.search(r":v?\d+\.\d+[\d.]*$", service["image"]) or built.fullmatch(service["image"]), name


def test_the_settings_are_those_of_the_example_with_the_same_defaults() -> None:
    example = (TEMPLATE / ".env.example").read_text(encoding="utf-8")
    offered = dict(re.findall(r"^(\w+)=(.*)$", example, re.M))
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert {name: offered[name] for name in used} == used
    assert set(offered) - set(used) == {"COMPOSE_PROFILES", "COMPOSE_PROJECT_NAME"}
    assert "COMPOSE_PROJECT_NAME}" in TEXT
    for name in offered:  # a comment stands above each group of settings
        assert re.search(rf"^# [^\n]+\n(\w+=[^\n]*\n)*{name}=", example, re.M), name


def test_secrets_are_files_that_one_script_makes_and_git_ignores() -> None:
    script = (TEMPLATE / "ops/compose/make_secrets.py").read_text(encoding="utf-8")
    named = set(re.findall(r'(?:keep|write)\("(\w+)"', script)) | {"admin_key", "client_key"}
    named |= {
        f"{name}_password" for name in re.findall(r'"(\w+)"', script.partition("PASSWORDS = ")[2].partition(")")[0])
    }
    files = {Path(secret["file"]).name for name, secret in COMPOSE["secrets"].items() if name != "ca_bundle"}
    assert files == named - {"client_key"}  # which is for the clients alone
    assert "/secrets/" in (TEMPLATE / ".gitignore.jinja").read_text(encoding="utf-8").splitlines()


def test_secrets_are_made_once_and_what_is_lost_is_made_anew_with_what_belongs_to_it(
    render: Callable[..., Path], late_flights: dict[str, Any]
) -> None:
    folder = render("stack", **late_flights)
    make = ("env", f"PYTHONPATH={folder / 'src'}", sys.executable, "ops/compose/make_secrets.py")
    assert "secrets/signing_key" in execute(folder, *make)
    assert execute(folder, *make) == ""
    kept = {file.name: file.read_text(encoding="utf-8") for file in (folder / "secrets").iterdir()}
    for lost in ("client_key", "signing_key"):
        (folder / "secrets" / lost).unlink()
    execute(folder, *make)
    now = {file.name: file.read_text(encoding="utf-8") for file in (folder / "secrets").iterdir()}
    changed = {name for name in kept if kept[name] != now[name]}
    assert changed == {"admin_key", "client_key", "api_keys", "signing_key", "trusted_keys"}
    assert now["trusted_keys"].startswith(kept["trusted_keys"].strip() + ",")  # what the lost key signed stays trusted
