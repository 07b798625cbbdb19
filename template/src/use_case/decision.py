"""The decision made from a prediction, and its value in money.

`worth` holds the charter's `value.parameters`, in the charter's currency. Here these are `benefitPerHit`, the saving
from re-planning a flight that would have been late, and `costPerAction`, the cost of re-planning any flight.

A function may also take the keyword `rows`, with the columns of the rows as raw values, if the money differs by row.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ACT, KEEP = "replan", "keep"


def decide(scores: NDArray[np.float32], worth: Mapping[str, float]) -> NDArray[np.str_]:
    """Returns one decision per flight: re-plan if the expected benefit covers the cost, score x benefit >= cost.

    `scores` holds each flight's probability of arriving late.
    """
    return np.where(scores * worth["benefitPerHit"] >= worth["costPerAction"], ACT, KEEP)


def without_model(columns: Mapping[str, NDArray]) -> NDArray[np.str_]:
    """Returns one decision per row by today's rule: re-plan every departure at 17:00 or later."""
    return np.where(columns["departure_minute"] >= 17 * 60, ACT, KEEP)


def value(decisions: NDArray[np.str_], outcomes: NDArray[np.bool_], worth: Mapping[str, float]) -> NDArray[np.float64]:
    """Returns the value of each decision in money, given its outcome (true: late)."""
    acted = decisions == ACT
    return acted * (outcomes * worth["benefitPerHit"] - worth["costPerAction"])
