"""What is done with a prediction, and what that is worth in money.

`worth` holds the charter's `value.parameters`: here `benefitPerMinute`, what re-planning a flight saves per minute that
it would have been late, and `costPerAction`, what re-planning any flight costs.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

ACT, KEEP = "replan", "keep"


def decide(scores: NDArray[np.float32], worth: Mapping[str, float]) -> NDArray[np.str_]:
    """Re-plan where the expected benefit pays for the action: predicted minutes x benefit >= cost.

    `scores` holds the predicted minutes of each flight.
    """
    return np.where(scores * worth["benefitPerMinute"] >= worth["costPerAction"], ACT, KEEP)


def without_model(columns: Mapping[str, NDArray]) -> NDArray[np.str_]:
    """What is done today: re-plan every departure at 17:00 or later."""
    return np.where(columns["departure_minute"] >= 17 * 60, ACT, KEEP)


def value(
    decisions: NDArray[np.str_], outcomes: NDArray[np.float64], worth: Mapping[str, float]
) -> NDArray[np.float64]:
    """The money that each decision made, once it is known how late the flight was."""
    acted = decisions == ACT
    return acted * (outcomes * worth["benefitPerMinute"] - worth["costPerAction"])
