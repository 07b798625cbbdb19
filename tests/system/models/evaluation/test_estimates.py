"""A gain or a metric comes with what it is at least, by a bootstrap over the days."""

import math
from dataclasses import replace

import numpy as np
import pytest
from groundwork.models.evaluation.estimates import Decisions, Estimate, gain, metric_estimate
from numpy.typing import NDArray


def mean_score(outcomes: NDArray, scores: NDArray) -> float:
    """A metric that is easy to foresee."""
    return float(scores.mean())


def alike(value_per_1000: float, score: float | None = None, rows: int = 50) -> Decisions:
    """Every row like every other: there is no chance in it."""
    return Decisions(np.full(rows, value_per_1000 / 1000), None if score is None else np.full(rows, score))


def noisy(rows: int, mean_per_1000: float) -> Decisions:
    """Wins and losses of 1 each, with this mean, and scores that are all the same."""
    values = np.tile([1.0, -1.0], rows // 2) + mean_per_1000 / 1000
    return Decisions(values, np.full(rows, 0.7))


def test_the_comparison_is_paired() -> None:
    """Whatever both win and lose alike says nothing about which is better."""
    champion = noisy(100, 0)
    candidate = replace(champion, values=champion.values + 0.02)
    found = gain(candidate, champion, 0.95)
    assert (round(found.value), round(found.lower)) == (20, 20)


def test_the_interval_is_as_wide_as_theory_says_and_the_same_every_time() -> None:
    rng = np.random.default_rng(1)
    made, nothing = Decisions(rng.normal(0.5, 2, 400)), Decisions(np.zeros(400))
    found = gain(made, nothing, 0.95)
    expected = found.value - 1.645 * made.values.std() / math.sqrt(400) * 1000
    assert found.lower == pytest.approx(expected, abs=15)
    assert found == gain(made, nothing, 0.95)
    assert gain(made, nothing, 0.99).lower < found.lower < gain(made, nothing, 0.9).lower


def by_day(worth: NDArray, rows: int) -> Decisions:
    """So many rows of each day, that all fare alike; its worth is their score too. The days are in no order."""
    days = np.datetime64("2013-03-01") + np.arange(len(worth))
    order = np.random.default_rng(2).permutation(len(worth) * rows)
    values = np.repeat(worth, rows)[order]
    return Decisions(values, values, np.repeat(days, rows)[order])


@pytest.mark.parametrize("days", [2, 3, 8, 31])
@pytest.mark.parametrize("rows", [1, 50])
def test_more_rows_of_the_same_days_make_nothing_surer(days: int, rows: int) -> None:
    """The interval is that of a mean of so many days, by Student's t, be it of the money or of a metric."""
    worth = np.random.default_rng(1).normal(0.5, 2, days)
    made = by_day(worth, rows)
    error = worth.std(ddof=1) / math.sqrt(days) * {2: 6.314, 3: 2.920, 8: 1.895, 31: 1.697}[days]
    found = gain(made, replace(made, values=np.zeros(days * rows)), 0.95)
    assert (found.value - found.lower) / 1000 == pytest.approx(error, rel=0.1)
    found = metric_estimate(mean_score, np.zeros(days * rows), made, None, 0.95)
    assert found.value - found.lower == pytest.approx(error, rel=0.3)  # of a tenth of the draws


def test_days_with_more_rows_weigh_more() -> None:
    """A gain is money per decision, not per day."""
    days = np.repeat(np.datetime64("2013-03-01") + np.arange(20), np.tile([90, 10], 10))
    made = Decisions(np.repeat(np.tile([1.0, 0.0], 10), np.tile([90, 10], 10)), days=days)
    found = gain(made, replace(made, values=np.zeros(1000)), 0.95)
    assert found.value == pytest.approx(900)
    assert 800 < found.lower < 900


def test_of_a_single_day_the_rows_are_drawn() -> None:
    made = replace(by_day(np.zeros(1), 300), values=np.random.default_rng(1).normal(0.5, 2, 300))
    nothing = replace(made, values=np.zeros(300))
    assert gain(made, nothing, 0.95) == gain(replace(made, days=None), replace(nothing, days=None), 0.95)


def test_the_same_scores_are_no_loss() -> None:
    made = alike(1000, 0.7)
    assert metric_estimate(mean_score, np.zeros(50, bool), made, made, 0.95) == Estimate(0, 0)
