"""The prediction log keeps each prediction once, whole batches, and nothing of who was erased."""

import threading
import time
from typing import Any

import msgspec
import pytest
from groundwork.core.errors import StoreError
from groundwork.store.database import Store
from groundwork.store.predictions import Prediction
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


def test_the_newest_times_are_those_of_one_version_and_not_of_its_shadow(store_url: str) -> None:
    days = [MARCH.replace(day=day) for day in range(1, 6)]
    made = [prediction(number, day) for number, day in enumerate(days)]
    made[4] = made[4]._replace(role="shadow")
    made[3] = made[3]._replace(model_version="other")
    with Store(store_url) as store:
        store.predictions.log(made)
        version = made[0].model_version
        assert store.predictions.newest_times(version, MARCH, APRIL, 2) == [days[2], days[1]]
        assert store.predictions.newest_times(version, days[1], days[2], 9) == [days[1]]  # half open
        assert store.predictions.newest_times("unknown", MARCH, APRIL, 9) == []


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


@pytest.mark.parametrize(
    "value", ["c-1", "100%_!", 'say "c"', "Jürgen\\n", "1377007980063809541", 7, 1377007980063809541]
)
def test_a_subject_is_erased_with_its_outcomes(store_url: str, value: str | int) -> None:
    """By what stands in the record, and by its keys where the record has no value; what only looks like it stays."""

    def logged(number: int, customer: Any) -> Prediction:
        record = {"customer": customer, "note": f'"customer":{value}', "friend": value}
        return prediction(number)._replace(record=msgspec.json.encode(record).decode())

    with Store(store_url) as store:
        others: list[Any] = [value + 1, value - 1, value * 10, -value] if isinstance(value, int) else [f"{value}1", ""]
        store.predictions.log(logged(number, other) for number, other in enumerate(others))
        store.predictions.log(
            [logged(10, value), logged(11, None), logged(12, others[0]), prediction(13), prediction(14)]
        )
        store.outcomes.log([("id-10", True), ("id-3", False), ("id-9", True), ("id-13", True)])
        keys = {"flight-11", "flight-12", "flight-13"}
        assert store.predictions.erase(keys, "customer", value) == (3, 2)
        left = {each.prediction_id for each in store.predictions.between(MARCH, APRIL)}
        assert left == {*(f"id-{number}" for number in range(len(others))), "id-12", "id-14"}
        assert store.predictions.erase(keys, "customer", value) == (0, 0)
        assert store.outcomes.log([("id-3", True)])[1] == ["id-3"]


def test_integers_that_an_earlier_release_rounded_are_found_by_their_keys(store_url: str) -> None:
    """It logged them as floating-point numbers; small ones are exact."""
    with Store(store_url) as store:
        for number, customer in enumerate((1.3770079800638095e18, 1.3770079800638095e18, 7.0, 8.0)):
            record = msgspec.json.encode({"customer": customer}).decode()
            store.predictions.log([prediction(number)._replace(record=record)])
        assert store.predictions.erase({"flight-0", "flight-3"}, "customer", 1377007980063809541) == (1, 0)
        assert store.predictions.erase(set(), "customer", 7) == (1, 0)
        assert [each.prediction_id for each in store.predictions.between(MARCH, APRIL)] == ["id-1", "id-3"]
