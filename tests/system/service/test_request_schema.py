"""What is sent must be of the contract's types, and stays what it is: in the log, and until it is erased."""

import json
import random
import re
from collections.abc import Iterator
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import ibis
import msgspec
import pytest
import yaml
from fastapi.testclient import TestClient
from groundwork.data.erasure import erase
from groundwork.data.rules import REASONS, with_broken_rules
from groundwork.documents.contract.column import LONGEST_TEXT, Column
from groundwork.documents.contract.contract import Contract, Dataset
from groundwork.documents.pilot import Pilot
from groundwork.service import times
from groundwork.service.request_schema import BadRequest, OutcomesReader, RequestReader
from groundwork.store.database import Store
from other_tasks import Ran
from pilots import visits
from serving import served_here

CUSTOMERS = [2**53, 2**53 + 1, 1377007980063809541, 1377007980063809540, 2**63 - 1, -(2**63), 7]


def test_outcomes_are_of_the_contracts_type(ran: Ran, asked: TestClient) -> None:
    post = asked.get("/openapi.json").json()["paths"]["/predict"]["post"]
    example = post["requestBody"]["content"]["application/json"]["example"]
    one = asked.post("/predict", json=example).json()["predictions"][0]["prediction_id"]

    def tell(outcome: Any) -> Any:
        return asked.post("/outcomes", json={"outcomes": [{"prediction_id": one, "outcome": outcome}]})

    first, second = ran.variant.outcomes
    assert tell(first).json()["contradicting"] == []
    assert tell(first).json()["contradicting"] == []
    assert tell(second).json()["contradicting"] == [one]
    for outcome in ran.variant.no_outcomes:
        answer = tell(outcome)
        assert answer.status_code == 422, outcome
        assert "outcome" in answer.json()["detail"]


def reader(**options: Any) -> RequestReader:
    """Of a data set with the event time `at`, which has these options."""
    dataset = visits(name="n").model_dump(by_alias=True, exclude_unset=True)
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
        ("integer", {"type": "integer", "format": "int64"}),
        ("number", {"type": "number"}),
        ("string", {"type": "string", "pattern": "^a+$", "maxLength": LONGEST_TEXT}),
        ("timestamp", {"type": "string", "pattern": times.PATTERN}),
    ],
)
def test_a_column_that_may_be_missing_is_published_as_optional(logical_type: str, published: dict[str, Any]) -> None:
    """A default makes generated clients take it as present; a pattern for dates would refuse what the service takes."""
    column = {"name": "given", "logicalType": logical_type, "description": "", "examples": ["a"]}
    if logical_type == "string":
        column["logicalTypeOptions"] = {"pattern": published["pattern"]}
    columns = [*visits(name="stay").requested, Column.model_validate(column)]
    asked: Any = SimpleNamespace(dataset=SimpleNamespace(requested=columns, row_rules=[]))
    _, components = RequestReader(asked, 1).json_schema()
    assert components["Record"]["required"] == ["id", "at"]
    assert components["Record"]["properties"]["given"] == {
        "anyOf": [published, {"type": "null"}],
        "description": " Without an offset, the time is in UTC." if logical_type == "timestamp" else "",
    }


def reader_of(dataset: Dataset) -> RequestReader:
    contract: Any = SimpleNamespace(dataset=dataset)
    return RequestReader(contract, 10)


def sent(dataset: Dataset, value: str) -> Any:
    """The value of `n` that the service reads from this JSON."""
    body = f'{{"records": [{{"id": "a", "at": "2026-01-05T10:00:00", "n": {value}}}]}}'
    return reader_of(dataset).read(body.encode())[0].n


@pytest.mark.parametrize(
    ("json_number", "read"),
    [
        *((str(customer), customer) for customer in CUSTOMERS),
        ("3.0", 3),  # as pandas writes the integers of a column in which one is missing
        ("1e5", 100_000),
        ("-0.0", 0),
        (f"{2**53 - 1}.0", 2**53 - 1),
        ("null", None),
    ],
)
def test_an_integer_is_read_as_it_is(json_number: str, read: int | None) -> None:
    found = sent(visits(name="n"), json_number)
    assert (found, type(found)) == (read, type(read))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (str(2**63), "Expected an `int` of at most 64 bits"),
        (str(-(2**63) - 1), "Expected an `int` of at most 64 bits"),
        ("1" * 500, "Expected an `int` of at most 64 bits"),
        ("1.3e18", "without a fraction or an exponent, because a `float` beyond 2^53 is not exact"),
        (f"{2**53 + 1}.0", "without a fraction or an exponent, because a `float` beyond 2^53 is not exact"),
        ("1e300", "without a fraction or an exponent"),
        ("2.5", "Expected `int`, got a fraction"),
        ('"7"', "Expected `int | null`, got `str`"),
        ("true", "Expected `int | null`, got `bool`"),
    ],
)
def test_what_is_no_integer_of_64_bits_is_refused_with_the_reason(value: str, why: str) -> None:
    with pytest.raises(BadRequest) as refused:
        sent(visits(name="n"), value)
    assert why in str(refused.value)
    assert str(refused.value).endswith("- at `$.records[0].n`")


