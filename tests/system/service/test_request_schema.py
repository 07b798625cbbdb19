"""What is sent must be of the contract's types."""

from datetime import datetime
from types import SimpleNamespace
from typing import Any

import ibis
import msgspec
import pytest
from fastapi.testclient import TestClient
from groundwork.data.rules import REASONS, with_broken_rules
from groundwork.documents.contract.column import LONGEST_TEXT
from groundwork.service.request_schema import BadRequest, RequestReader
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


@pytest.mark.parametrize(("options", "longest"), [({}, LONGEST_TEXT), ({"maxLength": 20_000}, 20_000)])
def test_a_text_of_unbounded_length_is_refused_as_ingest_refuses_it(options: dict[str, int], longest: int) -> None:
    """Characters are counted, not bytes."""
    dataset = visits(name="note", logicalType="string", examples=["hello"], logicalTypeOptions=options)
    reader = RequestReader(SimpleNamespace(dataset=dataset), max_records=10)  # type: ignore[arg-type]
    rows = [
        {"id": str(length), "at": datetime(2026, 1, 1), "note": "\N{SNOWMAN}" * length}
        for length in (longest, longest + 1)
    ]
    assert len(reader.read(msgspec.json.encode({"records": rows[:1]}))) == 1
    with pytest.raises(BadRequest, match=rf"length <= {longest} - at `\$\.records\[1\]\.note`"):
        reader.read(msgspec.json.encode({"records": rows}))
    _, components = reader.json_schema()
    assert str(longest) in str(components["Record"]["properties"]["note"])
    types = {"id": "string", "at": "timestamp", "note": "string", "back": "bool"}
    table = ibis.memtable([row | {"back": None} for row in rows], schema=types)
    broken = with_broken_rules(table, dataset).order_by(ibis._.note.length()).to_pyarrow()[REASONS].to_pylist()
    assert broken == [None, f"note: is longer than {longest}"]
