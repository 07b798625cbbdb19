"""The one place where the contract's columns become the model's inputs, in training and in serving."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundwork.contract import Column

MISSING_TEXT = ""


def arrays(columns: Mapping[str, Sequence[Any]], features: Iterable[Column]) -> dict[str, NDArray]:
    """Turn raw values into one array per feature.

    Text becomes an object array in which a missing value is the empty string. Everything else becomes float32 with
    NaN for a missing value: float32 is what ONNX models compute with, so training must see the same numbers.
    """
    return {feature.name: _array(columns[feature.name], feature.logical_type) for feature in features}


def _array(values: Sequence[Any], logical_type: str) -> NDArray:
    if logical_type == "string":
        return np.array([MISSING_TEXT if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)
