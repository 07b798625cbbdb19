"""A contract's data set for a table that a test makes up."""

from typing import Any

import pandas as pd
from groundwork.documents.contract.column import BINARY, Task
from groundwork.documents.contract.contract import Dataset
from pandas.api.types import is_numeric_dtype

OUTCOMES = {
    "binary": {"logicalType": "boolean", "examples": [True]},
    "regression": {"logicalType": "number", "examples": [1.5]},
}


def described(frame: pd.DataFrame, task: Task = BINARY, **changes: dict[str, Any]) -> Dataset:
    """The data set whose features are the frame's columns: text or numbers without limits that may be missing.

    `changes` has keys of the contract for single columns.
    """
    outcome = OUTCOMES.get(task.kind) or {
        "logicalType": "string",
        "examples": [task.classes[0]],
        "quality": [{"metric": "invalidValues", "arguments": {"validValues": list(task.classes)}, "mustBe": 0}],
    }
    columns: list[dict[str, Any]] = [
        {"name": "row_id", "logicalType": "string", "primaryKey": True, "examples": ["a"]},
        {
            "name": "happened_at",
            "logicalType": "timestamp",
            "tags": ["event_time"],
            "examples": ["2013-01-01T00:00:00"],
        },
        {"name": "outcome", "tags": ["outcome"]} | outcome,
    ]
    for name in frame:
        kind, example = ("number", 1) if is_numeric_dtype(frame[name]) else ("string", "a")
        column = {"name": name, "logicalType": kind, "tags": ["feature"], "examples": [example]}
        columns.append(column | changes.get(str(name), {}))
    return Dataset.model_validate({"name": "rows", "properties": [{"description": "-"} | each for each in columns]})
