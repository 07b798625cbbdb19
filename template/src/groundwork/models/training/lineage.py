"""What a version was made from: data, documents, code and packages."""

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path

import groundwork
from groundwork.core.files import digest_of
from groundwork.core.git import git
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from use_case import model as use_case_model

PACKAGES = "packages.txt"


def lineage(pilot: Pilot, snapshot_version: int) -> dict[str, str]:
    """What a version was made from. `lineage` is the digest of all that decides what comes out."""
    use_case = Path(use_case_model.__file__).parent
    made_from = {
        "snapshot_table": str(Snapshots(pilot.snapshots, pilot.contract.dataset).table_id),
        "snapshot_version": str(snapshot_version),
        "contract_sha256": digest_of(pilot.settings.home / "contract.yaml"),
        "charter_sha256": digest_of(pilot.settings.home / "charter.yaml"),
        "use_case_sha256": digest_of(*sorted(use_case.glob("*.py"))),
    }
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    # An update of the template alone makes no new version; to reproduce one, its code must be the same all the same.
    system = Path(groundwork.__file__).parent
    return made_from | {
        "lineage": digest,
        "groundwork_sha256": digest_of(*sorted(system.rglob("*.py"))),
        "git_commit": _git_commit(pilot),
    }


def environment() -> list[str]:
    """What is installed, Python first, as name==version."""
    installed = {f"{each.name.lower()}=={each.version}" for each in importlib.metadata.distributions()}
    return [f"python=={platform.python_version()}", *sorted(installed)]


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _git_commit(pilot: Pilot) -> str:
    """The commit, marked where files differ from it; outside of git what the pilot say, or `none`."""
    said = git(pilot.settings.home, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return said or pilot.settings.git_commit or "none"
