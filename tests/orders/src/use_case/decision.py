"""Whether a customer is called before the order is sent. Larger orders gain more, heavier ones cost more."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray]


def decide(scores: NDArray[np.float32], worth: Mapping[str, float], *, rows: Columns) -> NDArray[np.str_]:
    """Call where it pays."""
    return np.where(scores * _benefit(worth, rows) >= worth["costPerAction"], "call", "wait")


def without_model(columns: Columns) -> NDArray[np.str_]:
    """Nobody is called today."""
    return np.full(len(columns["amount"]), "wait")


def value(
    decisions: NDArray[np.str_], outcomes: NDArray[np.bool_], worth: Mapping[str, float], *, rows: Columns
) -> NDArray[np.float64]:
    """The money that each call made."""
    return (decisions == "call") * (outcomes * _benefit(worth, rows) - worth["costPerAction"])


def _benefit(worth: Mapping[str, float], rows: Columns) -> NDArray[np.float64]:
    """The saving from a returned order: by its amount, less the postage of each kilogram, if the weight is known."""
    return worth["benefitPerHit"] * rows["amount"] / 100 - np.nan_to_num(rows["kilograms"])
