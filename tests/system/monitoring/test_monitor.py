"""Drift is measured where it can be, and said to be unknown, with the reason, wherever it cannot."""

from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import mlflow
import numpy as np
import pandas as pd
import pytest
from groundwork.core.windows import Window
from groundwork.documents.charter import Monitoring
from groundwork.documents.contract.column import Column
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import promote, reconcile
from groundwork.models.registry.registry import Registry
from groundwork.monitoring import drift as drift_module
from groundwork.monitoring.drift import DriftUnknown, measure
from groundwork.monitoring.monitor import check_drift
from groundwork.pipeline import monitor as monitor_module
from groundwork.pipeline import work
from groundwork.store.database import Store
from groundwork.store.drifts import Drift

pytestmark = pytest.mark.usefixtures("plain_steps")

JANUARY = Window(datetime(2013, 1, 1), datetime(2013, 2, 1))
DECEMBER = Window(datetime(2013, 12, 1), datetime(2014, 1, 1))
LIMITS = Monitoring(window="month", drift_distance=0.1, max_drifted_share=0.2, min_rows=500)

NUMBERS = ["age", "score"]

random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "city": random.choice(["Rome", "Oslo"], 1000).astype(object),
        "age": random.normal(40, 10, 1000).astype(np.float32),
        "score": random.random(1000).astype(np.float32),
    }
)


def checked(pilot: Pilot, window: Window) -> Drift:
    """What a check finds, which is what it records."""
    with Store(pilot.settings.store) as store:
        found = check_drift(pilot, store, window)
        recorded = store.drift.latest()
    assert recorded is not None
    assert (recorded.status, recorded.reason) == (found.status, found.reason)
    return found


@pytest.fixture
def december(pilot_copy: Pilot, first_weeks: Path) -> Pilot:
    """The pilot after December: its flights came in, and the champion of January decided about them."""
    with duckdb.connect(str(pilot_copy.settings.data_folder / "operational.duckdb")) as connection:
        connection.execute(f"attach '{first_weeks}' as weeks (read_only)")
        connection.execute("insert into flights from weeks.flights where month = 12")
    work.ingest(Pilot.here(), *DECEMBER)
    work.score(Pilot.here())
    return pilot_copy


def test_december_has_drifted_from_january(december: Pilot) -> None:
    found = checked(december, DECEMBER)
    assert found.status == "drift"
    assert "origin_late_share_yesterday" in found.drifted
    assert set(found.distances) == {*december.contract.dataset.feature_names, "score"}
    assert found.share > 0.2
    assert found.report == str(december.settings.reports / "drift-2013-12-01.html")
    assert "<html" in Path(found.report).read_text(encoding="utf-8")[:1000].lower()
    [run] = mlflow.search_runs(
        experiment_names=[Registry(december).name], filter_string="run_name = 'monitor'", output_format="list"
    )
    assert run.data.metrics["drifted_share"] == found.share
    assert [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)] == ["drift-2013-12-01.html"]


def test_the_data_it_was_trained_on_has_not_drifted(pilot_copy: Pilot) -> None:
    work.score(Pilot.here(), *JANUARY)
    found = checked(pilot_copy, JANUARY)
    assert (found.status, found.drifted) == ("ok", [])
    assert max(found.distances.values()) < 0.05


def test_the_share_that_is_tolerated_is_the_charters(december: Pilot, set_in: Any) -> None:
    set_in(december.settings.home / "charter.yaml", "monitoring.maxDriftedShare", 1.0)
    assert checked(Pilot.here(), DECEMBER).status == "ok"


def test_equal_data_have_no_distance_and_changed_data_have(tmp_path: Path) -> None:
    shifted = FRAME.assign(age=FRAME["age"] + 5, city="Rome")
    assert measure(FRAME, FRAME, NUMBERS, LIMITS, tmp_path / "equal.html").distances == {
        "city": 0,
        "age": 0,
        "score": 0,
    }
    changed = measure(FRAME, shifted, NUMBERS, LIMITS, tmp_path / "changed.html")
    assert sorted(changed.drifted) == ["age", "city"]
    assert changed.distances["age"] == pytest.approx(0.5, abs=0.05)  # in standard deviations
    assert changed.share == pytest.approx(2 / 3)


@pytest.mark.parametrize("rows", [900, 1100])
def test_the_measure_keeps_its_meaning_whatever_the_number_of_rows(rows: int, tmp_path: Path) -> None:
    """Evidently by itself turns from p-values to distances at a thousand rows."""
    reference = pd.concat([FRAME, FRAME]).head(rows)
    shifted = reference.assign(age=reference["age"] + 20)
    found = measure(reference, shifted, NUMBERS, LIMITS, tmp_path / "report.html")
    assert found.drifted == ["age"]
    assert found.distances["age"] == pytest.approx(2, abs=0.2)


