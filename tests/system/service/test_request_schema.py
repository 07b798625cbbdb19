"""What is sent must be of the contract's types."""

from typing import Any

from fastapi.testclient import TestClient
from other_tasks import Ran


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
