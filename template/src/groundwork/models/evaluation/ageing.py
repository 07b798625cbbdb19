"""Measures how the gain falls with a model's age: fits it on past windows, evaluates it on each later one."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import mlflow
import numpy as np
from numpy.typing import NDArray

from groundwork.core.progress import track
from groundwork.core.windows import Window, window_of, windows
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import Decisions, Estimate, gain
from groundwork.models.evaluation.performance import decided, decided_by_rule
from groundwork.models.registry.version import Version
from groundwork.models.serving.predictor import pipeline_scores
from groundwork.models.training.fit import fit, unfitted
from groundwork.models.training.history import Examples, examples, not_among
from groundwork.models.training.lineage import lineage


def rows_of(pilot: Pilot, version: Version) -> tuple[Examples, Examples]:
    """Return the version's training rows and evaluation rows, read from the snapshot it was trained on."""
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
    """Return why the version's model cannot be fitted again; empty if it can be."""
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
    return "the model was trained elsewhere" if isinstance(unfitted(), str) else ""


def parameters_of(version: Version) -> dict[str, object]:
    """Return the parameters that the version's model was fitted with."""
    parameters: dict[str, object] = json.loads(version.tags["parameters"])
    return parameters


MAX_FITS = 5  # models that the back-test fits
RETRAIN_AFTER, OLDEST_SEEN = "retrain_after_windows", "oldest_windows_seen"  # tags of the version's MLflow run
NOT_YET = "not yet"  # instead of an age: the gain never became too low in the data


@dataclass(frozen=True)
class Aged:
    """The gain of models of one age: the number of windows between the end of training and the decided window."""

    windows: int
    models: int
    gain_per_1000: Estimate  # over the no-model rule, in money per 1,000 decisions


@dataclass(frozen=True)
class Ageing:
    """The gain by age. `retrain_after` is the first age with too low a gain, in windows; None if there is none."""

    ages: list[Aged]
    retrain_after: int | None


@dataclass(frozen=True)
class Age:
    """A version's age in windows since the end of its training, and the back-test's results for such ages."""

    version: str
    windows: int
    retrain_after: str | None  # a number of windows, or NOT_YET; None before the version was evaluated
    oldest_seen: int  # the highest age in the back-test

    @property
    def is_due(self) -> bool | None:
        """Whether the version is old enough to retrain; None if that is unknown."""
        if self.retrain_after is None:
            return None
        if self.retrain_after != NOT_YET:
            return self.windows >= int(self.retrain_after)
        return None if self.windows > self.oldest_seen else False

    def __str__(self) -> str:
        said = f"version {self.version} is {self.windows} windows old"
        if self.retrain_after is None:
            return f"{said}; the effect of age is unknown: run `groundwork evaluate`"
        if self.is_due is None:
            return f"{said}; the gain is high enough up to {self.oldest_seen} windows, and unknown beyond"
        return f"{said}; retrain at {self.retrain_after} windows"


def age(pilot: Pilot, version: Version, window: Window) -> Age:
    """Return the version's age when it decides the window, with the back-test's results from its MLflow run."""
    learned_until, step = datetime.fromisoformat(version.tags["train_end"]), pilot.charter.monitoring.window
    gone_by = len(list(windows(learned_until, window_of(window.start, step).start, step)))
    found = mlflow.get_run(version.run_id).data.tags
    return Age(version.number, gone_by, found.get(RETRAIN_AFTER), int(found.get(OLDEST_SEEN, -1)))


def back_test(pilot: Pilot, version: Version) -> Ageing:
    """Return the gain over the no-model rule by age, and the age at which it falls below the charter's line.

    Models are fitted on at most MAX_FITS lengths of the past, and each is evaluated on every later window.
    """
    dataset, snapshot = pilot.contract.dataset, int(version.tags["snapshot_version"])
    snapshots = Snapshots(pilot.snapshots, dataset)
    start, end = (datetime.fromisoformat(version.tags[name]) for name in ("train_start", "evaluation_end"))
    steps = [
        examples(snapshots.read(*window, version=snapshot), dataset)
        for window in windows(start, end, pilot.charter.monitoring.window)
    ]
    parameters = parameters_of(version)
    apart: dict[int, list[tuple[Decisions, Decisions]]] = {}
    cuts = range(1, len(steps))
    fits = sorted({cuts[each] for each in np.linspace(0, len(cuts) - 1, min(MAX_FITS, len(cuts))).astype(int)})
    for cut in track("ages", fits):
        training = _joined(steps[:cut])
        if not_among(training.outcomes, dataset.task):
            continue
        model, _ = fit(training, dataset, parameters)
        for age, later in enumerate(steps[cut:]):
            if len(later):
                scores = pipeline_scores(model, later.frame, dataset.task).astype(np.float32)
                apart.setdefault(age, []).append((decided(pilot, scores, later), decided_by_rule(pilot, later)))
    gate = pilot.charter.gate
    ages = [
        Aged(
            age,
            len(pairs),
            gain(
                _all(made for made, _ in pairs),
                _all(rule for _, rule in pairs),
                gate.confidence,
            ),
        )
        for age, pairs in sorted(apart.items())
    ]
    fallen = [each.windows for each in ages if not each.gain_per_1000.lower >= gate.min_gain_over_rule]
    return Ageing(ages, fallen[0] if fallen else None)


def _all(parts: Iterable[Decisions]) -> Decisions:
    """Return the decisions of several windows as one."""
    values, days = zip(*((part.values, part.days) for part in parts), strict=True)
    return Decisions(np.concatenate(values), days=np.concatenate(days))


def _joined(parts: list[Examples]) -> Examples:
    columns: dict[str, NDArray] = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    return Examples(columns=columns, outcomes=np.concatenate([part.outcomes for part in parts]))


def describe_age(ageing: Ageing | None) -> str:
    """Return the result of the back-test in words."""
    if ageing is None or not ageing.ages:
        return "age: unknown, there are too few windows for a back-test"
    if ageing.retrain_after is None:
        return f"age: the gain is high enough for {ageing.ages[-1].windows + 1} windows, the longest time in the data"
    if ageing.retrain_after == 0:
        return "age: the gain is too low from the first window on"
    return f"age: retrain after {ageing.retrain_after} windows, when the gain becomes too low"
