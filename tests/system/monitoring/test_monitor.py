"""A check of drift records what it found, and `unknown`, with the reason, where it found nothing."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import mlflow
import pytest
from groundwork.core.windows import Window
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.monitoring import monitor as monitor_module
from groundwork.monitoring.drift import DriftUnknown
from groundwork.monitoring.monitor import check_drift, newest_windows
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from groundwork.store.drifts import Drift
from registries import put_in_service, register_again

JANUARY = Window(datetime(2013, 1, 1), datetime(2013, 2, 1))
DECEMBER = Window(datetime(2013, 12, 1), datetime(2014, 1, 1))


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
    by_hand.ingest(Pilot.here(), *DECEMBER)
    by_hand.score(Pilot.here())
    return pilot_copy


def test_december_has_drifted_from_january(december: Pilot) -> None:
    found = checked(december, DECEMBER)
    assert found.status == "drift"
    assert "origin_late_share_yesterday" in found.drifted
    assert set(found.distances) == {*december.contract.dataset.feature_names, "score"}
    assert found.share > 0.2
    assert found.report == "drift-2013-12-01.html"
    assert "<html" in (december.settings.reports / found.report).read_text(encoding="utf-8")[:1000].lower()
    [run] = mlflow.search_runs(
        experiment_names=[Registry(december).name], filter_string="run_name = 'monitor'", output_format="list"
    )
    assert run.data.metrics["drifted_share"] == found.share
    assert [file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)] == ["drift-2013-12-01.html"]


def test_the_data_it_was_trained_on_has_not_drifted(pilot_copy: Pilot) -> None:
    by_hand.score(Pilot.here(), *JANUARY)
    found = checked(pilot_copy, JANUARY)
    assert (found.status, found.drifted) == ("ok", [])
    assert max(found.distances.values()) < 0.05


def test_the_share_that_is_tolerated_is_the_charters(december: Pilot, set_in: Any) -> None:
    set_in(december.settings.home / "charter.yaml", "monitoring.maxDriftedShare", 1.0)
    assert checked(Pilot.here(), DECEMBER).status == "ok"


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
    put_in_service(december, register_again(december).number)
    found = checked(december, DECEMBER)
    assert (found.status, found.model_version) == ("unknown", "2")


@pytest.mark.parametrize("failing", ["measure", "reference_frame", "logged_frame", "keep_in_mlflow"])
def test_a_monitor_that_breaks_does_not_look_like_a_quiet_one(
    failing: str, december: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(monitor_module, failing, fail)
    found = checked(december, DECEMBER)
    assert (found.status, found.reason) == ("unknown", "ZeroDivisionError: division by zero")
    assert (found.distances, found.drifted, found.report) == ({}, [], None)


def test_the_flow_fails_when_drift_is_unknown(pilot_copy: Pilot) -> None:
    with pytest.raises(DriftUnknown, match=r"drift in 2013-02-01 to 2013-02-28 is unknown: the logged predictions"):
        by_hand.monitor(Pilot.here())
    with Store(pilot_copy.settings.store) as store:
        [failed] = store.runs.latest(succeeded=False)
        assert failed.flow == "monitor"
        assert "monitor" not in [run.flow for run in store.runs.latest(succeeded=True)]


def test_windows_with_few_predictions_are_monitored_together(pilot_copy: Pilot, set_in: Callable) -> None:
    """As many of the newest as hold enough; none without a prediction in the newest one, as something is down."""
    charter = pilot_copy.settings.home / "charter.yaml"
    set_in(charter, "monitoring.window", "week")
    set_in(charter, "monitoring.minRows", 1)
    last = Window(datetime(2013, 2, 4), datetime(2013, 2, 11))
    both = Window(datetime(2013, 2, 1), last.end)
    with Store(pilot_copy.settings.store) as store:
        by_hand.score(Pilot.here(), both.start, last.start)
        assert newest_windows(Pilot.here(), store) == last
        by_hand.score(Pilot.here(), last.start, datetime(2013, 2, 6))
        few, all_of_them = (len(store.predictions.between(*window)) for window in (last, both))
        assert 0 < few < all_of_them
        for least, expected in ((few, last), (few + 1, both), (all_of_them, both), (all_of_them + 1, last)):
            set_in(charter, "monitoring.minRows", least)
            assert newest_windows(Pilot.here(), store) == expected
