"""Training sees the past, the gate the newest window, and both only rows whose outcome is known."""

import json
from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
import pytest
from groundwork.core.errors import NotEnoughData
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.training.history import examples, read_history
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from other_tasks import MULTICLASS, Ran, change
from pilots import visits


def test_training_sees_the_past_and_the_gate_the_newest_window(pilot: Pilot) -> None:
    history = read_history(pilot)
    assert str(history.past) == "2013-01-01 to 2013-01-31"
    assert str(history.judged) == "2013-02-01 to 2013-02-28"
    rows = Snapshots(pilot.snapshots, pilot.contract.dataset).read().to_pylist()
    known = [int(row["flight_id"][4:6]) for row in rows if row["late"] is not None]
    assert (len(history.training), len(history.evaluation)) == (known.count(1), known.count(2))
    assert "late" not in history.training.columns
    local = {f"2013-01-0{day}" for day in range(1, 8)}  # the evenings too, which in UTC are the next day's
    assert set(map(str, history.training.days)) == local


def test_without_snapshots_there_is_nothing_to_train_on(new_pilot: Pilot) -> None:
    with pytest.raises(NotEnoughData, match="run `groundwork ingest` first"):
        read_history(new_pilot)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("delete from flights where month = 1", "0 rows have a known outcome, but they lack both outcomes"),
        ("update flights set arr_delay = -5", "rows have a known outcome, but late is False in all of them: ingest"),
        (
            "update flights set arr_delay = null",
            "the outcome late is empty in all .* rows: correct it in src/use_case/so",
        ),
    ],
)
def test_without_both_outcomes_in_the_past_there_is_nothing_to_learn(
    change: str, said: str, new_pilot: Pilot, sql: Callable
) -> None:
    sql(new_pilot, change)
    by_hand.ingest(Pilot.here())
    with pytest.raises(NotEnoughData, match=said):
        by_hand.train(Pilot.here())
    [failed] = Store(new_pilot.settings.store).runs.latest(succeeded=False)
    assert failed.message.startswith("NotEnoughData: before the newest window (2013-02-01 to 2013-02-28)")


def test_the_contracts_outcome_decides_what_is_predicted(ran: Ran) -> None:
    assert ran.pilot.contract.dataset.task == ran.variant.task


def test_a_class_that_never_occurred_cannot_be_learnt(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    if ran.variant.task.kind != "multiclass":
        pytest.skip("there are no classes")
    contract = ran.pilot.settings.home / "contract.yaml"
    before = contract.read_text(encoding="utf-8")
    try:
        outcome = json.loads(json.dumps(MULTICLASS.outcome))
        outcome["quality"][0]["arguments"]["validValues"].append("diverted")
        change(contract, "schema.0.properties.-1", outcome)
        with pytest.raises(NotEnoughData, match="they lack diverted"):
            read_history(Pilot.here())
    finally:
        contract.write_text(before, encoding="utf-8")


@pytest.mark.parametrize(
    ("logical_type", "values"), [("string", ["missing", None]), ("integer", [10, None]), ("boolean", [False, None])]
)
def test_a_slice_has_its_own_values_and_none_where_there_is_none(logical_type: str, values: list) -> None:
    dataset = visits(name="group", logicalType=logical_type, tags=["feature", "slice"])
    rows = pa.table({"id": ["a", "b"], "at": [datetime(2026, 1, 1)] * 2, "group": values, "back": [True, False]})
    found = examples(rows, dataset).slices["group"]
    assert found.tolist() == values
    assert found.shape == (2,)
