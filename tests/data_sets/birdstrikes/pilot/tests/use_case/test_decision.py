"""An inspection pays where the expected damage costs more than it."""

import numpy as np
import pytest

from use_case import decision

WORTH = {"benefitPerHit": 40_000.0, "costPerAction": 800.0}


@pytest.mark.parametrize(("score", "action"), [(0.021, "inspect"), (0.019, "fly")])
def test_inspects_where_the_damage_covers_the_cost(score: float, action: str) -> None:
    assert decision.decide(np.array([score], np.float32), WORTH).tolist() == [action]


def test_todays_rule_looks_at_the_size() -> None:
    assert decision.without_model({"wildlife_size": np.array(["Small", "Large"])}).tolist() == ["fly", "inspect"]


def test_money_of_each_case() -> None:
    decisions, outcomes = np.array(["inspect", "inspect", "fly", "fly"]), np.array([True, False, True, False])
    assert decision.value(decisions, outcomes, WORTH).tolist() == [39_200, -800, 0, 0]
