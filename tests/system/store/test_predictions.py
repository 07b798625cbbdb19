"""The prediction log keeps each prediction once, whole batches, and nothing of who was erased."""

import threading
import time

import msgspec
import pytest
from groundwork.core.errors import StoreError
from groundwork.store.database import Store
from stores import APRIL, MARCH, prediction


def test_a_prediction_is_kept_once(store_url: str) -> None:
    with Store(store_url) as store:
        store.predictions.log([prediction(1), prediction(2)])
        store.predictions.log([prediction(2)._replace(decision="replan"), prediction(3)])
    with Store(store_url) as store:
        assert store.predictions.between(MARCH, APRIL) == [prediction(1), prediction(2), prediction(3)]


def test_a_window_of_predictions_is_half_open(store_url: str) -> None:
    with Store(store_url) as store:
        store.predictions.log([prediction(1, MARCH), prediction(2, APRIL)])
        assert store.predictions.between(MARCH, APRIL) == [prediction(1, MARCH)]


def test_a_batch_is_kept_whole_or_not_at_all(store_url: str) -> None:
    with Store(store_url) as store:
        with pytest.raises(StoreError):
            store.predictions.log([prediction(1), prediction(2)._replace(decision=None)])  # type: ignore[arg-type]
        assert store.predictions.between(MARCH, APRIL) == []
        store.predictions.log([prediction(3)])  # it goes on after a failure
        assert store.predictions.between(MARCH, APRIL) == [prediction(3)]


def test_a_failure_that_is_remembered_holds_no_lock(store_url: str) -> None:
    with Store(store_url) as store:
        with pytest.raises(StoreError) as remembered:
            store.predictions.log([prediction(1)._replace(entity_key=None)])  # type: ignore[arg-type]
        began = time.monotonic()
        store.predictions.log([prediction(2)])
        assert time.monotonic() - began < 5  # SQLite would wait for ten seconds, and then fail
    assert remembered.value


def test_threads_share_one_store(store_url: str) -> None:
    with Store(store_url) as store:
        threads = [
            threading.Thread(target=store.predictions.log, args=([prediction(10 * ten + one) for one in range(10)],))
            for ten in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.predictions.between(MARCH, APRIL)) == 200


@pytest.mark.parametrize("value", ["c-1", "100%_!", 'say "c"', "Jürgen\\n", 7])
def test_a_subject_is_erased_with_its_outcomes(store_url: str, value: str | int) -> None:
    """By its keys and by what stands in the record; what only looks like it stays."""
    record = msgspec.json.encode({"customer": value, "note": ""}).decode()
    other = msgspec.json.encode({"customer": f"{value}1", "note": f'"customer":{value}', "friend": value}).decode()
    with Store(store_url) as store:
        logged = [prediction(number)._replace(record=other) for number in range(4)]
        logged[1] = logged[1]._replace(record=record)
        store.predictions.log(logged)
        store.outcomes.log([("id-1", True), ("id-3", False), ("id-9", True)])
        assert store.predictions.erase({"flight-2"}, "customer", value) == (2, 1)
        assert [each.prediction_id for each in store.predictions.between(MARCH, APRIL)] == ["id-0", "id-3"]
        assert store.predictions.erase({"flight-2"}, "customer", value) == (0, 0)
        assert store.outcomes.log([("id-3", True)]) == ([], ["id-3"])
