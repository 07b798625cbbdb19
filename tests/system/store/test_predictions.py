"""The prediction log keeps each batch once and whole, finds each prediction, and keeps nothing of who was erased."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from groundwork.core.errors import StoreError
from groundwork.store import predictions as module
from groundwork.store.batches import LogPart, block
from groundwork.store.database import Store
from stores import APRIL, MARCH, batch, known, log, prediction, query

DAYS = [MARCH.replace(day=day) for day in range(1, 6)]


def test_a_batch_is_kept_once(store_url: str) -> None:
    kept = batch([1, 2])
    with Store(store_url) as store:
        store.predictions.log([kept])
        store.predictions.log([kept._replace(role="canary"), batch([3])])
    with Store(store_url) as store:
        found = store.predictions.between(MARCH, APRIL)
        assert sorted((each.entity_key, each.role) for each in found) == [
            (f"flight-{number}", "champion") for number in (1, 2, 3)
        ]


@pytest.mark.parametrize("rows", [1, 3, 200])
def test_one_id_finds_one_prediction(store_url: str, rows: int) -> None:
    kept = [batch(range(rows * number, rows * (number + 1))) for number in range(3)]
    with Store(store_url) as store:
        store.predictions.log(kept)
        found = store.predictions.between(MARCH, APRIL)
        assert len({each.prediction_id for each in found}) == 3 * rows
        for each in found[:: max(rows // 10, 1)]:
            assert store.predictions.find(each.prediction_id) == each
        name = kept[0].batch_id
        for stranger in (
            "",
            "x",
            name,
            f"{name}{rows:08x}",
            f"{name}{'F' * 8}",
            f"{name}-0000001",
            f"{name} 1",
            "0" * 32,
        ):
            assert store.predictions.find(stranger) is None


def test_a_prediction_with_an_id_of_its_own_is_found(store_url: str) -> None:
    with Store(store_url) as store:
        log(store, [prediction(1), prediction(2)])
        assert store.predictions.find("id-2") == prediction(2)
        assert store.predictions.find("id-3") is None


def test_a_window_of_predictions_is_half_open(store_url: str) -> None:
    times = [MARCH, APRIL, APRIL, MARCH.replace(day=9)]
    columns = block(
        keys=[str(number) for number in range(4)],
        times=[each.isoformat() for each in times],
        decisions=["keep"] * 4,
        scores=None,
        record={"place": [*range(4)]},
    )
    spread = batch(range(4))._replace(last_event_time=APRIL.isoformat(), columns=columns)
    with Store(store_url) as store:
        store.predictions.log([batch([1]), batch([2], APRIL), spread])
        assert [each.entity_key for each in store.predictions.between(MARCH, APRIL)] == ["0", "flight-1", "3"] or {
            each.entity_key for each in store.predictions.between(MARCH, APRIL)
        } == {"0", "3", "flight-1"}
        logged = store.predictions.read(LogPart(start=APRIL))
        assert sorted(logged.column("key").tolist()) == ["1", "2", "flight-2"]
        [of_spread] = [each for each in logged.column("id").tolist() if each.startswith(spread.batch_id)][:1]
        assert of_spread == f"{spread.batch_id}00000001"


def test_the_newest_times_are_those_of_one_version_and_not_of_its_shadow(store_url: str) -> None:
    made = [batch([number], day) for number, day in enumerate(DAYS)]
    made[4] = made[4]._replace(role="shadow")
    made[3] = made[3]._replace(model_version="other")
    with Store(store_url) as store:
        store.predictions.log(made)
        assert store.predictions.newest_times("1", MARCH, APRIL, 2) == [DAYS[2], DAYS[1]]
        assert store.predictions.newest_times("1", DAYS[1], DAYS[2], 9) == [DAYS[1]]  # half open
        assert store.predictions.newest_times("unknown", MARCH, APRIL, 9) == []


def test_batches_are_logged_together_or_not_at_all(store_url: str) -> None:
    with Store(store_url) as store:
        with pytest.raises(StoreError):
            store.predictions.log([batch([1]), batch([2], role=None)])
        assert store.predictions.between(MARCH, APRIL) == []
        store.predictions.log([batch([3])])  # it goes on after a failure
        assert len(store.predictions.between(MARCH, APRIL)) == 1


def test_a_failure_that_is_remembered_holds_no_lock(store_url: str) -> None:
    with Store(store_url) as store:
        with pytest.raises(StoreError) as remembered:
            store.predictions.log([batch([1], role=None)])
        began = time.monotonic()
        store.predictions.log([batch([2])])
        assert time.monotonic() - began < 5  # SQLite would wait for ten seconds, and then fail
    assert remembered.value


def test_threads_share_one_store(store_url: str) -> None:
    with Store(store_url) as store:
        threads = [
            threading.Thread(target=store.predictions.log, args=([batch(range(10 * ten, 10 * ten + 10))],))
            for ten in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.predictions.read(LogPart()).rows == 200


def test_of_predictions_that_come_again_only_the_new_ones_are_kept(store_url: str) -> None:
    """In another batch, with other rows around them; those of another version, role or time are others."""
    with Store(store_url) as store:
        first = batch(range(100))
        store.predictions.log_new(first)
        store.predictions.log_new(first)
        store.predictions.log_new(batch(range(50, 150)))
        store.predictions.log_new(batch(range(150)))
        found = store.predictions.between(MARCH, APRIL)
        assert sorted(each.entity_key for each in found) == sorted(f"flight-{number}" for number in range(150))
        assert len({each.prediction_id for each in found}) == 150
        for each in (found[0], found[-1]):
            assert store.predictions.find(each.prediction_id) == each
        for other in ({"role": "batch"}, {"model_version": "2"}):
            store.predictions.log_new(batch(range(100), **other))
        store.predictions.log_new(batch(range(100), DAYS[3]))
        assert store.predictions.read(LogPart()).rows == 450


def test_of_two_writers_of_the_same_predictions_one_writes_them(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As two scoring runs of the same window, which cut it into other batches; each takes its time to compare."""
    looked = module._batches

    def slowly(*given: Any) -> Any:
        found = list(looked(*given))
        time.sleep(0.1)
        return found

    monkeypatch.setattr(module, "_batches", slowly)
    together = threading.Barrier(2)
    written = []

    def write(parts: list[range]) -> None:
        with Store(store_url) as store:
            for each in parts:
                together.wait(10)
                store.predictions.log_new(batch(each))
            written.append(len(parts))

    cuts = [range(60), range(60, 120)], [range(90), range(90, 120)]
    threads = [threading.Thread(target=write, args=(cut,)) for cut in cuts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert written == [2, 2]
    with Store(store_url) as store:
        keys = store.predictions.read(LogPart()).column("key").tolist()
    assert sorted(keys) == sorted(f"flight-{number}" for number in range(120))


def subjects(values: list[Any], note: str = "") -> Any:
    """A batch with these customers, of flight-0, flight-1, and so on."""
    keys = [f"flight-{number}" for number in range(len(values))]
    columns = block(
        keys="flight_id",
        times=[MARCH.isoformat()] * len(values),
        decisions=["keep"] * len(values),
        scores=[0.5] * len(values),
        record={"flight_id": keys, "customer": values, "note": [note] * len(values), "friend": values[::-1]},
    )
    return batch(range(len(values)))._replace(columns=columns)


@pytest.mark.parametrize("own_ids", [False, True])
@pytest.mark.parametrize(
    "value", ["c-1", "100%_!", 'say "c"', "Jürgen\\n", "1377007980063809541", 7, 1377007980063809541]
)
def test_a_subject_is_erased_with_its_outcomes(store_url: str, value: str | int, own_ids: bool) -> None:
    """By what stands in the record, and by its keys where the record has no value; what only looks like it stays."""
    others: list[Any] = [value + 1, value - 1, value * 10, -value] if isinstance(value, int) else [f"{value}1", ""]
    values = [value, None, others[0], None, *others]
    with Store(store_url) as store:
        store.predictions.log([subjects(values, f'"customer":{value}'), batch([1]), batch([9])])
        made = store.predictions.between(MARCH, APRIL)
        if own_ids:
            erased = [each._replace(prediction_id=f"id-{number}") for number, each in enumerate(made)]
            for table in ("prediction_batches", "prediction_ids"):
                with store._connection.transaction() as transaction:
                    transaction.execute(f"delete from {table}")
            log(store, erased)
            made = store.predictions.between(MARCH, APRIL)
        gone = [each for each in made if f'"customer":{show(value)},' in each.record]
        gone += [each for each in made if each.entity_key == "flight-1"]
        left = [each for each in made if each not in gone]
        assert len(gone) == 3
        store.outcomes.log([(each.prediction_id, True) for each in (*gone[:2], left[0])])
        assert store.predictions.erase({"flight-1", "flight-2"}, "customer", value) == (3, 2)
        assert store.predictions.between(MARCH, APRIL) == left
        assert known(store) == {left[0].prediction_id: 1.0}
        assert [store.predictions.find(each.prediction_id) for each in left] == left
        assert {store.predictions.find(each.prediction_id) for each in gone} == {None}
        assert store.predictions.erase({"flight-1", "flight-2"}, "customer", value) == (0, 0)
        sent = [(each.prediction_id, True) for each in gone]
        assert store.outcomes.log(sent, keep_unknown=False)[0] == [each for each, _ in sent]
        assert store.outcomes.log([(left[-1].prediction_id, True)]) == ([], [])


def show(value: str | int) -> str:
    import json

    return json.dumps(value, ensure_ascii=False)


def test_nothing_of_an_erased_subject_stays_in_the_file(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'store.db'}"
    with Store(url) as store:
        for rows in (2, 100):  # one batch as a plain block, one compressed
            store.predictions.log([subjects([f"customer-{number}" for number in range(rows)])])
        store.predictions.log([subjects(["customer-1"] * rows) for rows in (1, 1000)])  # of which nothing is left
        before = [columns for (columns,) in query(url, "select columns from prediction_batches")]
        assert all(in_files(tmp_path, columns) for columns in before)
        assert store.predictions.erase(set(), "customer", "customer-1") == (1003, 0)
        assert store.predictions.read(LogPart()).rows == 100
        assert not any(in_files(tmp_path, columns) for columns in before)


def in_files(folder: Path, columns: bytes) -> bool:
    """Whether a piece of the block, which is compressed if it is large, is in a file of the folder."""
    piece = columns[len(columns) // 2 :][:60]
    return any(piece in file.read_bytes() for file in folder.iterdir())


def test_integers_that_an_earlier_release_rounded_are_found_by_their_keys(store_url: str) -> None:
    """It logged them as floating-point numbers; small ones are exact."""
    with Store(store_url) as store:
        store.predictions.log([subjects([1.3770079800638095e18, 1.3770079800638095e18, 7.0, 8.0])])
        assert store.predictions.erase({"flight-0", "flight-3"}, "customer", 1377007980063809541) == (1, 0)
        assert store.predictions.erase(set(), "customer", 7) == (1, 0)
        assert [each.entity_key for each in store.predictions.between(MARCH, APRIL)] == ["flight-1", "flight-3"]


def test_the_log_is_tried_without_a_trace(store_url: str) -> None:
    with Store(store_url) as store:
        store.predictions.try_writing()
        assert store.predictions.read(LogPart()).rows == 0
    assert query(store_url, "select count(*) from prediction_batches") == [(0,)]


def test_small_batches_are_put_together_and_every_prediction_stays(store_url: str) -> None:
    """Those of one role, version and record; not large ones, and not what was answered since."""
    kept = [batch([10 * number]) for number in range(600)] + [batch(range(3), role="canary") for _ in range(4)]
    kept += [batch(range(200)), batch([7], answered_at="2026-11-24")]
    others = block(keys=["a"], times=[MARCH.isoformat()], decisions=["keep"], scores={"a": [0.5]}, record={"x": [1]})
    kept += [batch([1], columns=others), batch([2], columns=others)]
    with Store(store_url) as store:
        store.predictions.log(kept)
        before = store.predictions.between(MARCH, APRIL)
        told = {each.prediction_id: float(number) for number, each in enumerate(before[::7])}
        store.outcomes.log([*told.items()])
        assert 600 < store.predictions.merge_small("2026-11-24") <= 600 + 12 + 2
        while store.predictions.merge_small("2026-11-24"):  # those that had no other like them beside them
            pass
        assert store.predictions.between(MARCH, APRIL) == before
        assert known(store) == told
        assert len(query(store_url, "select 1 from prediction_batches")) < 10
        for each in before[::50]:
            assert store.predictions.find(each.prediction_id) == each
        assert store.outcomes.log([(before[1].prediction_id, True)], keep_unknown=False) == ([], [])
        assert store.predictions.read(LogPart(answered_since="2026-11-24")).rows == 1
        assert store.predictions.read(LogPart(answered_until="2026-11-24")).rows == len(before) - 1
        key = before[0].entity_key
        gone = [each for each in before if each.entity_key == key and "flight_id" in each.record]
        assert store.predictions.erase(set(), "flight_id", key)[0] == len(gone)
        assert store.predictions.between(MARCH, APRIL) == [each for each in before if each not in gone]
