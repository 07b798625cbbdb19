"""The gate's judgement of a version against the rule and the champion, on the same rows."""

import contextlib
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from groundwork.core.errors import FeatureMismatch, UntrustedBundle
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import Performance
from groundwork.models.evaluation.footprint import measure_footprint
from groundwork.models.evaluation.performance import decided, decided_by_rule, metric_of, performance, targets_of
from groundwork.models.gate.judge import judge
from groundwork.models.gate.verdict import Check, Verdict
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.training.history import Examples, History


@dataclass(frozen=True)
class Judgement:
    """The gate's verdict on a version, and what it was compared with."""

    champion_number: str  # empty if there is none
    verdict: Verdict
    candidate: Performance
    rule: Performance
    champion: Performance | None

    @property
    def gain_per_1000(self) -> float:
        return self.candidate.value_per_1000 - self.rule.value_per_1000

    def evidence(self, pilot: Pilot, history: History) -> dict[str, Any]:
        return self.verdict.as_dict() | {
            "judged_against": self.champion_number,
            "window": str(history.newest),
            "snapshot_version": history.snapshot_version,
            "rows": len(history.evaluation),
            "confidence": pilot.charter.gate.confidence,
            "candidate": asdict(self.candidate),
            "rule": asdict(self.rule),
            "champion": asdict(self.champion) if self.champion else None,
            "gain_per_1000": self.gain_per_1000,
        }


def judge_version(pilot: Pilot, registry: Registry, version: Version, evaluation: Examples) -> Judgement:
    """Judge what would be served: the bundle, not the pipeline in memory."""
    champion, rival = registry.champion(), None
    rule = decided_by_rule(pilot, evaluation)
    wanted = "those of contract.yaml, by which the service checks requests"
    try:
        predictor = registry.predictor(version)
    except FeatureMismatch as error:
        misfit = Verdict([Check("features", wanted, str(error), False)])
        nothing = Performance(float("nan"), float("nan"))
        return Judgement(
            champion.number if champion else "", misfit, nothing, performance(pilot, rule, evaluation), None
        )
    candidate = decided(pilot, predictor.scores(evaluation.columns), evaluation)
    if champion and champion.number != version.number:
        # Made for an earlier contract, or signed by a key that is trusted no more, it could not serve.
        with contextlib.suppress(FeatureMismatch, UntrustedBundle):
            rival = decided(pilot, registry.predictor(champion).scores(evaluation.columns), evaluation)
    verdict = judge(
        pilot.charter.gate,
        metric_of(pilot),
        targets_of(pilot, evaluation),
        candidate,
        rule,
        rival,
        evaluation.slices,
        measure_footprint(predictor, Path(registry.pull(version).folder), evaluation),
    )
    return Judgement(
        champion.number if champion else "",
        replace(verdict, checks=[Check("features", wanted, "the same", True), *verdict.checks]),
        performance(pilot, candidate, evaluation),
        performance(pilot, rule, evaluation),
        performance(pilot, rival, evaluation) if rival else None,
    )
