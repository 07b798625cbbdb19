"""Evaluate: what a version leans on, which features it could do without, and how it ages; written as a model card.

It takes minutes where training takes seconds, because it fits the model many times over.
"""

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import mlflow
import numpy as np
from numpy.typing import NDArray

from groundwork.diagnostics import Calibration, Importance, picture
from groundwork.errors import GroundworkError
from groundwork.gate import SEED, Decided, Estimate, Footprint, Performance, gain
from groundwork.models.evaluation.model_card import model_card
from groundwork.pipeline.train import (
    Examples,
    calibration_of,
    decided,
    decided_by_rule,
    examples,
    fit,
    footprint,
    leanings,
    lineage,
    not_among,
    performance,
)
from groundwork.predictor import pipeline_scores
from groundwork.progress import track
from groundwork.readiness.proofs import Finding, keep
from groundwork.registry import Registry, Version
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Store
from groundwork.windows import Window, window_of, windows
from use_case import model as use_case_model

MAX_FITS = 5  # of the back-test
RETRAIN_AFTER, OLDEST_SEEN = "retrain_after_windows", "oldest_windows_seen"  # tags of the run
NOT_YET = "not yet"  # in place of an age: the gain did not fall as far as the data goes


@dataclass(frozen=True)
class Dropped:
    """What is lost when the model is trained without a feature."""

    feature: str
    value_per_1000: Estimate
    metric: float

    @property
    def needed(self) -> bool:
        """Whether it is more than chance that the decisions make less money without it."""
        return self.value_per_1000.lower > 0


@dataclass(frozen=True)
class Aged:
    """Models whose training ended so many windows before the window that they decide."""

    windows: int
    models: int
    gain_per_1000: Estimate  # over the no-model rule


@dataclass(frozen=True)
class Ageing:
    """How the gain falls with age. `retrain_after` is None where it has not fallen below the line so far."""

    ages: list[Aged]
    retrain_after: int | None


@dataclass(frozen=True)
class Age:
    """How many windows after the end of its training a version decides, and what the back-test found of such ages."""

    version: str
    windows: int
    retrain_after: str | None  # a number of windows, or NOT_YET; None before the version was evaluated
    oldest_seen: int  # the highest age that was judged

    @property
    def is_due(self) -> bool | None:
        """Whether it is to be trained again by now; None where nobody knows."""
        if self.retrain_after is None:
            return None
        if self.retrain_after != NOT_YET:
            return self.windows >= int(self.retrain_after)
        return None if self.windows > self.oldest_seen else False

    def __str__(self) -> str:
        said = f"version {self.version} is {self.windows} windows old"
        if self.retrain_after is None:
            return f"{said}; how it ages is unknown: `groundwork evaluate`"
        if self.is_due is None:
            return f"{said}; up to {self.oldest_seen} the gain stays above the line, and nothing is known beyond"
        return f"{said}, to be trained again at {self.retrain_after}"


@dataclass(frozen=True)
class Evaluation:
    """What was found out about one version. What needs its code is None, with the `reason`, where that has changed."""

    version: str
    performance: Performance
    rule: Performance
    gain_per_1000: Estimate
    footprint: Footprint
    importance: list[Importance]
    calibration: Calibration | None  # of a quantity there is none
    dropped: list[Dropped] | None
    ageing: Ageing | None
    reason: str
    page: str

    @property
    def summary(self) -> list[str]:
        lines = [f"calibration error {self.calibration.error:.3f}"] if self.calibration else []
        if self.dropped is None:
            return [*lines, f"features to drop and age: unknown, {self.reason}"]
        return [*lines, _said_of_features(self.dropped), _said_of_age(self.ageing)]


