"""The decision acts if the expected benefit exceeds the cost, and its money is counted as in the charter."""

import numpy as np
import pytest

from use_case import decision

WORTH = {"benefitPerHit": 400.0, "costPerAction": 120.0}


@pytest.mark.parametrize(("score", "action"), [(0.0, "keep"), (0.299, "keep"), (0.3, "replan"), (1.0, "replan")])
def test_acts_from_the_break_even_score_on(score: float, action: str) -> None:
    assert decision.decide(np.array([score], dtype=np.float32), WORTH).tolist() == [action]


def test_a_dearer_action_is_taken_less_often() -> None:
    scores = np.linspace(0, 1, 101, dtype=np.float32)
    acted = [(decision.decide(scores, WORTH | {"costPerAction": cost}) == "replan").sum() for cost in (40, 120, 360)]
    assert acted == sorted(acted, reverse=True)
    assert len(set(acted)) == 3


def test_money_of_each_case() -> None:
    decisions = np.array(["replan", "replan", "keep", "keep"])
    late = np.array([True, False, True, False])
    assert decision.value(decisions, late, WORTH).tolist() == [280, -120, 0, 0]


def test_without_a_model_evening_departures_are_replanned() -> None:
    columns = {"departure_minute": np.array([0, 16 * 60 + 59, 17 * 60, 23 * 60], dtype=np.float32)}
    assert decision.without_model(columns).tolist() == ["keep", "keep", "replan", "replan"]
