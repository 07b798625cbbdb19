"""The gate: the checks that a candidate must pass on the newest window to be promoted. It blocks by default."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from groundwork.core.quoting import quoted, rounded
from groundwork.documents.charter import Gate
from groundwork.models.evaluation.estimates import Decisions, Estimate, Measured, Metric, gain, measured
from groundwork.models.evaluation.performance import Footprint

Status = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """The metric on the rows with one value of a column that has the tag `slice`, beside the champion's."""

    column: str
    value: str | None  # None: the rows without a value
    rows: int
    metric: Estimate | None = None  # None with too few rows
    champion: Estimate | None = None
    over_champion: Estimate | None = None  # the metric minus the champion's
    status: Status = "unknown"

    @property
    def name(self) -> str:
        """The value, quoted and on one line."""
        return "no value" if self.value is None else quoted(self.value)


@dataclass(frozen=True)
class Check:
    """One condition: the requirement and the finding."""

    name: str
    wanted: str
    seen: str
    passed: bool | None  # None: unknown, because so few days or rows give no confidence bound


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The input of the gate; all parts hold the same rows in the same order."""

    metric: Metric  # of the charter
    outcomes: NDArray  # targets as the metric takes them, one per row
    candidate: Decisions
    rule: Decisions
    champion: Decisions | None
    slices: Mapping[str, NDArray]  # one array of raw values per column with the tag `slice`
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
        """The checks that did not pass in words, one line each."""
        return [f"{c.name}: required {c.wanted}, found {c.seen}" for c in self.checks if not c.passed]

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as plain dictionaries and lists."""
        return {"passed": self.passed} | asdict(self)


