"""Columns come back from their bytes as they were, whatever their values and however many."""

import math
import random
from itertools import chain
from typing import Any

import numpy as np
import pytest
from groundwork.core.errors import StoreError
from groundwork.store.columns import FEW, FORMAT_VERSION, Block, column_of, joined, missing_column, pack

COUNTS = (1, FEW - 1, FEW, 1000)
VALUES: dict[str, list[Any]] = {
    "floats": [0.1, -0.0, 1e-300, -1.7976931348623157e308, 187.0, 16777217.0],
    "narrow floats": [0.5, 187.0, -2.25],
    "integers": [0, -(2**63), 2**63 - 1, 2**53 + 1],
    "small integers": [0, 127, -128],
    "integers of 64 bits": [2**64 - 1, 0],
    "booleans": [True, False],
    "texts": ["", "JFK", "Zürich → 東京", "two\nlines", "\x00", "🛫"],
    "many texts": [f"flight-{number}" for number in range(1000)],
    "one text": ["JFK"],
    "mixed numbers": [1, 1.0, True],
    "mixed": ["1", 1, [1, {"a": None}], {}],
}


def typed(values: list[Any]) -> list[tuple[type, str]]:
    """Values with their types, so that 1, 1.0 and True differ, and 0.0 and -0.0 too."""
    return [(type(value), repr(value)) for value in values]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("kind", VALUES)
def test_values_come_back_as_they_were(kind: str, missing: bool, count: int) -> None:
    values = [VALUES[kind][number % len(VALUES[kind])] for number in range(count)]
    if missing:
        values[:: max(count // 3, 1)] = [None] * len(values[:: max(count // 3, 1)])
    found = Block(pack({"record": {"a": values}, "b": "a", "other": [0.5] * count}))
    for column in (found.column("a", "record"), found.column("b")):
        assert column is not None
        assert len(column) == count
        assert typed(column.tolist()) == typed(values)
        rows = np.array(sorted(random.Random(count).sample(range(count), (count + 1) // 2)))
        assert typed(column.take(rows).tolist()) == typed([values[row] for row in rows.tolist()])
        again = Block(found.only(rows, {"number": rows.tolist()}))
        kept = again.column("b")
        assert kept is not None
        assert typed(kept.tolist()) == typed([values[row] for row in rows.tolist()])
    assert found.column("c", "record") is None


@pytest.mark.parametrize("dtype", ["<f4", "<f8", "<i4", "<i8", "bool"])
def test_arrays_come_back_with_every_value(dtype: str) -> None:
    values = np.array([0, 1, 7, 127] * 40).astype(dtype)
    found = Block(pack({"a": values, "few": values[:2]}))
    for name, expected in (("a", values), ("few", values[:2])):
        column = found.column(name)
        assert column is not None
        assert column.tolist() == expected.tolist()


def test_columns_of_several_batches_are_one_after_the_other() -> None:
    """Whether they were kept as lists or as arrays, and where a batch has no such column."""
    for values in VALUES.values():
        parts = [[values[number % len(values)] for number in range(count)] for count in (2, 100, 1, 70)]
        columns = [Block(pack({"a": part})).column("a") for part in parts]
        assert typed(joined([each for each in columns if each]).tolist()) == typed([*chain(*parts)])
        with_gap = joined([missing_column(3), *(each for each in columns if each), missing_column(1)])
        assert typed(with_gap.tolist()) == typed([None] * 3 + [*chain(*parts)] + [None])


def test_integers_beside_floating_point_numbers_are_such_numbers() -> None:
    found = joined([column_of([1, 2] * 50), column_of([0.5] * 100)]).tolist()
    assert typed(found[:2]) == typed([1.0, 2.0])


def test_numbers_are_read_as_floats_with_nan_where_one_is_missing() -> None:
    for values in ([1.5, None, 3.0] * 30, [1, None, 3] * 30, [True, None, False] * 30, [1.5, None, 1]):
        for found, expected in zip(column_of(values).floats().tolist(), values, strict=True):
            assert math.isnan(found) if expected is None else found == expected


def test_a_text_is_no_number() -> None:
    for values in (["JFK"] * 100, ["JFK"], [1.0, "JFK"]):
        with pytest.raises(ValueError, match="could not convert"):
            column_of(values).floats()


def test_a_block_of_a_later_format_is_refused() -> None:
    content = pack({"a": [1]})
    with pytest.raises(StoreError, match=rf"format version {FORMAT_VERSION + 1}: update the pilot's code"):
        Block(bytes((FORMAT_VERSION + 1,)) + content[1:])


def test_a_batch_takes_a_fraction_of_its_rows_as_text() -> None:
    import json

    chance = random.Random(0)
    record = {
        "flight_id": [f"2013{number:06}-B6-JFK" for number in range(1000)],
        "carrier": [chance.choice(["B6", "UA", "AA"]) for _ in range(1000)],
        "distance": [float(chance.randrange(100, 3000)) for _ in range(1000)],
    }
    text = sum(len(json.dumps(dict(zip(record, row, strict=True)))) for row in zip(*record.values(), strict=True))
    assert len(pack({"record": record})) < text / 6
