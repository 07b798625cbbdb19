"""Outcomes are kept once, also those of predictions that are not known yet."""

from groundwork.store.batches import LogPart
from groundwork.store.database import Store
from stores import MARCH, batch, known, log, prediction


def test_an_outcome_is_kept_once_and_a_stranger_is_kept_too(store_url: str) -> None:
    of_batch = batch(range(3))
    first, stranger = f"{of_batch.batch_id}00000000", f"{batch([1]).batch_id}00000000"
    with Store(store_url) as store:
        store.predictions.log([of_batch])
        assert store.outcomes.log([(first, True), (stranger, False)]) == ([stranger], [])
        assert store.outcomes.log([(first, True), (stranger, True)]) == ([stranger], [stranger])
        assert known(store) == {first: 1.0}
        store.predictions.log([batch([1], batch_id=stranger[:24])])
        assert store.outcomes.log([(stranger, False)]) == ([], [])
        assert known(store) == {first: 1.0, stranger: 0.0}


def test_where_no_prediction_can_arrive_later_a_stranger_is_not_kept(store_url: str) -> None:
    with Store(store_url) as store:
        log(store, [prediction(1)])
        told = [("id-1", True), ("stranger", False)]
        assert store.outcomes.log(told, keep_unknown=False) == (["stranger"], [])
        assert store.outcomes.log([("stranger", True)], keep_unknown=False) == (["stranger"], [])  # no contradiction
        log(store, [prediction(2)._replace(prediction_id="stranger")])
        assert store.outcomes.log([("stranger", True)], keep_unknown=False) == ([], [])
        assert known(store) == {"id-1": 1.0, "stranger": 1.0}


def test_of_two_outcomes_in_one_request_the_first_stays(store_url: str) -> None:
    with Store(store_url) as store:
        log(store, [prediction(1), prediction(2)])
        told = [("id-1", "late"), ("id-1", "late"), ("id-2", "late"), ("id-2", "on time")]
        assert store.outcomes.log(told) == ([], ["id-2"])
        assert known(store) == {"id-1": "late", "id-2": "late"}


def test_outcomes_are_read_for_the_part_of_the_log_that_is_asked_for(store_url: str) -> None:
    """Batches of any size, some of whose predictions have an outcome, beside others of the same time."""
    batches = [batch(range(rows), role=role) for rows in (1, 7, 200) for role in ("champion", "shadow")]
    with Store(store_url) as store:
        store.predictions.log([*batches, batch(range(9), MARCH.replace(month=5))])
        told = {
            f"{each.batch_id}{number:08x}": float(number)
            for each in batches
            for number in range(each.rows)
            if number % 3 == 0
        }
        for begin in range(0, len(told), 50):
            store.outcomes.log([*told.items()][begin : begin + 50])
        assert known(store) == told
        part = LogPart(start=MARCH, end=MARCH.replace(day=2), roles=("champion",))
        logged = store.predictions.read(part)
        found = store.outcomes.of(logged, part)
        assert logged.rows == 208
        assert store.predictions.read(LogPart(start=MARCH, with_outcomes=True)).rows == 2 * 208
        assert len(found.outcomes) == 1 + 3 + 67
        assert logged.take(found.rows).column("id").tolist() == [
            each for each in logged.column("id").tolist() if each in told
        ]