def evaluate(settings: Settings, number: str | None = None) -> Evaluation:
    """Evaluate a version, by default the champion, on the window it was judged on.

    Writes `data/reports/model-VERSION.md`, and keeps it with the version's run. Raises GroundworkError if there is no
    such version, NoChampion if there is none at all.
    """
    began = time.monotonic()
    registry = Registry(settings)
    version = registry.version(number) if number else registry.required_champion()
    if version is None:
        raise GroundworkError(f"{registry.name} has no version {number}")
    if "predictions_sha256" not in version.tags:
        raise GroundworkError(f"version {version.number} was trained before this could be found out: train another one")
    predictor = registry.predictor(version)
    training, evaluation = _rows(settings, version)
    if not len(evaluation):
        raise GroundworkError(f"no outcome is known in the window that version {version.number} was judged on")
    made = decided(settings, predictor.scores(evaluation.columns), evaluation)
    rule = decided_by_rule(settings, evaluation)
    confidence = settings.charter.gate.confidence
    reason = _why_it_cannot_be_fitted(settings, version)
    assert made.scores is not None
    found = Evaluation(
        version=version.number,
        performance=performance(settings, made, evaluation),
        rule=performance(settings, rule, evaluation),
        gain_per_1000=gain(made, rule, confidence),
        footprint=footprint(predictor, Path(registry.pull(version).folder), evaluation),
        importance=leanings(settings, predictor, evaluation),
        calibration=calibration_of(settings, made.scores, evaluation),
        dropped=None if reason else list(_drop_one(settings, version, training, evaluation)),
        ageing=None if reason else back_test(settings, version),
        reason=reason,
        page=str(settings.reports / f"model-{version.number}.md"),
    )
    _keep(settings, registry, version, found)
    champion = registry.champion()
    if champion and champion.number == version.number:  # what was found of another says nothing of what serves
        with Store(settings.store) as store:
            keep(settings, store, f"groundwork evaluate {version.number}", _findings(found), began)
    return found


def _findings(found: Evaluation) -> list[Finding]:
    """What it shows of the features and of age; one window says nothing of age."""
    name = f"version {found.version}"
    if found.dropped is None:
        unknown = f"{name}: {found.reason}"
        return [Finding("data-beneficial", None, unknown), Finding("model-stale", None, unknown)]
    needed = all(each.needed for each in found.dropped)
    lived = found.ageing is not None and len(found.ageing.ages) > 1
    aged = f"{name}, {_said_of_age(found.ageing)}" if lived else f"{name}: there are too few windows to look back on"
    sound = found.ageing is not None and found.ageing.retrain_after != 0
    return [
        Finding("data-beneficial", needed, f"{name}: {_said_of_features(found.dropped)}"),
        Finding("model-stale", sound if lived else None, aged),
    ]


def age(settings: Settings, version: Version, window: Window) -> Age:
    """How old the version is when it decides the window."""
    learned_until, step = datetime.fromisoformat(version.tags["train_end"]), settings.charter.monitoring.window
    gone_by = len(list(windows(learned_until, window_of(window.start, step).start, step)))
    found = mlflow.get_run(version.run_id).data.tags
    return Age(version.number, gone_by, found.get(RETRAIN_AFTER), int(found.get(OLDEST_SEEN, -1)))


def back_test(settings: Settings, version: Version) -> Ageing:
    """Train on older windows and judge on every later one: at which age does the gain fall below the charter's line?"""
    dataset, snapshot = settings.contract.dataset, int(version.tags["snapshot_version"])
    snapshots = Snapshots(settings.snapshots, dataset)
    start, end = (datetime.fromisoformat(version.tags[name]) for name in ("train_start", "evaluation_end"))
    steps = [
        examples(snapshots.read(*window, version=snapshot), dataset)
        for window in windows(start, end, settings.charter.monitoring.window)
    ]
    parameters = _parameters(version)
    apart: dict[int, list[tuple[Decided, Decided]]] = {}
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
                apart.setdefault(age, []).append((decided(settings, scores, later), decided_by_rule(settings, later)))
    gate = settings.charter.gate
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


