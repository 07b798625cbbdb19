"""Evaluates a version: performance, features, calibration and age, written as a model card."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import mlflow

from groundwork.core.errors import GroundworkError
from groundwork.core.quoting import rounded
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import (
    NOT_YET,
    OLDEST_SEEN,
    RETRAIN_AFTER,
    Ageing,
    back_test,
    describe_age,
    obstacle_to_refitting,
    rows_of,
)
from groundwork.models.evaluation.diagnostics import Calibration, Importance, calibration_of, leanings, picture
from groundwork.models.evaluation.estimates import Estimate, Performance, gain
from groundwork.models.evaluation.features import Dropped, describe_features, drop_one_by_one
from groundwork.models.evaluation.model_card import model_card
from groundwork.models.evaluation.performance import Footprint, decided, decided_by_rule, measure_footprint, performance
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.store.database import Store
from groundwork.store.findings import Finding, keep


@dataclass(frozen=True)
class Evaluation:
    """The evaluation of one version. `dropped` and `ageing` are None if it cannot be fitted again, for the `reason`."""

    version: str
    performance: Performance
    rule: Performance
    gain_per_1000: Estimate
    footprint: Footprint
    importance: list[Importance]
    calibration: Calibration | None  # None for a quantity
    dropped: list[Dropped] | None
    ageing: Ageing | None
    reason: str
    page: str

    @property
    def summary(self) -> list[str]:
        """The main results, one line each."""
        lines = [f"calibration error {rounded(self.calibration.error)}"] if self.calibration else []
        if self.dropped is None:
            return [*lines, f"features to drop and age: unknown, {self.reason}"]
        return [*lines, describe_features(self.dropped), describe_age(self.ageing)]


def evaluate(pilot: Pilot, number: str | None = None) -> Evaluation:
    """Evaluate a version, by default the champion, on the window that the gate judged it on.

    Writes `data/reports/model-VERSION.md`, and logs it to the version's MLflow run. Raises GroundworkError if the
    version does not exist or cannot be evaluated, NoChampion if no number is given and no version has been promoted.
    """
    began = time.monotonic()
    registry = Registry(pilot)
    version = registry.version(number) if number else registry.required_champion()
    if version is None:
        raise GroundworkError(f"{registry.name} has no version {number}")
    if "predictions_sha256" not in version.tags:
        raise GroundworkError(f"version {version.number} is too old to be evaluated: train a new version")
    predictor = registry.predictor(version)
    training, evaluation = rows_of(pilot, version)
    if not len(evaluation):
        raise GroundworkError(f"no outcome is known in the evaluation window of version {version.number}")
    made = decided(pilot, predictor.scores(evaluation.columns), evaluation)
    rule = decided_by_rule(pilot, evaluation)
    confidence = pilot.charter.gate.confidence
    reason = obstacle_to_refitting(pilot, version)
    assert made.scores is not None
    found = Evaluation(
        version=version.number,
        performance=performance(pilot, made, evaluation),
        rule=performance(pilot, rule, evaluation),
        gain_per_1000=gain(made, rule, confidence),
        footprint=measure_footprint(predictor, Path(registry.pull(version).folder), evaluation),
        importance=leanings(pilot, predictor, evaluation),
        calibration=calibration_of(pilot, made.scores, evaluation),
        dropped=None if reason else list(drop_one_by_one(pilot, version, training, evaluation)),
        ageing=None if reason else back_test(pilot, version),
        reason=reason,
        page=str(pilot.settings.reports / f"model-{version.number}.md"),
    )
    _keep(pilot, registry, version, found)
    champion = registry.champion()
    if champion and champion.number == version.number:  # the scorecard is about the champion only
        with Store(pilot.settings.store) as store:
            keep(pilot, store, f"groundwork evaluate {version.number}", _findings(found), began)
    return found


def _findings(found: Evaluation) -> list[Finding]:
    """Return the findings about features and age; age needs at least two windows."""
    name = f"version {found.version}"
    if found.dropped is None:
        unknown = f"{name}: {found.reason}"
        return [Finding("data-beneficial", None, unknown), Finding("model-stale", None, unknown)]
    needed = all(each.needed for each in found.dropped)
    lived = found.ageing is not None and len(found.ageing.ages) > 1
    aged = f"{name}, {describe_age(found.ageing)}" if lived else f"{name}: there are too few windows for a back-test"
    sound = found.ageing is not None and found.ageing.retrain_after != 0
    return [
        Finding("data-beneficial", needed, f"{name}: {describe_features(found.dropped)}"),
        Finding("model-stale", sound if lived else None, aged),
    ]


def _keep(pilot: Pilot, registry: Registry, version: Version, found: Evaluation) -> None:
    page = Path(found.page)
    page.parent.mkdir(parents=True, exist_ok=True)
    chart = page.with_suffix(".png")
    if found.calibration:
        chart.write_bytes(picture(found.calibration))
    card = model_card(
        pilot.charter,
        pilot.owners.accountable.model,
        {"number": version.number, "judged": version.judged, "tags": version.tags},
        {
            "found": asdict(found),
            "of_features": None if found.dropped is None else describe_features(found.dropped),
            "of_age": describe_age(found.ageing).removeprefix("age: "),
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
