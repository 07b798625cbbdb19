"""The one place where the contract's columns become the model's inputs, in training and in serving."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundwork.documents.contract.column import Column

MISSING_TEXT = ""


def arrays(columns: Mapping[str, Any], features: Iterable[Column]) -> dict[str, NDArray]:
    """Turn raw values, in lists or in whole Arrow columns, into one array per feature.

    Text becomes an object array in which a missing value is the empty string. Everything else becomes float32 with
    NaN for a missing value: float32 is what ONNX models compute with, so training must see the same numbers.
    """
    return {feature.name: _array(columns[feature.name], feature.logical_type) for feature in features}


def arrays_of_log(records: Iterable[str], features: Sequence[Column]) -> dict[str, NDArray]:
    """The same of records as the prediction log holds them; a feature that was added since is missing."""
    rows = [msgspec.json.decode(record) for record in records]
    return arrays({feature.name: [row.get(feature.name) for row in rows] for feature in features}, features)


def _array(values: Any, logical_type: str) -> NDArray:
    if hasattr(values, "combine_chunks"):
        return _array_of_arrow(values, logical_type)
    if logical_type == "string":
        return np.array([MISSING_TEXT if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


def _array_of_arrow(values: Any, logical_type: str) -> NDArray:
    """The same without a Python object for each value. The service has no pyarrow, so it is not imported here."""
    if logical_type == "string":
        encoded = values.combine_chunks().fill_null(MISSING_TEXT).dictionary_encode()
        texts = np.array(encoded.dictionary.to_pylist(), dtype=object)  # each text once, however often it occurs
        return texts[encoded.indices.to_numpy()] if len(encoded) else np.array([], dtype=object)
    return values.cast("double", safe=False).to_numpy().astype(np.float32)
