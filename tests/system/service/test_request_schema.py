"""What is sent must be of the contract's types."""

from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from groundwork.documents.contract.column import Column
from groundwork.service.request_schema import RequestReader
from other_tasks import Ran
from pilots import visits


def test_outcomes_are_of_the_contracts_type(ran: Ran, asked: TestClient) -> None:
    def tell(outcome: Any) -> Any:
        return asked.post("/outcomes", json={"outcomes": [{"prediction_id": "one", "outcome": outcome}]})

    first, second = ran.variant.outcomes
    assert tell(first).json()["contradicting"] == []
    assert tell(first).json()["contradicting"] == []
    assert tell(second).json()["contradicting"] == ["one"]
    for outcome in ran.variant.no_outcomes:
        answer = tell(outcome)
        assert answer.status_code == 422, outcome
        assert "outcome" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("logical_type", "published"),
    [
        ("integer", {"type": "integer", "multipleOf": 1}),
        ("number", {"type": "number"}),
        ("string", {"type": "string", "pattern": "^a+$"}),
        ("timestamp", {"type": "string", "format": "date-time"}),
    ],
)
def test_a_column_that_may_be_missing_is_published_as_optional(logical_type: str, published: dict[str, Any]) -> None:
    """A default makes generated clients take it as present; a pattern for dates would refuse what the service takes."""
    column = {"name": "given", "logicalType": logical_type, "description": "", "examples": ["a"]}
    if "pattern" in published:
        column["logicalTypeOptions"] = {"pattern": published["pattern"]}
    columns = [*visits(name="stay").requested, Column.model_validate(column)]
    asked: Any = SimpleNamespace(dataset=SimpleNamespace(requested=columns, row_rules=[]))
    _, components = RequestReader(asked, 1).json_schema()
    assert components["Record"]["required"] == ["id", "at"]
    assert components["Record"]["properties"]["given"] == {
        "anyOf": [published, {"type": "null"}],
        "description": "",
    }
