"""A conversion is proven equal in every row and every decision, or it is not served."""

import numpy as np
import pytest
from groundwork.models.packaging.parity import NotEqual, prove_equal
from numpy.typing import NDArray


def decide(scores: NDArray) -> NDArray[np.str_]:
    return np.where(scores >= 0.3, "call", "wait")


def test_scores_within_the_tolerance_are_equal_and_said_to_be() -> None:
    said = prove_equal(np.array([0.5, 0.2], dtype=np.float32), np.array([0.5, 0.2]), decide)
    assert said.startswith("proven equal to the pipeline: largest difference ")
    assert said.endswith(", 0 decisions differ, on 2 rows")


@pytest.mark.parametrize(
    ("converted", "original"), [([0.5, 0.2], [0.5, 0.201]), ([0.5, np.nan], [0.5, 0.2]), ([0.29999997], [0.3])]
)
def test_equal_means_in_every_row_and_every_decision(converted: list[float], original: list[float]) -> None:
    with pytest.raises(NotEqual):
        prove_equal(np.array(converted, dtype=np.float32), np.array(original), decide)
