"""Fit the model of a version anew: its rows, its parameters, and whether that is possible."""

import json
from datetime import datetime

from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Version
from groundwork.models.training.history import Examples, examples
from groundwork.models.training.lineage import lineage
from use_case import model as use_case_model


def rows_of(pilot: Pilot, version: Version) -> tuple[Examples, Examples]:
    dataset, snapshot = pilot.contract.dataset, int(version.tags["snapshot_version"])
    snapshots = Snapshots(pilot.snapshots, dataset)
    start, end, newest = (
        datetime.fromisoformat(version.tags[name]) for name in ("train_start", "train_end", "evaluation_end")
    )
    return (
        examples(snapshots.read(start, end, snapshot), dataset),
        examples(snapshots.read(end, newest, snapshot), dataset),
    )


def obstacle_to_refitting(pilot: Pilot, version: Version) -> str:
    """What speaks against fitting the version's model anew; empty if nothing does."""
    now = lineage(pilot, int(version.tags["snapshot_version"]))
    changed = [
        what
        for name, what in (
            ("snapshot_table", "the table of the snapshots"),
            ("use_case_sha256", "src/use_case"),
            ("contract_sha256", "contract.yaml"),
        )
        if version.tags.get(name, now[name]) != now[name]
    ]
    if changed:
        return f"{' and '.join(changed)} changed since the version was trained"
    return "it was trained elsewhere" if isinstance(use_case_model.build(), str) else ""


def parameters_of(version: Version) -> dict[str, object]:
    parameters: dict[str, object] = json.loads(version.tags["parameters"])
    return parameters
