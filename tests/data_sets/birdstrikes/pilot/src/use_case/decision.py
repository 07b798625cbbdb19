"""Inspect an aircraft before its next flight, or let it fly.

`worth` holds the charter's `value.parameters`: `benefitPerHit`, the saving from damage that is found before the flight,
and `costPerAction`, the cost of an inspection.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

INSPECT, FLY = "inspect", "fly"


def decide(scores: NDArray[np.float32], worth: Mapping[str, float]) -> NDArray[np.str_]:
    """Returns one decision per strike: inspect if the expected saving covers the cost."""
    return np.where(scores * worth["benefitPerHit"] >= worth["costPerAction"], INSPECT, FLY)


def without_model(columns: Mapping[str, NDArray]) -> NDArray[np.str_]:
    """Returns one decision per strike by today's rule: inspect after a strike by a large animal."""
    return np.where(columns["wildlife_size"] == "Large", INSPECT, FLY)


def value(decisions: NDArray[np.str_], outcomes: NDArray[np.bool_], worth: Mapping[str, float]) -> NDArray[np.float64]:
    """Returns the value of each decision in money, given its outcome (true: substantial damage)."""
    return (decisions == INSPECT) * (outcomes * worth["benefitPerHit"] - worth["costPerAction"])
