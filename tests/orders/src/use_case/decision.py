"""Whether a customer is called before the order is sent."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


def decide(scores: NDArray[np.float32], worth: Mapping[str, float]) -> NDArray[np.str_]:
    """Call where it pays."""
    return np.where(scores * worth["benefitPerHit"] >= worth["costPerAction"], "call", "wait")


def without_model(columns: Mapping[str, NDArray]) -> NDArray[np.str_]:
    """Nobody is called today."""
    return np.full(len(columns["amount"]), "wait")


def value(decisions: NDArray[np.str_], outcomes: NDArray[np.bool_], worth: Mapping[str, float]) -> NDArray[np.float64]:
    """The money that each call made."""
    return (decisions == "call") * (outcomes * worth["benefitPerHit"] - worth["costPerAction"])
