"""The use case's functions are called in one way, with the rows' columns where they ask for them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from groundwork.core.errors import UseCaseError
from groundwork.documents.contract.contract import Dataset
from groundwork.models.serving import deciding
from groundwork.models.serving.deciding import NO_ROWS, Rows, rows_of_inputs
from groundwork.models.serving.predictor import arrays
from groundwork.store.batches import Logged, StoredBatch, block
from loans import COLUMNS
from stores import batch
from use_case import decision

LOANS = Dataset.model_validate(
    {"name": "loans", "properties": [{"description": each["name"]} | each for each in COLUMNS]}
)
RAW: dict[str, list[Any]] = {
    "asked_at": [datetime(2026, 1, 5, 9, 30), datetime(2026, 1, 6)],
    "income": [31000.1, 0.1],
    "years": [3, None],
    "amount": [2**53 + 1, 9000],
    "purpose": ["", None],
    "secured": [True, False],
}
SCORES = np.array([0.1, 0.2], dtype=np.float32)
WORTH = {"cost": 1.0}


def of_list() -> Rows:
    return Rows(LOANS.decision_columns, RAW.__getitem__)


def of_arrow() -> Rows:
    table = pa.table(RAW)
    return Rows(LOANS.decision_columns, lambda name: table[name])


def of_log() -> Rows:
    texts = {"asked_at": [each.isoformat() for each in RAW["asked_at"]]}
    return logged(RAW | texts, LOANS)


def logged(record: dict[str, list[Any]], dataset: Dataset) -> Rows:
    """The rows of a batch in the prediction log."""
    rows = len(next(iter(record.values())))
    columns = block(keys=["a"] * rows, times=["2026"] * rows, decisions=["keep"] * rows, scores=None, record=record)
    found = Logged([StoredBatch(batch(range(rows), columns=columns))])
    return Rows(dataset.decision_columns, found.record)


@pytest.mark.parametrize("made", [of_list, of_arrow, of_log])
def test_raw_values_are_the_same_from_a_request_the_snapshots_and_the_log(made: Callable[[], Rows]) -> None:
    rows = made()
    assert list(rows) == list(RAW)  # neither the key, nor the outcome, nor what may not be in the log
    kinds = {name: str(values.dtype) for name, values in rows.items()}
    assert kinds == {
        "asked_at": "datetime64[us]",
        "income": "float64",
        "years": "float64",
        "amount": "int64",
        "purpose": "object",
        "secured": "bool",
    }
    assert rows["asked_at"].tolist() == RAW["asked_at"]
    assert rows["amount"].tolist() == RAW["amount"]
    assert rows["income"].tolist() == RAW["income"]
    np.testing.assert_array_equal(rows["years"], [3, np.nan])
    assert rows["purpose"].tolist() == ["", None]
    assert rows["secured"].tolist() == [True, False]


def test_times_are_local_wherever_they_come_from() -> None:
    """A request and the log hold the offset, the snapshots hold UTC."""
    described = [dict(each) for each in COLUMNS]
    described[1]["logicalTypeOptions"] = {"defaultTimezone": "Europe/Berlin"}
    berlin = Dataset.model_validate({"name": "loans", "properties": [{"description": ""} | each for each in described]})
    asked = datetime(2026, 7, 5, 9, 30, tzinfo=timezone(timedelta(hours=2)))
    snapshot = pa.array([asked.astimezone(UTC)], pa.timestamp("us", "UTC"))
    for rows in (
        Rows(berlin.decision_columns, lambda name: [asked]),
        Rows(berlin.decision_columns, lambda name: snapshot),
        logged({"asked_at": [asked.isoformat()]}, berlin),
    ):
        assert rows["asked_at"].tolist() == [datetime(2026, 7, 5, 9, 30)]


def test_what_was_logged_before_a_column_existed_is_missing() -> None:
    rows = logged({"income": [1]}, LOANS)
    assert np.isnan(rows["amount"]).all()
    assert rows["secured"].tolist() == [None]
    assert np.isnat(rows["asked_at"]).all()


def test_no_column_is_read_before_it_is_asked_for() -> None:
    read: list[str] = []
    rows = Rows(LOANS.decision_columns, lambda name: read.append(name) or RAW[name])  # type: ignore[func-returns-value]
    part = rows.part(np.array([1]))
    assert len(rows) == 6
    assert "amount" in rows
    assert read == []
    assert part["amount"].tolist() == [9000]
    assert rows["amount"][0] == RAW["amount"][0]
    assert read == rows.asked == ["amount"]


def test_a_column_cannot_be_changed_for_the_function_that_comes_next() -> None:
    with pytest.raises(ValueError, match="read-only"):
        of_list()["amount"][0] = 0


def test_an_unknown_column_is_named_beside_those_there_are() -> None:
    with pytest.raises(UseCaseError) as refused:
        of_list()["amuont"]
    has = "asked_at, income, years, amount, purpose, secured"
    assert str(refused.value) == f"src/use_case/decision.py: rows has no column 'amuont'; it has {has}"
    assert of_list().get("amuont") is None
    assert "amuont" not in of_list()


def test_inputs_of_the_model_become_raw_values_again() -> None:
    """A proof asks for decisions on rows of its own; a column that is no feature comes from known rows."""
    described = [
        {"name": "id", "logicalType": "string", "primaryKey": True, "examples": [""]},
        {"name": "at", "logicalType": "timestamp", "tags": ["event_time"], "examples": [""]},
        {"name": "city", "logicalType": "string", "tags": ["feature"], "required": True, "examples": [""]},
        {"name": "street", "logicalType": "string", "tags": ["feature"], "examples": [""]},
        {"name": "rooms", "logicalType": "integer", "tags": ["feature"], "required": True, "examples": [1]},
        {"name": "size", "logicalType": "number", "tags": ["feature"], "examples": [1]},
        {"name": "new", "logicalType": "boolean", "tags": ["feature"], "examples": [True]},
        {"name": "asked", "logicalType": "integer", "required": True, "examples": [1]},
        {"name": "sold", "logicalType": "boolean", "tags": ["outcome"], "examples": [True]},
    ]
    homes = Dataset.model_validate({"name": "homes", "properties": [{"description": ""} | each for each in described]})
    raw: dict[str, list[Any]] = {
        "city": ["Rome", "", "Oslo"],
        "street": ["Via", None, ""],
        "rooms": [3, 1, 2],
        "size": [71.5, None, 30.0],
        "new": [True, None, False],
    }
    others = Rows(homes.decision_columns, {"asked": [2**53 + 1, 9000]}.__getitem__)
    rows = rows_of_inputs(arrays(raw, homes.features), homes, others)
    assert rows["city"].tolist() == ["Rome", "", "Oslo"]
    assert rows["street"].tolist() == ["Via", None, None]
    assert (rows["rooms"].dtype, rows["rooms"].tolist()) == (np.int64, [3, 1, 2])
    np.testing.assert_array_equal(rows["size"], [71.5, np.nan, 30])
    assert rows["new"].tolist() == [True, None, False]
    assert rows["asked"].tolist() == [2**53 + 1, 9000, 2**53 + 1]
    far = rows_of_inputs(arrays(raw | {"rooms": [1e30, 1, 2]}, homes.features), homes, others)
    assert far["rooms"][0] == np.float32(1e30)


def by_amount(scores: Any, worth: Any, *, rows: Any) -> Any:
    return np.where(rows["amount"] > 10_000, "grant", "refuse")


def by_score(scores: Any, worth: Any) -> Any:
    return np.where(scores > 0.15, "grant", "refuse")


@pytest.mark.parametrize(
    ("decide", "rows", "decided"),
    [
        (by_amount, True, ["grant", "refuse"]),
        (lambda scores, worth, rows: by_amount(scores, worth, rows=rows), True, ["grant", "refuse"]),
        (lambda scores, worth, **others: by_amount(scores, worth, **others), True, ["grant", "refuse"]),
        (by_score, False, ["refuse", "grant"]),
        (lambda scores, worth, least=0.15: by_score(scores, worth), False, ["refuse", "grant"]),
    ],
)
def test_a_function_is_given_the_rows_if_it_takes_them(
    decide: Any, rows: bool, decided: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "decide", decide)
    assert deciding.use_rows() is rows
    given = of_list() if rows else NO_ROWS
    assert deciding.decide(SCORES, WORTH, given).tolist() == decided


@pytest.mark.parametrize(
    ("name", "function", "told"),
    [
        ("decide", lambda scores: scores, "decide(scores) takes other arguments; required: decide(scores, worth), "),
        ("value", lambda decisions, outcomes, worth, amount: 0, "or value(decisions, outcomes, worth, *, rows)"),
        ("without_model", None, "src/use_case/decision.py has no function without_model(columns)"),
    ],
)
def test_a_wrong_signature_is_one_line(name: str, function: Any, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, name, function)
    with pytest.raises(UseCaseError) as refused:
        deciding.use_rows()
    assert str(refused.value).startswith("src/use_case/decision.py")
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("returned", [np.array(["grant"]), "grant", np.array([["grant"], ["refuse"]])])
def test_another_number_of_decisions_is_refused(returned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "decide", lambda scores, worth: returned)
    with pytest.raises(UseCaseError, match=r"decide\(\) returns an array of the shape .* for 2 rows; required"):
        deciding.decide(SCORES, WORTH, NO_ROWS)


@pytest.mark.parametrize("returned", [[1.0, np.nan], [0, np.inf], [5, None]])
def test_money_that_is_no_number_is_refused(returned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "value", lambda decisions, outcomes, worth: np.array(returned))
    with pytest.raises(UseCaseError, match=r"value\(\) returns no finite number for 1 of 2 rows, first for row 1;"):
        deciding.value(np.array(["grant", "refuse"]), np.array([True, False]), WORTH, NO_ROWS)
