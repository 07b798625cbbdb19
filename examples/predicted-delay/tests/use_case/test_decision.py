"""A prediction becomes an action where that pays, and the money is counted as the charter says."""

import numpy as np
import pytest

from use_case import decision

WORTH = {"benefitPerMinute": 8.0, "costPerAction": 120.0}


@pytest.mark.parametrize(("minutes", "action"), [(0.0, "keep"), (14.9, "keep"), (15.0, "replan"), (300.0, "replan")])
def test_acts_from_the_break_even_delay_on(minutes: float, action: str) -> None:
    assert decision.decide(np.array([minutes], dtype=np.float32), WORTH).tolist() == [action]


def test_money_of_each_case() -> None:
    decisions = np.array(["replan", "replan", "keep", "keep"])
    assert decision.value(decisions, np.array([60.0, 0.0, 60.0, 0.0]), WORTH).tolist() == [360, -120, 0, 0]


def test_without_a_model_evening_departures_are_replanned() -> None:
    columns = {"departure_minute": np.array([0, 16 * 60 + 59, 17 * 60, 23 * 60], dtype=np.float32)}
    assert decision.without_model(columns).tolist() == ["keep", "keep", "replan", "replan"]
