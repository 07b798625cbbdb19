"""The lineage of a version: data, documents, code and packages."""

import hashlib
import importlib.metadata
import json
import platform
from pathlib import Path

import groundwork
import use_case
from groundwork.core.files import digest_of
from groundwork.core.git import git
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot

PACKAGES = "packages.txt"


def lineage(pilot: Pilot, snapshot_version: int) -> dict[str, str]:
    """Return the lineage as tags of the version; `lineage` is the digest of data, documents and use case."""
    made_from = {
        "snapshot_table": str(Snapshots(pilot.snapshots, pilot.contract.dataset).table_id),
        "snapshot_version": str(snapshot_version),
        "contract_sha256": digest_of(pilot.settings.home / "contract.yaml"),
        "charter_sha256": digest_of(pilot.settings.home / "charter.yaml"),
        "use_case_sha256": digest_of(*sorted(Path(*use_case.__path__).glob("*.py"))),
    }
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    # Groundwork's own code is not in the digest: a template update alone makes no new version. `reproduce` checks it.
    system = Path(groundwork.__file__).parent
    return made_from | {
        "lineage": digest,
        "groundwork_sha256": digest_of(*sorted(system.rglob("*.py"))),
        "git_commit": _git_commit(pilot),
    }


def environment() -> list[str]:
    """Return the installed packages as name==version, Python first."""
    installed = {f"{each.name.lower()}=={each.version}" for each in importlib.metadata.distributions()}
    return [f"python=={platform.python_version()}", *sorted(installed)]


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 digest in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def _git_commit(pilot: Pilot) -> str:
    """Return the commit, with `-dirty` if files differ from it; without git the setting `git_commit`, or `none`."""
    said = git(pilot.settings.home, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return said or pilot.settings.git_commit or "none"