def judge(gate: Gate, compared: Comparison) -> Verdict:
    """Compare the candidate with the charter's limits, the no-model rule and the champion, and return the verdict.

    A figure that is NaN fails its check. All rows and each slice are held against their lines by the same rule: the
    bound at the charter's confidence must reach the line. All slices must pass, so their number makes none of them pass
    by chance (an intersection-union test; Berger, 1982, doi:10.1080/00401706.1982.10487790).
    """
    metric, outcomes, footprint = compared.metric, compared.outcomes, compared.footprint
    candidate, champion = compared.candidate, compared.champion
    over_rule = gain(candidate, compared.rule, gate.confidence)
    on_all_rows = measured(metric, outcomes, candidate)
    own = _at_least_zero(gate, on_all_rows.estimate(gate.confidence))
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
        difference = on_all_rows.minus(measured(metric, outcomes, champion)).estimate(gate.confidence)
        estimates |= {"gain_over_champion": over_champion, "metric_over_champion": difference}
        checks += [
            _gain_reaches(gate, "the champion", over_champion, gate.min_gain_over_champion),
            _metric_reaches(
                gate,
                f"{gate.metric} minus the champion's",
                difference,
                gate.loss(-gate.max_metric_loss),
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
    name = f"gain per 1,000 decisions over {rival}"
    told = _told(gate, seen, "at least", lambda figure: f"{figure:,.0f}")
    return Check(name, f"at least {line:,.0f}", told, _unless_unknown(seen, seen.lower >= line))


def _metric_reaches(gate: Gate, name: str, seen: Estimate, line: float) -> Check:
    side = "at most" if gate.lower_is_better else "at least"
    told = _told(gate, seen, side, rounded)
    return Check(name, f"{side} {rounded(line)}", told, _unless_unknown(seen, reaches(gate, seen, line)))


def _unless_unknown(seen: Estimate, reached: bool) -> bool | None:
    """Return whether the bound reached its line; None if there is a figure, but no bound."""
    return None if math.isnan(seen.lower) and not math.isnan(seen.value) else bool(reached)


def bound_of(gate: Gate, seen: Estimate) -> float:
    """Return the bound that must reach a line: the upper one if a lower metric is better."""
    return seen.upper if gate.lower_is_better else seen.lower


def reaches(gate: Gate, seen: Estimate, line: float) -> bool:
    """Whether the bound of a metric, or of a difference of metrics, reaches the line; False if there is no bound."""
    return gate.reaches(bound_of(gate, seen), line)


def _at_least_zero(gate: Gate, seen: Estimate) -> Estimate:
    """Return the metric with a lower bound that is not below 0, as no metric is."""
    return seen if gate.lower_is_better else Estimate(seen.value, max(seen.lower, 0.0))


def _told(gate: Gate, seen: Estimate, side: str, text: Callable[[float], str]) -> str:
    """Return the figure with its bound, in words."""
    if math.isnan(seen.lower):
        return f"{text(seen.value)}, with too few days or rows for a confidence bound"
    bound = seen.lower if side == "at least" else seen.upper
    return f"{text(seen.value)}, at {gate.confidence:.0%} confidence {side} {text(bound)}"


def _within(name: str, seen: float, limit: float, unit: str) -> Check:
    return Check(name, f"at most {limit:,.15g} {unit}", f"{rounded(seen)} {unit}", seen <= limit)


def _slices(gate: Gate, compared: Comparison, column: str) -> list[Slice]:
    values = compared.slices[column].tolist()
    different = sorted(set(values), key=lambda value: (value is None, str(value)))
    place = {value: number for number, value in enumerate(different)}
    of_value = np.array([place[value] for value in values])
    rows = np.split(np.argsort(of_value, kind="stable"), np.cumsum(np.bincount(of_value))[:-1]) if values else []
    return [_slice(gate, compared, column, value, found) for value, found in zip(different, rows, strict=True)]


def _slice(gate: Gate, compared: Comparison, column: str, value: object, rows: NDArray) -> Slice:
    """Judge the rows with one value: unknown if they are too few, or if there is no bound on so few days or rows."""
    found = Slice(column=column, value=None if value is None else str(value), rows=len(rows))
    if len(rows) < gate.slice_min_rows:
        return found

    def measure(decided: Decisions) -> Measured:
        return measured(compared.metric, compared.outcomes[rows], decided.part(rows))

    own = measure(compared.candidate)
    theirs = measure(compared.champion) if compared.champion else None
    metric = _at_least_zero(gate, own.estimate(gate.confidence))
    over_champion = own.minus(theirs).estimate(gate.confidence) if theirs else None
    status: Status = "passed"
    if math.isnan(metric.lower):
        status = "unknown"
    elif not reaches(gate, metric, gate.line_in_a_slice) or (
        over_champion and not reaches(gate, over_champion, gate.loss(-gate.loss_in_a_slice))
    ):
        status = "failed"
    return replace(
        found,
        metric=metric,
        champion=_at_least_zero(gate, theirs.estimate(gate.confidence)) if theirs else None,
        over_champion=over_champion,
        status=status,
    )


def _sliced(gate: Gate, column: str, slices: list[Slice]) -> Check:
    """Check that no slice failed and at least one passed; unknown slices alone do not pass."""
    side = "at most" if gate.lower_is_better else "at least"

    def told(seen: Estimate | None, what: str = "") -> str:
        return f"{what}{rounded(seen.value)} ({side} {rounded(bound_of(gate, seen))})" if seen else ""

    failed = [
        f"{each.name} {told(each.metric)}" + told(each.over_champion, ", minus the champion's ")
        for each in slices
        if each.status == "failed"
    ]
    passed = sum(each.status == "passed" for each in slices)
    unknown = [each.name for each in slices if each.status == "unknown"]
    parts = ["; ".join(failed)] if failed else []
    parts += [f"{passed} passed"] if passed else []
    parts += (
        [f"{len(unknown)} unknown ({', '.join(unknown[:5])}{', …' if len(unknown) > 5 else ''})"] if unknown else []
    )
    return Check(
        f"{gate.metric} in each slice of {column}",
        f"{side} {gate.line_in_a_slice:,.15g}, and at most {gate.loss_in_a_slice:,.15g} worse than the "
        f"champion's, at {gate.confidence:.0%} confidence, in slices of at least {gate.slice_min_rows:,} rows",
        "; ".join(parts) or "no rows",
        False if failed else bool(passed) or None,
    )
