"""What is sent must be of the contract's types."""

import json
import random
import re
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi.testclient import TestClient
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Contract
from groundwork.service import times
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


def reader(**options: Any) -> RequestReader:
    """Of a data set with the event time `at`, which has these options."""
    dataset = visits(name="n").model_dump(by_alias=True, exclude_none=True)
    dataset["properties"][1]["logicalTypeOptions"] = options
    described = {"apiVersion": "v3.1.0", "kind": "DataContract", "id": "v", "version": "1.0.0", "status": "draft"}
    return RequestReader(Contract.model_validate(described | {"schema": [dataset]}), 10)


def read(at: str, **options: Any) -> datetime:
    body = json.dumps({"records": [{"id": "a", "at": at, "n": 1}]}).encode()
    moment: datetime = reader(**options).read(body)[0].at
    return moment


@pytest.mark.parametrize(
    ("sent", "berlin", "utc"),
    [
        ("2028-02-29T10:00:00", "2028-02-29T10:00:00+01:00", "2028-02-29T10:00:00"),
        ("2026-01-01T00:30:00+02:00", "2025-12-31T23:30:00+01:00", "2025-12-31T22:30:00"),
        ("2026-07-01T00:30:00Z", "2026-07-01T02:30:00+02:00", "2026-07-01T00:30:00"),
        ("2026-07-01T00:30:00.1234567", "2026-07-01T00:30:00.123457+02:00", "2026-07-01T00:30:00.123457"),
        ("2026-10-25T02:30:00", "2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00"),
        ("2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00"),
        ("2026-03-29T02:30:00", "2026-03-29T03:30:00+02:00", "2026-03-29T02:30:00"),
    ],
)
def test_a_time_is_read_in_the_contracts_zone_with_or_without_an_offset(sent: str, berlin: str, utc: str) -> None:
    assert read(sent, defaultTimezone="Europe/Berlin").isoformat() == berlin
    assert read(sent).isoformat() == read(sent, defaultTimezone="Etc/UTC").isoformat() == utc


def test_the_published_pattern_says_which_times_are_accepted() -> None:
    """Sound times, sound times with one character changed, and days at the ends of months, of leap years and others."""
    asked = reader()
    described = asked.json_schema()[1]["Record"]["properties"]["at"]
    assert "format" not in described  # it would demand an offset
    assert described["description"].endswith("Without an offset, the time is in UTC.")
    pattern, chance = re.compile(described["pattern"]), random.Random(0)
    sound = [
        f"{year}-{month:02}-{day:02}{letter}{clock}"
        for year in ("0999", "1000", "1900", "2000", "2027", "2028", "2100", "2400", "9998")
        for month in (0, 1, 2, 4, 12, 13)
        for day in (0, 1, 28, 29, 30, 31, 32)
        for letter, clock in (("T", "23:59:59"), ("t", "00:00:00Z"), (" ", "10:00:00.25+05:45"), ("T", "10:00:00-0930"))
    ]
    ends = ["", ".", ".5", ".123456789", "z", "+24:00", "+23:59", "-23:60", "+02", " +02:00", ",5", "+02:00:00", "Z "]
    near = [
        at.replace(at[place], chance.choice("0123456789-:+TZ .x"), 1) for at in sound[::7] for place in range(len(at))
    ]
    accepted = 0
    for at in [*sound, *near, *(f"2028-02-29T10:00:00{end}" for end in ends)]:
        try:
            asked.read(json.dumps({"records": [{"id": "a", "at": at, "n": 1}]}).encode())
        except BadRequest:
            assert not pattern.search(at), at
        else:
            accepted += 1
            assert pattern.search(at), at
    assert 1000 < accepted < len(sound) + len(near)


@pytest.mark.parametrize(
    ("logical_type", "published"),
    [
        ("integer", {"type": "integer", "multipleOf": 1}),
        ("number", {"type": "number"}),
        ("string", {"type": "string", "pattern": "^a+$"}),
        ("timestamp", {"type": "string", "pattern": times.PATTERN}),
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
        "description": " Without an offset, the time is in UTC." if logical_type == "timestamp" else "",
    }
