"""A figure with its interval: the money a way of deciding made more than another, and the model's metric.

It is not what was seen that must reach a line, but what lies below it by chance only as often as the charter tolerates.
Rows of one day share their weather, so whole days are drawn, not rows (the cluster bootstrap; Cameron, Gelbach and
Miller, 2008, doi:10.1162/rest.90.3.414).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as students_t

SEED = 0
RESAMPLES = 1000  # of the money, which are cheap
RESAMPLES_OF_METRIC = 100  # each of which computes the metric anew
MIN_DRAWN = 90  # in so many of these the metric must exist; it does not where days without one class were drawn
Metric = Callable[[NDArray, NDArray], float]  # of targets and scores; NaN where it cannot be computed


@dataclass(frozen=True)
class Performance:
    """What one way of deciding made on the window: money per 1,000 decisions, and the model's metric."""

    value_per_1000: float
    metric: float


@dataclass(frozen=True)
class Decisions:
    """One way of deciding, row by row: the money that each decision made, its score, if it has scores, and its day."""

    values: NDArray[np.float64]
    scores: NDArray | None = None
    days: NDArray[np.datetime64] | None = None


@dataclass(frozen=True)
class Estimate:
    """A figure, and what it is at least, at the charter's confidence."""

    value: float
    lower: float

    @property
    def upper(self) -> float:
        """What it is at most."""
        return 2 * self.value - self.lower


def gain(candidate: Decisions, rival: Decisions, confidence: float) -> Estimate:
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
    metric: Metric, outcomes: NDArray, candidate: Decisions, rival: Decisions | None, confidence: float
) -> Estimate:
    """The candidate's metric, or how much it lies above the rival's, by a paired bootstrap over the days."""

    def measured(rows: NDArray | slice) -> float:
        value = metric(outcomes[rows], scores_of(candidate)[rows])
        return value - metric(outcomes[rows], scores_of(rival)[rows]) if rival else value

    seen = measured(slice(None)) if len(outcomes) else math.nan
    if math.isnan(seen):
        return Estimate(math.nan, math.nan)
    if rival and np.array_equal(scores_of(candidate), scores_of(rival)):
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


def _day_of_each_row(decided: Decisions) -> NDArray[np.intp]:
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


def scores_of(decided: Decisions | None) -> NDArray:
    """The scores that decisions were taken by; a rule has none, and must not get here."""
    assert decided is not None
    assert decided.scores is not None
    return decided.scores
