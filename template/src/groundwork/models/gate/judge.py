"""The gate: what a candidate has to show on the newest window before it is promoted. It blocks by default."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundwork.documents.charter import Gate
from groundwork.models.evaluation.estimates import Decided, Estimate, Metric, _scores, gain, metric_estimate
from groundwork.models.evaluation.performance import Footprint

Status = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True)
class Slice:
    """The rows with one value of a column that has the tag `slice`."""

    column: str
    value: str
    rows: int
    metric: float
    champion_metric: float | None
    status: Status


@dataclass(frozen=True)
class Check:
    """One condition: what was wanted, what was seen."""

    name: str
    wanted: str
    seen: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome of all checks, with its evidence."""

    checks: list[Check]
    slices: list[Slice] = field(default_factory=list)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    footprint: Footprint | None = None

    @property
    def passed(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What spoke against the candidate."""
        return [f"{c.name}: wanted {c.wanted}, seen {c.seen}" for c in self.checks if not c.passed]

    def as_dict(self) -> dict[str, Any]:
        return {"passed": self.passed} | asdict(self)


def judge(
    gate: Gate,
    metric: Metric,
    outcomes: NDArray,
    candidate: Decided,
    rule: Decided,
    champion: Decided | None,
    slices: Mapping[str, NDArray],
    footprint: Footprint,
) -> Verdict:
    """Compare the candidate with the charter's lines, the no-model rule and the champion, all on the same rows.

    `slices` holds one array of values per column with the tag `slice`. A figure that is not a number fails its check.
    """
    over_rule = gain(candidate, rule, gate.confidence)
    own = metric_estimate(metric, outcomes, candidate, None, gate.confidence)
    checks = [
        Check(
            "rows with a known outcome",
            f"at least {gate.min_rows:,}",
            f"{len(outcomes):,}",
            len(outcomes) >= gate.min_rows,
        ),
        _reaches(gate.metric, own, gate.line, ".4f", gate, gate.lower_is_better),
        _reaches("gain per 1,000 decisions over the no-model rule", over_rule, gate.min_gain_over_rule, ",.0f", gate),
    ]
    estimates = {"metric": own, "gain_over_rule": over_rule}
    if champion:
        over_champion = gain(candidate, champion, gate.confidence)
        difference = metric_estimate(metric, outcomes, candidate, champion, gate.confidence)
        estimates |= {"gain_over_champion": over_champion, "metric_over_champion": difference}
        checks += [
            _reaches(
                "gain per 1,000 decisions over the champion", over_champion, gate.min_gain_over_champion, ",.0f", gate
            ),
            _reaches(
                f"{gate.metric} more than the champion's",
                difference,
                gate.max_metric_loss if gate.lower_is_better else -gate.max_metric_loss,
                ".4f",
                gate,
                gate.lower_is_better,
            ),
        ]
    cut = [
        each
        for column, values in slices.items()
        for each in _slices(gate, metric, outcomes, candidate, champion, column, values)
    ]
    checks += [_sliced(gate, column, [each for each in cut if each.column == column]) for column in slices]
    checks += [
        _within("CPU time for one row", footprint.latency_ms, gate.max_latency_ms, "ms"),
        _within("size of the bundle", footprint.size_mb, gate.max_size_mb, "MB"),
    ]
    return Verdict(checks, cut, estimates, footprint)


def _reaches(name: str, estimate: Estimate, line: float, form: str, gate: Gate, lower_is_better: bool = False) -> Check:
    side, bound = ("at most", estimate.upper) if lower_is_better else ("at least", estimate.lower)
    if math.isnan(bound):
        seen = f"{estimate.value:{form}}, and too few days or rows to tell what of it is chance"
    else:
        seen = f"{estimate.value:{form}}, at {gate.confidence:.0%} confidence {side} {bound:{form}}"
    return Check(name, f"{side} {line:{form}}", seen, bound <= line if lower_is_better else bound >= line)


def _within(name: str, seen: float, limit: float, unit: str) -> Check:
    return Check(name, f"at most {limit:g} {unit}", f"{seen:.3g} {unit}", seen <= limit)


def _slices(
    gate: Gate,
    metric: Metric,
    outcomes: NDArray,
    candidate: Decided,
    champion: Decided | None,
    column: str,
    values: NDArray,
) -> list[Slice]:
    found = []
    for value in np.unique(values):
        rows = values == value
        count = int(rows.sum())
        own = metric(outcomes[rows], _scores(candidate)[rows])
        others = metric(outcomes[rows], _scores(champion)[rows]) if champion else None
        status: Status = "passed"
        if count < gate.slice_min_rows or math.isnan(own):
            status = "unknown"
        elif not gate.reaches(own, gate.line_in_a_slice) or (
            others is not None and not gate.reaches(own, others, gate.loss_in_a_slice)
        ):
            status = "failed"
        found.append(Slice(column, str(value), count, own, others, status))
    return found


def _sliced(gate: Gate, column: str, slices: list[Slice]) -> Check:
    """Every value that is known must pass, and one must be known, or the check would have looked at nothing."""
    named = {
        status: [
            f"{each.value} {each.metric:.4f}"
            + ("" if each.champion_metric is None else f" (champion {each.champion_metric:.4f})")
            for each in slices
            if each.status == status
        ]
        for status in ("passed", "failed", "unknown")
    }
    parts = [", ".join(named["failed"])] if named["failed"] else []
    parts += [f"{len(named['passed'])} passed"] if named["passed"] else []
    unknown = [each.value for each in slices if each.status == "unknown"]
    parts += (
        [f"{len(unknown)} unknown ({', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''})"] if unknown else []
    )
    return Check(
        f"{gate.metric} in each slice of {column}",
        f"{'at most' if gate.lower_is_better else 'at least'} {gate.line_in_a_slice:g}, and at most "
        f"{gate.loss_in_a_slice:g} worse than the champion's, "
        f"where there are {gate.slice_min_rows:,} rows",
        "; ".join(parts) or "no rows",
        bool(named["passed"]) and not named["failed"],
    )
