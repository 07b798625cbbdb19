"""A new model is trained after drift, at the age that the back-test found, and where neither is known."""

from collections.abc import Callable
from datetime import datetime

import mlflow
import pytest
from groundwork.core.windows import Window
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import age
from groundwork.models.registry.registry import Registry
from groundwork.monitoring.drift import DriftUnknown
from groundwork.monitoring.retraining import Retrained, reasons_to_train
from groundwork.pipeline import by_hand
from groundwork.store.database import Store

MARCH = Window(datetime(2013, 3, 1), datetime(2013, 4, 1))
MARCH_COMES_IN = "insert into flights select * replace (3 as month) from flights where month = 2"


def test_a_new_model_is_trained_unless_it_is_known_to_be_needless(
    pilot_copy: Pilot, sql: Callable, set_in: Callable
) -> None:
    charter = pilot_copy.settings.home / "charter.yaml"
    with Store(pilot_copy.settings.store) as store:
        [reason] = reasons_to_train(pilot_copy, store)
        assert reason == "drift has not been measured for version 1"
        with pytest.raises(DriftUnknown):
            by_hand.monitor(pilot_copy)
        [reason] = reasons_to_train(pilot_copy, store)
        assert reason.startswith("drift is unknown: ")

        by_hand.score(pilot_copy)
        set_in(charter, "monitoring.maxDriftedShare", 1)
        assert by_hand.monitor(Pilot.here()).status == "ok"
        assert by_hand.retrain(Pilot.here()) == Retrained([], None)
        set_in(charter, "monitoring.maxDriftedShare", 0)
        set_in(charter, "monitoring.driftDistance", 0.000001)
        assert by_hand.monitor(Pilot.here()).status == "drift"
        [reason] = reasons_to_train(Pilot.here(), store)
        assert reason.startswith("drift: ")
        sql(pilot_copy, MARCH_COMES_IN)
        done = by_hand.retrain(Pilot.here())
        assert done.reasons[-1] == "version 1 is 1 windows old; the effect of age is unknown: run `groundwork evaluate`"
        assert done.trained is not None
        assert done.trained.version == "2"
        assert "the effect of age is unknown" in {run.flow: run for run in store.runs.latest(True)}["retrain"].message


def test_the_age_that_the_back_test_found_decides_when_it_is_known(pilot_copy: Pilot, sql: Callable) -> None:
    """It learned up to February, and March has come in: it is one window old. What was never seen is not known."""
    champion = Registry(pilot_copy).required_champion()
    sql(pilot_copy, MARCH_COMES_IN)
    by_hand.ingest(pilot_copy)
    for limit, oldest, due in (
        ("1", "3", ["version 1 is 1 windows old; retrain at 1 windows"]),
        ("2", "3", []),
        ("not yet", "1", []),
        (
            "not yet",
            "0",
            ["version 1 is 1 windows old; the gain is high enough up to 0 windows, and unknown beyond"],
        ),
    ):
        mlflow.MlflowClient().set_tag(champion.run_id, "retrain_after_windows", limit)
        mlflow.MlflowClient().set_tag(champion.run_id, "oldest_windows_seen", oldest)
        with Store(pilot_copy.settings.store) as store:
            reasons = reasons_to_train(pilot_copy, store)
        assert reasons == ["drift has not been measured for version 1", *due], (limit, oldest)
    assert age(pilot_copy, champion, Window(datetime(2013, 3, 15), MARCH.end)).windows == 1


def test_a_pilot_without_a_champion_trains(new_pilot: Pilot) -> None:
    with Store(new_pilot.settings.store) as store:
        assert reasons_to_train(new_pilot, store) == ["no version has been promoted yet"]
