"""Outcomes are kept once, also those of predictions that are not known yet."""

from groundwork.store.database import Store
from stores import prediction


def test_an_outcome_is_kept_once_and_a_stranger_is_kept_too(store_url: str) -> None:
    with Store(store_url) as store:
        store.predictions.log([prediction(1)])
        assert store.outcomes.log([("id-1", True), ("stranger", False)]) == (["stranger"], [])
        assert store.outcomes.log([("id-1", True), ("stranger", True)]) == (["stranger"], ["stranger"])
        store.predictions.log([prediction(2)._replace(prediction_id="stranger")])
        assert store.outcomes.log([("stranger", False)]) == ([], [])


def test_where_no_prediction_can_arrive_later_a_stranger_is_not_kept(store_url: str) -> None:
    with Store(store_url) as store:
        store.predictions.log([prediction(1)])
        told = [("id-1", True), ("stranger", False)]
        assert store.outcomes.log(told, keep_unknown=False) == (["stranger"], [])
        assert store.outcomes.log([("stranger", True)], keep_unknown=False) == (["stranger"], [])  # no contradiction
        store.predictions.log([prediction(2)._replace(prediction_id="stranger")])
        assert store.outcomes.log([("stranger", True)], keep_unknown=False) == ([], [])
