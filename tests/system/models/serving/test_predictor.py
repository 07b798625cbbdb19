"""Raw values become the model's inputs in one way, whoever asks."""

import importlib

import numpy as np
import pyarrow as pa
import pytest
from groundwork.documents.contract.column import Column
from groundwork.models.serving.predictor import arrays
from groundwork.models.serving.trusted_types import TRUSTED_TYPES


def column(name: str, logical_type: str) -> Column:
    return Column.model_validate(
        {"name": name, "description": "", "logicalType": logical_type, "tags": ["feature"], "examples": [0]}
    )


def test_text_stays_text_and_all_else_becomes_float32() -> None:
    features = [column("city", "string"), column("age", "integer"), column("share", "number"), column("new", "boolean")]
    raw = {"city": ["Rome", None], "age": [7, None], "share": [0.1, None], "new": [True, None], "ignored": [1, 2]}
    made = arrays(raw, features)
    assert list(made) == ["city", "age", "share", "new"]
    assert made["city"].tolist() == ["Rome", ""]
    assert made["city"].dtype == object
    for name, value in (("age", 7), ("share", np.float32(0.1)), ("new", 1)):
        assert made[name].dtype == np.float32
        np.testing.assert_array_equal(made[name], np.array([value, np.nan], dtype=np.float32))


def test_columns_without_any_value_keep_their_type() -> None:
    made = arrays({"city": [None, None], "age": [None, None]}, [column("city", "string"), column("age", "integer")])
    assert made["city"].tolist() == ["", ""]
    assert made["age"].dtype == np.float32
    assert np.isnan(made["age"]).all()


def test_arrow_columns_become_the_same_arrays_as_lists() -> None:
    features = [column("city", "string"), column("age", "integer"), column("share", "number"), column("new", "boolean")]
    raw = {
        "city": ["Rome", None, "Oslo", "Rome"],
        "age": [7, None, 2**24 + 1, 2**53 + 1],
        "share": [0.1, None, float("nan"), 1e300],
        "new": [True, None, False, True],
    }
    types = {"city": pa.string(), "age": pa.int64(), "share": pa.float64(), "new": pa.bool_()}
    table = pa.table({name: pa.chunked_array([values[:1], values[1:]], types[name]) for name, values in raw.items()})
    for rows in (table, table.slice(1), table.slice(0, 0)):
        with np.errstate(over="ignore"):
            expected, made = (
                arrays({name: of(rows[name]) for name in raw}, features)
                for of in (pa.ChunkedArray.to_pylist, lambda x: x)
            )
        for name, values in expected.items():
            assert made[name].dtype == values.dtype
            np.testing.assert_array_equal(made[name], values)


@pytest.mark.parametrize("name", TRUSTED_TYPES)
def test_trusted_types_are_those_of_the_tested_set(name: str) -> None:
    """A name that is gone would make skops models of that type load through pickle, in silence."""
    module, _, attribute = name.rpartition(".")
    pytest.importorskip(module.partition(".")[0], reason="needs the library whose models these are")
    assert hasattr(importlib.import_module(module), attribute)
