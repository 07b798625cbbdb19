"""Sell this month's houses now at last month's price, or a month later."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def decide(scores: NDArray[np.float32], worth: Mapping[str, float], *, rows: Mapping[str, NDArray]) -> NDArray[np.str_]:
    """Returns `wait` where the predicted price exceeds last month's by more than the cost of holding the houses."""
    return np.where(scores > rows["last_median"] * (1 + worth["holdingShare"]), "wait", "sell")


def without_model(columns: Mapping[str, NDArray]) -> NDArray[np.str_]:
    """Returns today's action: wait where the price rose last month."""
    return np.where(columns["last_median"] > columns["earlier_median"], "wait", "sell")


def value(
    decisions: NDArray[np.str_],
    outcomes: NDArray[np.float32],
    worth: Mapping[str, float],
    *,
    rows: Mapping[str, NDArray],
) -> NDArray[np.float64]:
    """Returns the money of each decision: what the houses bring more a month later, less the cost of holding them."""
    more = outcomes - rows["last_median"] * (1 + worth["holdingShare"])
    return (decisions == "wait") * more * worth["houses"]
