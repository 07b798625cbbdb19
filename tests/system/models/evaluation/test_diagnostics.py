"""Feature importance and calibration."""

import numpy as np
import pytest
from groundwork.models.evaluation.diagnostics import calibration, importance
from groundwork.models.evaluation.estimates import Performance
from groundwork.models.training.history import Examples


def test_importance_finds_what_the_decisions_depend_on() -> None:
    rng = np.random.default_rng(1)
    columns = {"idle": rng.random(2000), "used": rng.random(2000)}
    outcomes = columns["used"] > 0.5

    def judged(rows: Examples) -> Performance:
        right = float(((rows.columns["used"] > 0.5) == rows.outcomes).mean())
        return Performance(1000 * right, right)

    first, second = importance(Examples(columns, outcomes), judged)
    assert (first.feature, second.feature) == ("used", "idle")
    assert first.value_per_1000 == pytest.approx(500, abs=50)
    assert second.value_per_1000 == second.metric == 0


def test_the_calibration_error_is_the_mean_distance_from_what_came_true() -> None:
    scores = np.repeat([0.25, 0.85], 100)
    outcomes = np.concatenate([np.arange(100) < 25, np.arange(100) < 65])
    found = calibration(outcomes, scores)
    assert [(each.rows, round(each.share_true, 2)) for each in found.bins] == [(100, 0.25), (100, 0.65)]
    assert found.error == pytest.approx(0.1)  # 0 in one half, 0.2 in the other
    assert np.isnan(calibration(outcomes[:0], scores[:0]).error)
