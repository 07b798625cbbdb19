"""The gate: the checks that a candidate must pass on the newest window to be promoted. It blocks by default."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundwork.documents.charter import Gate
from groundwork.models.evaluation.estimates import Decisions, Estimate, Metric, gain, metric_estimate, scores_of
from groundwork.models.evaluation.performance import Footprint

Status = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True)
class Slice:
    """The metric on the rows with one value of a column that has the tag `slice`."""

    column: str
    value: str
    rows: int
    metric: float
    champion_metric: float | None
    status: Status


@dataclass(frozen=True)
class Check:
    """One condition: the requirement and the finding."""

    name: str
    wanted: str
    seen: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The input of the gate; all parts hold the same rows in the same order."""

    metric: Metric  # of the charter
    outcomes: NDArray  # targets as the metric takes them, one per row
    candidate: Decisions
    rule: Decisions
    champion: Decisions | None
    slices: Mapping[str, NDArray]  # one array of values per column with the tag `slice`
    footprint: Footprint  # of the candidate


@dataclass(frozen=True)
class Verdict:
    """The result of all checks, with the evidence."""

    checks: list[Check]
    slices: list[Slice] = field(default_factory=list)
    estimates: dict[str, Estimate] = field(default_factory=dict)
    footprint: Footprint | None = None

    @property
    def passed(self) -> bool:
        """Whether there are checks and all of them passed."""
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """The failed checks in words, one line each."""
        return [f"{c.name}: required {c.wanted}, found {c.seen}" for c in self.checks if not c.passed]

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain dictionaries and lists."""
        return {"passed": self.passed} | asdict(self)


def judge(gate: Gate, compared: Comparison) -> Verdict:
    """Compare the candidate with the charter's limits, the no-model rule and the champion, and return the verdict.

    A figure that is NaN fails its check.
    """
    metric, outcomes, footprint = compared.metric, compared.outcomes, compared.footprint
    candidate, champion = compared.candidate, compared.champion
    over_rule = gain(candidate, compared.rule, gate.confidence)
    own = metric_estimate(metric, outcomes, candidate, None, gate.confidence)
    checks = [
        Check(
            "rows with a known outcome",
            f"at least {gate.min_rows:,}",
            f"{len(outcomes):,}",
            len(outcomes) >= gate.min_rows,
        ),
        _metric_reaches(gate, gate.metric, own, gate.line),
        _gain_reaches(gate, "the no-model rule", over_rule, gate.min_gain_over_rule),
    ]
    estimates = {"metric": own, "gain_over_rule": over_rule}
    if champion:
        over_champion = gain(candidate, champion, gate.confidence)
        difference = metric_estimate(metric, outcomes, candidate, champion, gate.confidence)
        estimates |= {"gain_over_champion": over_champion, "metric_over_champion": difference}
        checks += [
            _gain_reaches(gate, "the champion", over_champion, gate.min_gain_over_champion),
            _metric_reaches(
                gate,
                f"{gate.metric} minus the champion's",
                difference,
                gate.max_metric_loss if gate.lower_is_better else -gate.max_metric_loss,
            ),
        ]
    by_column = {column: _slices(gate, compared, column) for column in compared.slices}
    checks += [_sliced(gate, column, slices) for column, slices in by_column.items()]
    checks += [
        _within("CPU time for one row", footprint.latency_ms, gate.max_latency_ms, "ms"),
        _within("size of the bundle", footprint.size_mb, gate.max_size_mb, "MB"),
    ]
    return Verdict(checks, [each for slices in by_column.values() for each in slices], estimates, footprint)


def _gain_reaches(gate: Gate, rival: str, seen: Estimate, line: float) -> Check:
    name, bound = f"gain per 1,000 decisions over {rival}", seen.lower
    return Check(name, f"at least {line:,.0f}", _told(gate, seen, f"at least {bound:,.0f}", ",.0f"), bound >= line)


def _metric_reaches(gate: Gate, name: str, seen: Estimate, line: float) -> Check:
    side, bound = ("at most", seen.upper) if gate.lower_is_better else ("at least", seen.lower)
    reached = bound <= line if gate.lower_is_better else bound >= line
    return Check(name, f"{side} {line:,.4f}", _told(gate, seen, f"{side} {bound:,.4f}", ",.4f"), reached)


def _told(gate: Gate, seen: Estimate, bound: str, form: str) -> str:
    """Return the figure with its bound, in words."""
    if math.isnan(seen.lower):
        return f"{seen.value:{form}}, with too few days or rows for a confidence bound"
    return f"{seen.value:{form}}, at {gate.confidence:.0%} confidence {bound}"


def _within(name: str, seen: float, limit: float, unit: str) -> Check:
    found = f"{seen:,.0f}" if seen >= 1000 else f"{seen:.3g}"
    return Check(name, f"at most {limit:,.15g} {unit}", f"{found} {unit}", seen <= limit)


def _slices(gate: Gate, compared: Comparison, column: str) -> list[Slice]:
    values, champion = compared.slices[column], compared.champion
    found = []
    for value in np.unique(values):
        rows = values == value
        count, outcomes = int(rows.sum()), compared.outcomes[rows]
        own = compared.metric(outcomes, scores_of(compared.candidate)[rows])
        others = compared.metric(outcomes, scores_of(champion)[rows]) if champion else None
        status: Status = "passed"
        if count < gate.slice_min_rows or math.isnan(own):
            status = "unknown"
        elif not gate.reaches(own, gate.line_in_a_slice) or (
            others is not None and not gate.reaches(own, others, gate.loss_in_a_slice)
        ):
            status = "failed"
        found.append(
            Slice(column=column, value=str(value), rows=count, metric=own, champion_metric=others, status=status)
        )
    return found


def _sliced(gate: Gate, column: str, slices: list[Slice]) -> Check:
    """Check that no slice failed and at least one passed; unknown slices alone do not pass."""
    named = {
        status: [
            f"{each.value} {each.metric:,.4f}"
            + ("" if each.champion_metric is None else f" (champion {each.champion_metric:,.4f})")
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
        f"{'at most' if gate.lower_is_better else 'at least'} {gate.line_in_a_slice:,.15g}, and at most "
        f"{gate.loss_in_a_slice:,.15g} worse than the champion's, "
        f"in slices of at least {gate.slice_min_rows:,} rows",
        "; ".join(parts) or "no rows",
        bool(named["passed"]) and not named["failed"],
    )
