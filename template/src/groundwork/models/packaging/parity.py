"""Parity of served and trained: a conversion must give the scores and the decisions of the pipeline."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from groundwork.models.serving.predictor import TOLERANCE

Decide = Callable[[NDArray[np.float32]], NDArray[np.str_]]


class NotEqual(Exception):
    """The converted model gives other scores or decisions than the pipeline."""


def prove_equal(converted: NDArray, original: NDArray, decide: Decide, tolerance: float = TOLERANCE) -> str:
    """Return the comparison of the converted model's scores with the pipeline's, in words.

    Both arrays have one element per row, or per row and class. Raises NotEqual if a score differs by more than the
    tolerance, or if any decision differs.
    """
    difference = float(np.abs(converted - original).max())
    changed = int((decide(converted) != decide(original)).sum())
    said = f"largest difference {difference:.1e}, {changed} decisions differ, on {len(original):,} rows"
    if changed or not difference <= tolerance:
        raise NotEqual(said)
    return f"proven equal to the pipeline: {said}"
