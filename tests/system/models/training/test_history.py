"""Training sees the past, the gate the newest window, and both only rows whose outcome is known."""

import json
import math
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pyarrow as pa
import pytest
from groundwork.core.errors import NotEnoughData
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import Decisions, metric_estimate
from groundwork.models.training.history import History, examples, read_history
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from other_tasks import MULTICLASS, Ran, change
from pilots import visits
from sklearn.metrics import roc_auc_score


def test_training_sees_the_past_and_the_gate_the_newest_window(pilot: Pilot) -> None:
    history = read_history(pilot)
    assert str(history.past) == "2013-01-01 to 2013-01-31"
    assert (str(history.judged), history.judged_because) == ("2013-02-01 to 2013-02-28", "")
    rows = Snapshots(pilot.snapshots, pilot.contract.dataset).read().to_pylist()
    known = [int(row["flight_id"][4:6]) for row in rows if row["late"] is not None]
    assert (len(history.training), len(history.evaluation)) == (known.count(1), known.count(2))
    assert "late" not in history.training.columns
    local = {f"2013-01-0{day}" for day in range(1, 8)}  # the evenings too, which in UTC are the next day's
    assert set(map(str, history.training.days)) == local


WEEKS = 20
BEGAN = datetime(2024, 1, 1)  # a Monday


def weekly(
    folder: Path,
    *,
    positive: Callable[[datetime], bool],
    known: Callable[[datetime], bool] = lambda day: True,
    least: int = 1,
    ahead: timedelta | None = None,
) -> History:
    """The history of a pilot with weekly windows of four rows a day, where one row of a `positive` day is true.

    `ahead` adds a row with a known outcome that far after now.
    """
    dataset = visits(name="group", logicalType="integer", tags=["feature"])
    days = [BEGAN + timedelta(days=day) for day in range(7 * WEEKS)]
    rows = [
        {"id": f"{day:%j}-{row}", "at": day, "group": row, "back": positive(day) and row == 0 if known(day) else None}
        for day in days
        for row in range(4)
    ]
    if ahead:
        rows.append({"id": "ahead", "at": datetime.now(UTC).replace(tzinfo=None) + ahead, "group": 1, "back": True})
    types = {"id": pa.string(), "at": pa.timestamp("us"), "group": pa.int64(), "back": pa.bool_()}
    table = Snapshots(folder / "snapshots", dataset)
    table.replace(pa.Table.from_pylist(rows, pa.schema(types.items())), BEGAN, datetime(2200, 1, 1))
    charter = SimpleNamespace(gate=SimpleNamespace(min_rows=least), monitoring=SimpleNamespace(window="week"))
    contract = SimpleNamespace(dataset=dataset)
    return read_history(cast(Pilot, SimpleNamespace(contract=contract, charter=charter, snapshots=table.path)))


def every_day(day: datetime) -> bool:
    return True


def on_mondays(day: datetime) -> bool:
    return day.weekday() == 0


NEWEST = "2024-05-13 to 2024-05-19"


def test_a_newest_window_with_enough_rows_is_judged_alone(tmp_path: Path) -> None:
    history = weekly(tmp_path, positive=every_day, least=28)
    assert (str(history.judged), history.judged_because, len(history.evaluation)) == (NEWEST, "", 28)


@pytest.mark.parametrize(
    ("positive", "least", "judged", "lacking"),
    [
        (every_day, 29, 2, "28 rows with a known outcome, and gate.minRows is 29"),
        (every_day, 100, 4, "28 rows with a known outcome, and gate.minRows is 100"),
        (on_mondays, 1, 3, r"both outcomes on too few days for a confidence bound \(28 rows\)"),
    ],
)
def test_earlier_windows_are_judged_too_until_they_are_enough(
    positive: Callable[[datetime], bool], least: int, judged: int, lacking: str, tmp_path: Path
) -> None:
    """No row that is judged is trained on, and there is a bound, whatever the scores are."""
    history = weekly(tmp_path, positive=positive, least=least)
    begins = BEGAN + timedelta(weeks=WEEKS - judged)
    assert (history.judged.start, history.judged.end) == (begins, BEGAN + timedelta(weeks=WEEKS))
    assert (history.past.start, history.past.end) == (BEGAN, begins)
    assert re.fullmatch(
        f"the newest window, {NEWEST}, has {lacking}: the newest {judged} with known outcomes are judged",
        history.judged_because,
    )
    assert (len(history.training), len(history.evaluation)) == (28 * (WEEKS - judged), 28 * judged)
    made = Decisions(np.zeros(28 * judged), np.arange(28.0 * judged), history.evaluation.days)
    found = metric_estimate(roc_auc_score, history.evaluation.outcomes, made, None, 0.95)
    assert not math.isnan(found.lower)


@pytest.mark.parametrize(
    ("positive", "least"),
    [(every_day, 28 * WEEKS // 2 + 1), (lambda day: day < BEGAN + timedelta(days=2), 1)],
)
def test_half_of_the_rows_stay_for_training(positive: Callable[[datetime], bool], least: int, tmp_path: Path) -> None:
    """What half of them cannot show is unknown: the newest window is judged, and the gate refuses."""
    history = weekly(tmp_path, positive=positive, least=least)
    assert str(history.judged) == NEWEST
    assert history.judged_because.endswith("at least half of the rows are for training")


def test_a_window_whose_outcomes_are_not_known_yet_is_not_judged(tmp_path: Path) -> None:
    last = BEGAN + timedelta(weeks=WEEKS - 1)
    history = weekly(tmp_path, positive=every_day, known=lambda day: day < last)
    assert str(history.judged) == "2024-05-06 to 2024-05-12"
    assert history.judged_because.endswith("and gate.minRows is 1: 2024-05-06 to 2024-05-12 is judged")


def test_a_row_of_a_wrong_year_that_was_let_in_earlier_is_no_newest_window(tmp_path: Path) -> None:
    history = weekly(tmp_path, positive=every_day, ahead=timedelta(days=365))
    assert (str(history.judged), history.judged_because) == (NEWEST, "")


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
