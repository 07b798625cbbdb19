"""Waiting pays where the price rises by more than the houses cost to hold; its money depends on the price."""

import numpy as np
import pytest

from use_case import decision

WORTH = {"holdingShare": 0.01, "houses": 10.0}
ROWS = {"last_median": np.array([100_000.0, 200_000.0])}


@pytest.mark.parametrize(("price", "actions"), [(100_999, ["sell", "sell"]), (101_001, ["wait", "sell"])])
def test_waits_where_the_price_covers_the_cost(price: float, actions: list[str]) -> None:
    assert decision.decide(np.full(2, price, dtype=np.float32), WORTH, rows=ROWS).tolist() == actions


def test_money_of_each_case() -> None:
    prices = np.array([103_000.0, 201_000.0])
    waited = decision.value(np.array(["wait", "wait"]), prices, WORTH, rows=ROWS)
    assert waited.tolist() == pytest.approx([20_000, -10_000])
    assert decision.value(np.array(["sell", "sell"]), prices, WORTH, rows=ROWS).tolist() == [0, 0]