def test_the_contract_says_what_is_a_number(tmp_path: Path) -> None:
    """Not its storage: codes that trade places are another mix of categories, and a small step between numbers."""
    codes = FRAME.assign(code=np.where(FRAME.index % 10 == 0, 1.0, 1000.0).astype(np.float32))
    swapped = FRAME.assign(code=np.where(FRAME.index % 10 == 0, 1000.0, 1.0).astype(np.float32))
    as_number = measure(codes, swapped, [*NUMBERS, "code"], LIMITS, tmp_path / "report.html")
    as_category = measure(codes, swapped, NUMBERS, LIMITS, tmp_path / "report.html")
    assert as_number.distances["code"] > 2
    assert 0 < as_category.distances["code"] <= 1
    column = {"name": "code", "description": "", "examples": [1]}
    for kind, tags, numeric in (
        ("integer", [], True),
        ("number", ["feature"], True),
        ("integer", ["feature", "categorical"], False),
        ("boolean", ["feature"], False),
        ("string", ["feature"], False),
    ):
        assert Column.model_validate(column | {"logicalType": kind, "tags": tags}).numeric == numeric


def test_unseen_categories_and_some_missing_values_can_be_measured(tmp_path: Path) -> None:
    current = FRAME.assign(city="Paris", age=FRAME["age"].where(FRAME.index % 2 == 0))
    assert measure(FRAME, current, NUMBERS, LIMITS, tmp_path / "report.html").drifted == ["city"]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (FRAME.head(499), "499 rows, at least 500 are needed"),
        (FRAME.head(0), "0 rows, at least 500 are needed"),
        (FRAME.drop(columns="age"), "the column age is missing"),
        (FRAME.assign(age=np.nan), "the column age holds no values"),
        (FRAME.assign(city=None), "the column city holds no values"),
    ],
)
def test_what_cannot_be_measured_is_unknown(broken: pd.DataFrame, reason: str, swapped: bool, tmp_path: Path) -> None:
    """On either side."""
    reference, current = (broken, FRAME) if swapped else (FRAME, broken)
    side = "the training window" if swapped else "the logged predictions"
    with pytest.raises(DriftUnknown, match=f"{side}: {reason}"):
        measure(reference, current, NUMBERS, LIMITS, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_window_without_predictions_is_unknown(pilot_copy: Pilot) -> None:
    found = checked(pilot_copy, DECEMBER)
    assert (found.status, found.distances, found.report) == ("unknown", {}, None)
    assert found.reason == "the logged predictions: 0 rows, at least 500 are needed"


def test_without_a_champion_drift_is_unknown(new_pilot: Pilot) -> None:
    found = checked(new_pilot, JANUARY)
    assert (found.status, found.model_version) == ("unknown", None)
    assert "run `groundwork train`" in found.reason


def test_another_models_predictions_do_not_count(december: Pilot) -> None:
    """What an earlier champion was asked says nothing about the present one's."""
    registry = Registry(december)
    client = mlflow.MlflowClient()
    version = client.get_model_version(registry.name, "1")
    again = client.create_model_version(registry.name, version.source, version.run_id, version.tags)
    second = registry.version(str(again.version))
    assert second is not None
    with Store(december.settings.store) as store:
        promote(store, registry, second, reconcile(store, registry), "ada", "for the test")
    found = checked(december, DECEMBER)
    assert (found.status, found.model_version) == ("unknown", "2")


@pytest.mark.parametrize("failing", ["measure", "reference_frame", "logged_frame", "_keep_in_mlflow"])
def test_a_monitor_that_breaks_does_not_look_like_a_quiet_one(
    failing: str, december: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(monitor_module, failing, fail)
    found = checked(december, DECEMBER)
    assert (found.status, found.reason) == ("unknown", "ZeroDivisionError: division by zero")
    assert (found.distances, found.drifted, found.report) == ({}, [], None)


def test_a_library_that_leaves_a_column_out_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(*, columns: list[str], **rest: Any) -> Any:
        return original(columns=columns[:-1], **rest)

    original = drift_module.DataDriftPreset
    monkeypatch.setattr(drift_module, "DataDriftPreset", forgetful)
    with pytest.raises(DriftUnknown, match="Evidently gave no distance for score"):
        measure(FRAME, FRAME, NUMBERS, LIMITS, tmp_path / "report.html")


def test_the_flow_fails_when_drift_is_unknown(pilot_copy: Pilot) -> None:
    with pytest.raises(DriftUnknown, match=r"drift in 2013-02-01 to 2013-02-28 is unknown: the logged predictions"):
        work.monitor(Pilot.here())
    with Store(pilot_copy.settings.store) as store:
        [failed] = store.runs.latest(succeeded=False)
        assert failed.flow == "monitor"
        assert "monitor" not in [run.flow for run in store.runs.latest(succeeded=True)]
