"""The examples of a column are values of that column: the API's description shows them."""

from typing import Any

import pytest
from groundwork.documents.contract.column import Column


def column(logical_type: str, examples: list[Any], **more: Any) -> Column:
    content = {"name": "it", "description": "", "logicalType": logical_type, "examples": examples} | more
    return Column.model_validate(content)


@pytest.mark.parametrize(
    ("logical_type", "good", "bad"),
    [
        ("string", ["Rome", "", None], [7, True, 20131224]),
        ("integer", [7, 7.0, -1, None], ["7", 7.5, True]),
        ("number", [7, 7.5, None], ["7.5", False]),
        ("boolean", [True, False, None], [1, "true"]),
        (
            "timestamp",
            ["2013-12-24T18:25:00", "2013-12-24T18:25:00.5", "2013-12-24T18:25:00Z", "2013-12-24T18:25:00+02:00"],
            ["2013-12-24", "2013-12-24 18:25:00", "2013-02-30T00:00:00", 20131224, "yesterday"],
        ),
    ],
)
def test_an_example_is_of_the_columns_type(logical_type: str, good: list[Any], bad: list[Any]) -> None:
    assert list(column(logical_type, good).wrong_examples()) == []
    found = list(column(logical_type, bad).wrong_examples())
    assert len(found) == len(bad)
    assert all(
        line.startswith("it: examples: must be ") and line.endswith(f"found {each!r}")
        for line, each in zip(found, bad, strict=True)
    )


@pytest.mark.parametrize(
    ("options", "example", "mistake"),
    [
        ({"logicalTypeOptions": {"minimum": 1}}, 0, "must be within the column's limits"),
        ({"logicalTypeOptions": {"maximum": 1}}, 2, "must be within the column's limits"),
        ({"logicalTypeOptions": {"minLength": 3}}, "ab", "must be within the column's limits"),
        ({"logicalTypeOptions": {"pattern": "^[A-Z]+$"}}, "ab", "must match ^[A-Z]+$"),
        ({"required": True}, None, "a value is required"),
        (
            {"quality": [{"metric": "invalidValues", "arguments": {"validValues": ["a", "b"]}, "mustBe": 0}]},
            "c",
            "must be one of a, b",
        ),
    ],
)
def test_an_example_keeps_the_columns_rules(options: dict, example: Any, mistake: str) -> None:
    kind = "number" if isinstance(example, int) else "string"
    [found] = column(kind, [example], **options).wrong_examples()
    assert found == f"it: examples: {mistake}, found {example!r}"
