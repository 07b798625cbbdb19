"""Reproduces a version: trains it again from the same data and code, and compares the predictions."""

import json
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import mlflow
import numpy as np

from groundwork.core.errors import NotEnoughData
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.performance import decide_like
from groundwork.models.packaging.pack import pack
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.serving.predictor import Predictor
from groundwork.models.training.fit import fit
from groundwork.models.training.history import examples
from groundwork.models.training.lineage import PACKAGES, environment, lineage, sha256_of
from groundwork.store.database import Store
from groundwork.store.findings import Finding, keep


@dataclass(frozen=True)
class Reproduced:
    """The result; `unknown` means that the version could not be trained again, for the reason given."""

    version: str
    status: Literal["equal", "different", "unknown"]
    reason: str


def reproduce(pilot: Pilot, number: str) -> Reproduced:
    """Train version `number` again without registering it, store the result as a finding, and return it."""
    began = time.monotonic()
    found = _again(pilot, number)
    passed = {"equal": True, "different": False, "unknown": None}[found.status]
    finding = Finding("infra-reproducible", passed, f"version {number}: {found.reason}")
    with Store(pilot.settings.store) as store:
        keep(pilot, store, f"groundwork reproduce {number}", [finding], began)
    return found


def _again(pilot: Pilot, number: str) -> Reproduced:
    registry = Registry(pilot)
    version = registry.version(number)
    if version is None:
        return Reproduced(number, "unknown", f"{registry.name} has no version {number}")
    if "predictions_sha256" not in version.tags:
        return Reproduced(number, "unknown", "the version was trained before predictions had a digest")
    if differing := _differing(pilot, version):
        return Reproduced(number, "unknown", f"{'; '.join(differing)}. {_how_to_get_there(pilot, version)}")
    start, end, newest = (
        datetime.fromisoformat(version.tags[name]) for name in ("train_start", "train_end", "evaluation_end")
    )
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    snapshot = int(version.tags["snapshot_version"])
    try:
        training, evaluation = (
            examples(snapshots.read(*window, version=snapshot), pilot.contract.dataset)
            for window in ((start, end), (end, newest))
        )
        if not len(training):
            raise NotEnoughData("it holds no rows of the training window")
    except Exception as error:  # Delta Lake raises different errors for a deleted version
        summary = " ".join(str(error).split())[:200]
        return Reproduced(number, "unknown", f"version {snapshot} of the snapshots cannot be read: {summary}")
    proving = evaluation if len(evaluation) else training
    model, _ = fit(training, pilot.contract.dataset, json.loads(version.tags["parameters"]))
    dataset = pilot.contract.dataset
    windows = {"the newest window": evaluation.frame, "the training window": training.frame}
    with tempfile.TemporaryDirectory() as folder:
        bundle = pack(model, windows, decide_like(pilot, proving), Path(folder), dataset)
        scores = Predictor(Path(folder), bundle.sha256, bundle.features, dataset.task).scores(proving.columns)
    if sha256_of(scores.tobytes()) == version.tags["predictions_sha256"]:
        return Reproduced(number, "equal", f"{len(proving):,} predictions are identical, bit by bit")
    before = registry.predictor(version).scores(proving.columns)
    return Reproduced(
        number,
        "different",
        f"{int((scores != before).sum()):,} of {len(proving):,} predictions differ, by at most "
        f"{float(np.abs(scores - before).max()):.1e}",
    )


def _differing(pilot: Pilot, version: Version) -> list[str]:
    """Return the inputs that differ from those of the version, in words."""
    now = lineage(pilot, int(version.tags["snapshot_version"]))
    named = {
        "snapshot_table": "the table of the snapshots",
        "contract_sha256": "contract.yaml",
        "charter_sha256": "charter.yaml",
        "use_case_sha256": "src/use_case",
        "groundwork_sha256": "src/groundwork",
    }
    differing = [f"{what} differs" for name, what in named.items() if version.tags.get(name) != now[name]]
    installed = environment()
    if sha256_of("\n".join(installed).encode()) != version.tags["packages_sha256"]:
        try:
            then = set(mlflow.artifacts.load_text(f"runs:/{version.run_id}/{PACKAGES}").splitlines())
            changed = sorted(then - set(installed)) or sorted(set(installed) - then)
            differing.append(f"other packages are installed: the version was trained with {', '.join(changed[:5])}")
        except Exception:
            differing.append("other packages are installed")
    return differing


def _how_to_get_there(pilot: Pilot, version: Version) -> str:
    commit = version.tags["git_commit"]
    if commit == "none" or commit.endswith("-dirty"):
        return "The version was trained from uncommitted files, which git cannot check out"
    return (
        f"To restore them: git worktree add ../version-{version.number} {commit} && cd ../version-{version.number} && "
        f"uv sync --frozen && GROUNDWORK_DATA={pilot.settings.data_folder} uv run groundwork reproduce {version.number}"
    )
