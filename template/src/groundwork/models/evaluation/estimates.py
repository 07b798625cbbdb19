"""Estimates with a one-sided confidence bound: the gain of one set of decisions over another, and the model's metric.

The bound must reach the charter's line, not the estimate. Rows of one day are correlated, so whole days are drawn, not
rows (the cluster bootstrap; Cameron, Gelbach and Miller, 2008, doi:10.1162/rest.90.3.414).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as students_t

SEED = 0
RESAMPLES = 1000  # for the gain, which is cheap to compute
RESAMPLES_OF_METRIC = 100  # for the metric, which is computed again in each
MIN_DRAWN = 90  # resamples in which the metric must exist; it does not if the drawn days lack a class
Metric = Callable[[NDArray, NDArray], float]  # takes targets and scores; NaN if it cannot be computed


@dataclass(frozen=True)
class Performance:
    """The performance on a window: money per 1,000 decisions, and the model's metric."""

    value_per_1000: float
    metric: float


@dataclass(frozen=True)
class Decisions:
    """Decisions, one element per row: the money that each made, its score (None for a rule), and its day."""

    values: NDArray[np.float64]
    scores: NDArray | None = None
    days: NDArray[np.datetime64] | None = None

    def part(self, rows: NDArray) -> "Decisions":
        """Return the decisions on these rows: their numbers, or true for each of them."""
        scores, days = (None if each is None else each[rows] for each in (self.scores, self.days))
        return Decisions(self.values[rows], scores, days)


@dataclass(frozen=True)
class Estimate:
    """An estimate with its lower bound at the charter's confidence."""

    value: float
    lower: float

    @property
    def upper(self) -> float:
        """The upper bound at the same confidence; the interval is symmetric."""
        return 2 * self.value - self.lower


def gain(candidate: Decisions, rival: Decisions, confidence: float) -> Estimate:
    """Return the candidate's gain over the rival in money per 1,000 decisions, by a paired bootstrap over the days.

    Both hold the same rows in the same order. The estimate is NaN without rows.
    """
    differences = (candidate.values - rival.values) * 1000
    if not len(differences):
        return Estimate(math.nan, math.nan)
    day = _day_of_each_row(candidate)
    days = np.stack([np.bincount(day, differences), np.bincount(day)], axis=1)
    # Days with the same sum and number of rows are interchangeable: draw how often each kind occurs.
    kinds, counts = np.unique(days, axis=0, return_counts=True)
    generator = np.random.default_rng(SEED)  # one resample at a time saves memory: there may be as many kinds as rows
    drawn = np.array([generator.multinomial(len(days), counts / len(days)) @ kinds for _ in range(RESAMPLES)])
    return _estimate(float(differences.mean()), drawn[:, 0] / drawn[:, 1], len(days), confidence)


def metric_estimate(
    metric: Metric, outcomes: NDArray, candidate: Decisions, rival: Decisions | None, confidence: float
) -> Estimate:
    """Return the candidate's metric, or its difference to the rival's, by a paired bootstrap over the days.

    `outcomes` are targets as the metric takes them, one per row. The estimate is NaN if the metric does not exist on
    all rows, its lower bound NaN if the metric exists in fewer than MIN_DRAWN resamples.
    """
    found = measured(metric, outcomes, candidate)
    return (found.minus(measured(metric, outcomes, rival)) if rival else found).estimate(confidence)


@dataclass(frozen=True)
class Measured:
    """A metric on all rows, and on each resample of the days; NaN where it does not exist."""

    seen: float
    drawn: NDArray[np.float64]
    days: int

    def minus(self, other: "Measured") -> "Measured":
        """Return the difference to the metric of other scores on the same rows."""
        if math.isnan(self.seen + other.seen):
            return Measured(math.nan, np.array([]), 0)
        if self.seen == other.seen and np.array_equal(self.drawn, other.drawn, equal_nan=True):
            return Measured(0.0, np.zeros(len(self.drawn)), self.days)
        return Measured(self.seen - other.seen, self.drawn - other.drawn, self.days)

    def estimate(self, confidence: float) -> Estimate:
        """Return the metric with its bound, which is NaN if the metric exists in fewer than MIN_DRAWN resamples."""
        drawn = self.drawn[~np.isnan(self.drawn)]
        if math.isnan(self.seen) or len(drawn) < MIN_DRAWN:
            return Estimate(self.seen, math.nan)
        return _estimate(self.seen, drawn, self.days, confidence)


def measured(metric: Metric, outcomes: NDArray, decided: Decisions) -> Measured:
    """Return the metric of the decisions' scores on all rows and on RESAMPLES_OF_METRIC resamples of the days.

    Decisions on the same rows are resampled alike, so that they can be compared.
    """
    scores = scores_of(decided)
    seen = metric(outcomes, scores) if len(outcomes) else math.nan
    if math.isnan(seen):
        return Measured(math.nan, np.array([]), 0)
    day = _day_of_each_row(decided)
    rows = np.argsort(day, kind="stable")
    sizes = np.bincount(day)
    starts, days = np.cumsum(sizes) - sizes, len(sizes)
    generator = np.random.default_rng(SEED)

    def resampled() -> float:
        drawn = generator.integers(days, size=days)
        within = np.arange(sizes[drawn].sum()) - np.repeat(np.cumsum(sizes[drawn]) - sizes[drawn], sizes[drawn])
        some = rows[np.repeat(starts[drawn], sizes[drawn]) + within]
        return metric(outcomes[some], scores[some])

    return Measured(seen, np.array([resampled() for _ in range(RESAMPLES_OF_METRIC)]), days)


def has_bound(outcomes: NDArray[np.bool_], days: NDArray[np.datetime64]) -> bool:
    """Return whether a metric that needs two classes has a bound on these rows, whatever the scores are."""

    def exists(targets: NDArray, _: NDArray) -> float:
        return 0.0 if len(np.unique(targets)) > 1 else math.nan

    if len(np.unique(days)) > 1:  # days are drawn, so one row for each day and outcome is enough
        both = np.unique(days.astype(np.int64) * 2 + outcomes)
        outcomes, days = both % 2 == 1, (both // 2).astype("datetime64[D]")
    nothing = np.zeros(len(outcomes))
    estimate = measured(exists, outcomes, Decisions(nothing, nothing, days)).estimate(confidence=0.95)
    return not math.isnan(estimate.lower)


def _day_of_each_row(decided: Decisions) -> NDArray[np.intp]:
    """Return the number of each row's day, from 0; if there is only one day, each row counts as a day."""
    if decided.days is not None:
        different, day = np.unique(decided.days, return_inverse=True)
        if len(different) > 1:
            return day
    return np.arange(len(decided.values))


def _estimate(seen: float, drawn: NDArray[np.float64], days: int, confidence: float) -> Estimate:
    """Return the estimate with its bound; Student's t and the factor correct for a small number of days."""
    if days < 2:
        return Estimate(seen, math.nan)
    deviation = float(np.std(drawn)) * math.sqrt(days / (days - 1))
    return Estimate(seen, seen - float(students_t.ppf(confidence, days - 1)) * deviation)


def scores_of(decided: Decisions | None) -> NDArray:
    """Return the scores behind the decisions; a rule has none and must not be passed."""
    assert decided is not None
    assert decided.scores is not None
    return decided.scores