def _drop_one(settings: Settings, version: Version, training: Examples, evaluation: Examples) -> Iterator[Dropped]:
    """Train without one feature after the other.

    Its values are shuffled among the rows before the model is fitted, so that they say nothing about any row: a column
    that is missing, or is the same everywhere, is more than many a pipeline can take.
    """
    parameters, dataset = _parameters(version), settings.contract.dataset

    def made(without: str | None) -> Decided:
        def blind(rows: Examples) -> Examples:
            if without is None:
                return rows
            shuffled = np.random.default_rng(SEED).permutation(rows.columns[without])
            return replace(rows, columns=rows.columns | {without: shuffled})

        model, _ = fit(blind(training), dataset, parameters)
        scores = pipeline_scores(model, blind(evaluation).frame, dataset.task).astype(np.float32)
        return decided(settings, scores, evaluation)

    whole = made(None)
    metric = performance(settings, whole, evaluation).metric
    for name in track("features", list(training.columns)):
        without = made(name)
        yield Dropped(
            name,
            gain(whole, without, settings.charter.gate.confidence),
            settings.charter.gate.loss(metric - performance(settings, without, evaluation).metric),
        )


def _rows(settings: Settings, version: Version) -> tuple[Examples, Examples]:
    dataset, snapshot = settings.contract.dataset, int(version.tags["snapshot_version"])
    snapshots = Snapshots(settings.snapshots, dataset)
    start, end, newest = (
        datetime.fromisoformat(version.tags[name]) for name in ("train_start", "train_end", "evaluation_end")
    )
    return (
        examples(snapshots.read(start, end, snapshot), dataset),
        examples(snapshots.read(end, newest, snapshot), dataset),
    )


def _why_it_cannot_be_fitted(settings: Settings, version: Version) -> str:
    """What speaks against fitting the version's model anew; empty if nothing does."""
    now = lineage(settings, int(version.tags["snapshot_version"]))
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


def _parameters(version: Version) -> dict[str, object]:
    parameters: dict[str, object] = json.loads(version.tags["parameters"])
    return parameters


def _all(parts: Iterable[Decided]) -> Decided:
    """Decisions about different windows, together."""
    values, days = zip(*((part.values, part.days) for part in parts), strict=True)
    return Decided(np.concatenate(values), days=np.concatenate(days))


def _joined(parts: list[Examples]) -> Examples:
    columns: dict[str, NDArray] = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns
    }
    return Examples(columns, np.concatenate([part.outcomes for part in parts]))


def _said_of_features(dropped: list[Dropped]) -> str:
    idle = [each.feature for each in dropped if not each.needed]
    return (
        f"leaving out any one of these loses no more than chance: {', '.join(idle)}"
        if idle
        else "every feature is needed"
    )


def _said_of_age(ageing: Ageing | None) -> str:
    if ageing is None or not ageing.ages:
        return "age: unknown, there are too few windows to look back on"
    if ageing.retrain_after is None:
        return f"age: the gain stays high enough for {ageing.ages[-1].windows + 1} windows, as far as the data goes"
    if ageing.retrain_after == 0:
        return "age: the gain is too low from the first window on"
    return f"age: train again after {ageing.retrain_after} windows, when the gain becomes too low"


def _keep(settings: Settings, registry: Registry, version: Version, found: Evaluation) -> None:
    page = Path(found.page)
    page.parent.mkdir(parents=True, exist_ok=True)
    chart = page.with_suffix(".png")
    if found.calibration:
        chart.write_bytes(picture(found.calibration))
    card = model_card(
        settings.charter,
        settings.owners.accountable.model,
        {"number": version.number, "judged": version.judged, "tags": version.tags},
        {
            "found": asdict(found),
            "of_features": None if found.dropped is None else _said_of_features(found.dropped),
            "of_age": _said_of_age(found.ageing).removeprefix("age: "),
            "chart": chart.name,
        },
    )
    page.write_text(card, encoding="utf-8")
    client = mlflow.MlflowClient()
    for file in (page, chart) if found.calibration else (page,):
        client.log_artifact(version.run_id, str(file), "evaluation")
    client.log_dict(version.run_id, asdict(found), "evaluation/evaluation.json")
    if found.ageing and found.ageing.ages:
        after = found.ageing.retrain_after
        client.set_tag(version.run_id, RETRAIN_AFTER, NOT_YET if after is None else str(after))
        client.set_tag(version.run_id, OLDEST_SEEN, str(found.ageing.ages[-1].windows))