def test_the_limits_of_integers_are_exact() -> None:
    large = visits(name="n", logicalTypeOptions={"minimum": 2**53 + 1, "maximum": 2**53 + 1})
    assert sent(large, str(2**53 + 1)) == 2**53 + 1
    for beside in (2**53, 2**53 + 2):
        with pytest.raises(BadRequest, match=rf"Expected `int` [<>]= {2**53 + 1}"):
            sent(large, str(beside))
    half = visits(name="n", logicalTypeOptions={"minimum": 0.5, "maximum": 1e30})
    assert sent(half, "1") == 1
    with pytest.raises(BadRequest, match="Expected `int` >= 1"):
        sent(half, "0")


def test_an_integer_is_described_as_one() -> None:
    """As clients should send it: not as 3.0, and so that a generator takes 64 bits for it."""
    dataset = visits(
        {"name": "needed", "logicalType": "integer", "required": True, "examples": [1]},
        name="n",
        logicalTypeOptions={"minimum": 1},
    )
    described = reader_of(dataset).json_schema()[1]["Record"]["properties"]
    assert described["needed"] == {"type": "integer", "format": "int64", "description": ""}
    assert described["n"]["anyOf"] == [{"type": "integer", "format": "int64", "minimum": 1}, {"type": "null"}]


def test_an_outcome_that_the_log_cannot_hold_is_refused() -> None:
    """It keeps outcomes as floating-point numbers."""
    outcome = visits(name="n").columns[2].model_copy(update={"tags": ("outcome",)})

    def told(value: str) -> Any:
        [(_, found)] = OutcomesReader(outcome).read(
            f'{{"outcomes": [{{"prediction_id": "a", "outcome": {value}}}]}}'.encode()
        )
        return found

    assert [told("3"), told("3.0"), told(str(2**53 - 1))] == [3, 3, 2**53 - 1]
    for value in (str(2**53 + 1), "9" * 30, "1.3e18"):
        with pytest.raises(BadRequest, match=r"2\^53.* - at `\$\.outcomes\[0\]\.outcome`"):
            told(value)
    with pytest.raises(BadRequest, match="Expected `int`, got a fraction"):
        told("2.5")
    described = OutcomesReader(outcome).json_schema()[1]["Outcome"]["properties"]["outcome"]
    assert (described["type"], described["format"]) == ("integer", "int64")


@pytest.fixture
def with_customers(new_pilot: Pilot, store_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A service without a model, whose records name a customer, the subject, by an integer."""
    document = new_pilot.settings.home / "contract.yaml"
    contract = yaml.safe_load(document.read_text(encoding="utf-8"))
    customer = {"name": "customer", "logicalType": "integer", "description": "", "examples": [7], "tags": ["subject"]}
    contract["schema"][0]["properties"].append(customer | {"required": True})
    document.write_text(yaml.safe_dump(contract), encoding="utf-8")
    monkeypatch.setenv("SERVE_MODE", "no-model")
    monkeypatch.setenv("GROUNDWORK_STORE_URL", store_url)
    with served_here(Pilot.here(), from_cache=True) as client:
        yield client


def test_a_large_integer_is_logged_exactly_and_erasing_finds_it_and_only_it(with_customers: TestClient) -> None:
    pilot = Pilot.here()
    example = RequestReader(pilot.contract, 1).example["records"][0]
    records = [example | {"flight_id": f"2013-{number}-x", "customer": each} for number, each in enumerate(CUSTOMERS)]
    answer = with_customers.post("/predict", content=json.dumps({"records": records}))
    assert answer.status_code == 200, answer.text
    with Store(pilot.settings.store) as store:

        def logged() -> list[int]:
            found = store.predictions.between(datetime(1900, 1, 1), datetime(2200, 1, 1))
            return [json.loads(each.record)["customer"] for each in found]

        assert sorted(map(str, logged())) == sorted(map(str, CUSTOMERS))
        left = set(CUSTOMERS)
        for customer in CUSTOMERS:
            assert erase(pilot, store, str(customer)).predictions == 1, customer
            left.remove(customer)
            assert set(logged()) == left
    refused = with_customers.post("/predict", content=json.dumps({"records": [example | {"customer": 2**63}]}))
    assert refused.status_code == 422
    assert refused.json()["detail"] == "Expected an `int` of at most 64 bits - at `$.records[0].customer`"


@pytest.mark.parametrize(("options", "longest"), [({}, LONGEST_TEXT), ({"maxLength": 20_000}, 20_000)])
def test_a_text_of_unbounded_length_is_refused_as_ingest_refuses_it(options: dict[str, int], longest: int) -> None:
    """Characters are counted, not bytes."""
    dataset = visits(name="note", logicalType="string", examples=["hello"], logicalTypeOptions=options)
    asked = reader_of(dataset)
    rows = [
        {"id": str(length), "at": datetime(2026, 1, 1), "note": "\N{SNOWMAN}" * length}
        for length in (longest, longest + 1)
    ]
    assert len(asked.read(msgspec.json.encode({"records": rows[:1]}))) == 1
    with pytest.raises(BadRequest, match=rf"length <= {longest} - at `\$\.records\[1\]\.note`"):
        asked.read(msgspec.json.encode({"records": rows}))
    _, components = asked.json_schema()
    assert str(longest) in str(components["Record"]["properties"]["note"])
    types = {"id": "string", "at": "timestamp", "note": "string", "back": "bool"}
    table = ibis.memtable([row | {"back": None} for row in rows], schema=types)
    broken = with_broken_rules(table, dataset).order_by(ibis._.note.length()).to_pyarrow()[REASONS].to_pylist()
    assert broken == [None, f"note: is longer than {longest}"]
