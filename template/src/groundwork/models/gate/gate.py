"""The gate: what a candidate has to show on the newest window before it is promoted. It blocks by default.

A figure counts with its interval: it is not what was seen that must reach the charter's line, but what lies below it by
chance only as often as the charter tolerates. Rows of one day share their weather, so that chance is one of days: whole
days are drawn, not rows (the cluster bootstrap; Cameron, Gelbach and Miller, 2008, doi:10.1162/rest.90.3.414).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as students_t

from groundwork.documents.charter import Gate

SEED = 0
RESAMPLES = 1000  # of the money, which are cheap
RESAMPLES_OF_METRIC = 100  # each of which computes the metric anew
MIN_DRAWN = 90  # in so many of these the metric must exist; it does not where days without one class were drawn

Metric = Callable[[NDArray, NDArray], float]  # of targets and scores; NaN where it cannot be computed
Status = Literal["passed", "failed", "unknown"]


@dataclass(frozen=True)
class Performance:
    """What one way of deciding made on the window: money per 1,000 decisions, and the model's metric."""

    value_per_1000: float
    metric: float


@dataclass(frozen=True)
class Decided:
    """One way of deciding, row by row: the money that each decision made, its score, if it has scores, and its day."""

    values: NDArray[np.float64]
    scores: NDArray | None = None
    days: NDArray[np.datetime64] | None = None


@dataclass(frozen=True)
class Footprint:
    """What serving the model costs: CPU time for one row, and the size of its bundle."""

    latency_ms: float
    size_mb: float


@dataclass(frozen=True)
class Estimate:
    """A figure, and what it is at least, at the charter's confidence."""

    value: float
    lower: float

    @property
    def upper(self) -> float:
        """What it is at most."""
        return 2 * self.value - self.lower


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


def gain(candidate: Decided, rival: Decided, confidence: float) -> Estimate:
    """Money per 1,000 decisions that the candidate made more, by a paired bootstrap over the days."""
    differences = (candidate.values - rival.values) * 1000
    if not len(differences):
        return Estimate(math.nan, math.nan)
    day = _day_of_each_row(candidate)
    days = np.stack([np.bincount(day, differences), np.bincount(day)], axis=1)
    # Days with the same sum and number of rows are alike, so it is enough to draw how often each kind comes.
    kinds, counts = np.unique(days, axis=0, return_counts=True)
    generator = np.random.default_rng(SEED)  # one resample after the other: there may be as many kinds as rows
    drawn = np.array([generator.multinomial(len(days), counts / len(days)) @ kinds for _ in range(RESAMPLES)])
    return _estimate(float(differences.mean()), drawn[:, 0] / drawn[:, 1], len(days), confidence)


def metric_estimate(
    metric: Metric, outcomes: NDArray, candidate: Decided, rival: Decided | None, confidence: float
) -> Estimate:
    """The candidate's metric, or how much it lies above the rival's, by a paired bootstrap over the days."""

    def measured(rows: NDArray | slice) -> float:
        value = metric(outcomes[rows], _scores(candidate)[rows])
        return value - metric(outcomes[rows], _scores(rival)[rows]) if rival else value

    seen = measured(slice(None)) if len(outcomes) else math.nan
    if math.isnan(seen):
        return Estimate(math.nan, math.nan)
    if rival and np.array_equal(_scores(candidate), _scores(rival)):
        return Estimate(seen, seen)
    day = _day_of_each_row(candidate)
    rows = np.argsort(day, kind="stable")
    sizes = np.bincount(day)
    starts, days = np.cumsum(sizes) - sizes, len(sizes)
    generator = np.random.default_rng(SEED)

    def resampled() -> NDArray:
        drawn = generator.integers(days, size=days)
        within = np.arange(sizes[drawn].sum()) - np.repeat(np.cumsum(sizes[drawn]) - sizes[drawn], sizes[drawn])
        return rows[np.repeat(starts[drawn], sizes[drawn]) + within]

    drawn = np.array([measured(resampled()) for _ in range(RESAMPLES_OF_METRIC)])
    drawn = drawn[~np.isnan(drawn)]
    return _estimate(seen, drawn, days, confidence) if len(drawn) >= MIN_DRAWN else Estimate(seen, math.nan)


def _day_of_each_row(decided: Decided) -> NDArray[np.intp]:
    """Days are numbered from 0; where there is but one, each row counts as a day of its own."""
    if decided.days is not None:
        different, day = np.unique(decided.days, return_inverse=True)
        if len(different) > 1:
            return day
    return np.arange(len(decided.values))


def _estimate(seen: float, drawn: NDArray[np.float64], days: int, confidence: float) -> Estimate:
    """Few days vary less among themselves than all do: hence Student's t, and the factor."""
    if days < 2:
        return Estimate(seen, math.nan)
    deviation = float(np.std(drawn)) * math.sqrt(days / (days - 1))
    return Estimate(seen, seen - float(students_t.ppf(confidence, days - 1)) * deviation)


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


def _scores(decided: Decided | None) -> NDArray:
    assert decided is not None
    assert decided.scores is not None
    return decided.scores
