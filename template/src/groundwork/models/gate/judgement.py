"""Judges a version by the gate: against the no-model rule and the champion, on the same rows."""

import contextlib
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from groundwork.core.errors import FeatureMismatch, OutdatedBundle, UntrustedBundle
from groundwork.core.quoting import rounded
from groundwork.documents.charter import Gate
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import Estimate, Performance
from groundwork.models.evaluation.performance import (
    decided,
    decided_by_rule,
    measure_footprint,
    metric_of,
    performance,
    targets_of,
)
from groundwork.models.gate.judge import Check, Comparison, Slice, Verdict, bound_of, judge, reaches
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.training.history import Examples, History
from groundwork.store.findings import Finding


@dataclass(frozen=True)
class Judgement:
    """The gate's verdict on a version, with the performance of all that were compared."""

    champion_number: str  # empty if there is none
    verdict: Verdict
    candidate: Performance
    rule: Performance
    champion: Performance | None

    @property
    def gain_per_1000(self) -> float:
        """The candidate's gain over the no-model rule, in money per 1,000 decisions."""
        return self.candidate.value_per_1000 - self.rule.value_per_1000

    def evidence(self, pilot: Pilot, history: History) -> dict[str, Any]:
        """Return the verdict and its inputs, as they are stored with the version's run."""
        return self.verdict.as_dict() | {
            "judged_against": self.champion_number,
            "window": str(history.judged),
            "window_because": history.judged_because,
            "snapshot_version": history.snapshot_version,
            "rows": len(history.evaluation),
            "confidence": pilot.charter.gate.confidence,
            "candidate": asdict(self.candidate),
            "rule": asdict(self.rule),
            "champion": asdict(self.champion) if self.champion else None,
            "gain_per_1000": self.gain_per_1000,
        }


def judge_version(pilot: Pilot, registry: Registry, version: Version, evaluation: Examples) -> Judgement:
    """Judge the version's serving bundle, not the pipeline in memory.

    Only the features are checked if the bundle's features do not match contract.yaml. Raises BundleError if the bundle
    cannot be loaded.
    """
    champion, rival = registry.champion(), None
    rule = decided_by_rule(pilot, evaluation)
    features = "features match contract.yaml"
    try:
        predictor = registry.predictor(version)
    except FeatureMismatch as error:
        misfit = Verdict([Check(features, "yes", f"no: {error}", False)])
        nothing = Performance(float("nan"), float("nan"))
        return Judgement(
            champion_number=champion.number if champion else "",
            verdict=misfit,
            candidate=nothing,
            rule=performance(pilot, rule, evaluation),
            champion=None,
        )
    candidate = decided(pilot, predictor.scores(evaluation.columns), evaluation)
    if champion and champion.number != version.number:
        # A champion of an earlier contract or an older format, or signed by a key no longer trusted, cannot serve.
        with contextlib.suppress(FeatureMismatch, OutdatedBundle, UntrustedBundle):
            rival = decided(pilot, registry.predictor(champion).scores(evaluation.columns), evaluation)
    verdict = judge(
        pilot.charter.gate,
        Comparison(
            metric=metric_of(pilot),
            outcomes=targets_of(pilot, evaluation),
            candidate=candidate,
            rule=rule,
            champion=rival,
            slices=evaluation.slices,
            footprint=measure_footprint(predictor, Path(registry.pull(version).folder), evaluation),
        ),
    )
    return Judgement(
        champion_number=champion.number if champion else "",
        verdict=replace(verdict, checks=[Check(features, "yes", "yes", True), *verdict.checks]),
        candidate=performance(pilot, candidate, evaluation),
        rule=performance(pilot, rule, evaluation),
        champion=performance(pilot, rival, evaluation) if rival else None,
    )


def gate_findings(pilot: Pilot, served: Version, candidate: Version, judged: Judgement) -> list[Finding]:
    """Return the findings about the version that serves, or about the candidate if none serves.

    Returns no findings if the version that serves could not be loaded.
    """
    gate, slices, own = pilot.charter.gate, judged.verdict.slices, served.number == candidate.number
    performed = judged.candidate if own else judged.champion
    if performed is None:
        return []  # the champion could not be loaded
    name = f"version {served.number}"
    gain = performed.value_per_1000 - judged.rule.value_per_1000
    worth = f"{pilot.charter.value.currency} {gain:,.0f} per 1,000 decisions"
    measured = [(each, each.metric if own else each.champion) for each in slices]
    about_people = [column.name for column in pilot.contract.dataset.slices if column.sensitive]
    trials = int(served.tags.get("trials", "0"))
    tuned = f"{name} has the best of {trials} sets of parameters" if trials else "use_case/model.py has no search()"
    beats = None if math.isnan(gain) else gain > 0 and gain >= gate.min_gain_over_rule
    found = [
        Finding("model-baseline", beats, f"gain of {name} over today's rule: {worth}"),
        _of_slices("model-slices", gate, measured, "no column of contract.yaml has the tag slice"),
        _of_slices(
            "model-inclusion",
            gate,
            [(each, metric) for each, metric in measured if each.column in about_people],
            "no slice is about people: no slice column has a classification",
        ),
        Finding("model-tuned", trials > 1 if trials else None, tuned),
    ]
    costs = judged.verdict.footprint
    if own and costs:
        said = (
            f"with all features, {name} takes {rounded(costs.latency_ms)} ms of CPU time per row (at most "
            f"{gate.max_latency_ms:g} ms allowed) and {rounded(costs.size_mb)} MB (at most {gate.max_size_mb:g} MB "
            "allowed)"
        )
        within = costs.latency_ms <= gate.max_latency_ms and costs.size_mb <= gate.max_size_mb
        found.append(Finding("data-cost", within, said))
    return found


def _of_slices(check: str, gate: Gate, measured: list[tuple[Slice, Estimate | None]], without: str) -> Finding:
    """Return whether all slices with enough rows reach the line; unknown if no slice has enough rows."""
    known = [
        (each, metric)
        for each, metric in measured
        if metric is not None and not math.isnan(metric.lower) and each.rows >= gate.slice_min_rows
    ]
    if not known:
        return Finding(check, None, without if not measured else f"no slice has at least {gate.slice_min_rows:,} rows")
    below = [
        f"{each.column} {each.name} {rounded(metric.value)}, at {gate.confidence:.0%} confidence "
        f"{'at most' if gate.lower_is_better else 'at least'} {rounded(bound_of(gate, metric))}"
        for each, metric in known
        if not reaches(gate, metric, gate.line_in_a_slice)
    ]
    said = f"{len(known)} of {len(measured)} slices have enough rows; "
    return Finding(check, not below, said + (f"failed: {'; '.join(below)}" if below else "all passed"))
