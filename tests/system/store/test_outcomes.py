"""Outcomes are kept once, also those of predictions that are not known yet."""

from datetime import datetime

from groundwork.store.database import Store
from groundwork.store.predictions import Prediction

MARCH, APRIL = datetime(2013, 3, 1), datetime(2013, 4, 1)


def prediction(number: int, at: datetime = MARCH) -> Prediction:
    return Prediction(
        prediction_id=f"id-{number}",
        answered_at="2026-11-23T08:00:00.000+00:00",
        role="champion",
        entity_key=f"flight-{number}",
        event_time=at.isoformat(),
        model_version="1",
        score=number / 1000,
        decision="keep",
        record="{}",
    )


def test_an_outcome_is_kept_once_and_a_stranger_is_kept_too(store_url: str) -> None:
    with Store(store_url) as store:
        store.predictions.log([prediction(1)])
        assert store.outcomes.log([("id-1", True), ("stranger", False)]) == (["stranger"], [])
        assert store.outcomes.log([("id-1", True), ("stranger", True)]) == (["stranger"], ["stranger"])
        store.predictions.log([prediction(2)._replace(prediction_id="stranger")])
        assert store.outcomes.log([("stranger", False)]) == ([], [])
