"""The same promises on SQLite and on a real PostgreSQL."""

import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from groundwork.core.errors import Busy, StoreError
from groundwork.core.windows import Window
from groundwork.store.database import Store
from groundwork.store.drifts import Drift
from groundwork.store.predictions import Prediction
from groundwork.store.promotions import Promotion
from groundwork.store.runs import LOST, SILENCE, UnderWay

MARCH, APRIL = datetime(2013, 3, 1), datetime(2013, 4, 1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'store.db'}"
    url = request.getfixturevalue("postgres").url
    with Store(url) as store, store._connection.transaction() as cursor:
        for table in ("predictions", "outcomes", "shadow", "flow_runs", "runs_under_way", "drift", "windows_read"):
            cursor.execute(f"delete from {table}")
    return str(url)


def prediction(number: int, at: datetime = MARCH) -> Prediction:
    key, score = f"flight-{number}", number / 1000
    return Prediction(
        prediction_id=f"id-{number}",
        answered_at="2026-11-23T08:00:00.000+00:00",
        role="champion",
        entity_key=key,
        event_time=at.isoformat(),
        model_version="1",
        score=score,
        decision="keep",
        record="{}",
    )


def test_a_prediction_is_kept_once(url: str) -> None:
    with Store(url) as store:
        store.predictions.log([prediction(1), prediction(2)])
        store.predictions.log([prediction(2)._replace(decision="replan"), prediction(3)])
    with Store(url) as store:
        assert store.predictions.between(MARCH, APRIL) == [prediction(1), prediction(2), prediction(3)]


def test_a_window_of_predictions_is_half_open(url: str) -> None:
    with Store(url) as store:
        store.predictions.log([prediction(1, MARCH), prediction(2, APRIL)])
        assert store.predictions.between(MARCH, APRIL) == [prediction(1, MARCH)]


def test_a_batch_is_kept_whole_or_not_at_all(url: str) -> None:
    with Store(url) as store:
        with pytest.raises(StoreError):
            store.predictions.log([prediction(1), prediction(2)._replace(decision=None)])  # type: ignore[arg-type]
        assert store.predictions.between(MARCH, APRIL) == []
        store.predictions.log([prediction(3)])  # it goes on after a failure
        assert store.predictions.between(MARCH, APRIL) == [prediction(3)]


def test_a_failure_that_is_remembered_holds_no_lock(url: str) -> None:
    with Store(url) as store:
        with pytest.raises(StoreError) as remembered:
            store.predictions.log([prediction(1)._replace(entity_key=None)])  # type: ignore[arg-type]
        began = time.monotonic()
        store.predictions.log([prediction(2)])
        assert time.monotonic() - began < 5  # SQLite would wait for ten seconds, and then fail
    assert remembered.value


def test_threads_share_one_store(url: str) -> None:
    with Store(url) as store:
        threads = [
            threading.Thread(target=store.predictions.log, args=([prediction(10 * ten + one) for one in range(10)],))
            for ten in range(20)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.predictions.between(MARCH, APRIL)) == 200


def test_an_outcome_is_kept_once_and_a_stranger_is_kept_too(url: str) -> None:
    with Store(url) as store:
        store.predictions.log([prediction(1)])
        assert store.outcomes.log([("id-1", True), ("stranger", False)]) == (["stranger"], [])
        assert store.outcomes.log([("id-1", True), ("stranger", True)]) == (["stranger"], ["stranger"])
        store.predictions.log([prediction(2)._replace(prediction_id="stranger")])
        assert store.outcomes.log([("stranger", False)]) == ([], [])


@pytest.mark.parametrize("value", ["c-1", "100%_!", 'say "c"', "Jürgen\\n", 7])
def test_a_subject_is_erased_with_its_outcomes(url: str, value: str | int) -> None:
    """By its keys and by what stands in the record; what only looks like it stays."""
    record = msgspec.json.encode({"customer": value, "note": ""}).decode()
    other = msgspec.json.encode({"customer": f"{value}1", "note": f'"customer":{value}', "friend": value}).decode()
    with Store(url) as store:
        logged = [prediction(number)._replace(record=other) for number in range(4)]
        logged[1] = logged[1]._replace(record=record)
        store.predictions.log(logged)
        store.outcomes.log([("id-1", True), ("id-3", False), ("id-9", True)])
        assert store.predictions.erase({"flight-2"}, "customer", value) == (2, 1)
        assert [each.prediction_id for each in store.predictions.between(MARCH, APRIL)] == ["id-0", "id-3"]
        assert store.predictions.erase({"flight-2"}, "customer", value) == (0, 0)
        assert store.outcomes.log([("id-3", True)]) == ([], ["id-3"])


def test_a_flow_is_recorded_however_it_ends(url: str) -> None:
    with Store(url) as store:
        with store.runs.recorded("ingest") as run:
            run.rows_in, run.rows_quarantined = 10, 1
        with pytest.raises(ValueError, match="too few"), store.runs.recorded("train"):
            raise ValueError("too few rows")
        [good], [bad] = store.runs.latest(succeeded=True), store.runs.latest(succeeded=False)
    assert (good.flow, good.rows_in, good.rows_quarantined, good.message) == ("ingest", 10, 1, "")
    assert (bad.flow, bad.succeeded, bad.message) == ("train", False, "ValueError: too few rows")


def test_a_flow_has_its_schedule_since_it_was_first_noted(url: str) -> None:
    with Store(url) as store:
        assert store.schedules.since() == {}
        store.schedules.keep(["ingest", "train"])
        noted = store.schedules.since()
        store.schedules.keep(["ingest", "score"])
        assert set(store.schedules.since()) == {"ingest", "score"}
        assert store.schedules.since()["ingest"] == noted["ingest"]
        assert datetime.now(UTC) - noted["ingest"] < timedelta(minutes=1)


def test_a_run_that_fell_silent_has_failed_whether_or_not_anybody_noticed(url: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    silent = UnderWay("1", "ingest", now - timedelta(hours=2), now - SILENCE - timedelta(seconds=1))
    alive = UnderWay("2", "train", now - timedelta(hours=2), now - SILENCE + timedelta(minutes=1))
    with Store(url) as store:
        with store.runs.recorded("ingest"):
            pass
        store.runs.keep_alive(alive)
        store.runs.keep_alive(silent)
        [lost] = store.runs.latest(succeeded=False)
        assert (lost.flow, lost.started_at, lost.message) == ("ingest", silent.started_at, LOST)
        assert lost.started_at + timedelta(seconds=lost.seconds) == now - timedelta(seconds=1)  # given up then
        store.runs.keep_alive(silent._replace(heard_at=now))  # it was only slow
        assert store.runs.latest(succeeded=False) == []
        assert store.runs.under_way() == [alive, silent._replace(heard_at=now)]
        assert [store.runs.end("1", silent.as_lost) for _ in range(2)] == [True, False]  # who is first keeps it
        assert store.runs.latest(succeeded=False) == [lost]
        store.runs.end("2")
        assert (store.runs.under_way(), len(store.runs.latest(succeeded=False))) == ([], 1)


def test_one_flow_of_a_name_runs_at_a_time(url: str) -> None:
    with Store(url) as store, Store(url) as another:
        with store.alone("ingest"):
            with pytest.raises(Busy, match="another ingest is under way"), another.alone("ingest"):
                pass
            with another.alone("train"):
                pass
        with another.alone("ingest"):
            pass


def test_what_was_read_is_known_of_this_table_in_this_version_or_a_later_one(url: str) -> None:
    march, week = Window(MARCH, APRIL), Window(datetime(2013, 3, 4), datetime(2013, 3, 11))
    with Store(url) as store:
        store.ingested.record(march, "old", "table", 3)
        store.ingested.record(march, "new", "table", 5)
        assert store.ingested.windows("table", 5) == store.ingested.windows("table", 6) == {march: "new"}
        for known in (("table", 4), ("another", 5), (None, None)):
            assert store.ingested.windows(*known) == {}
        store.ingested.record(week, "part", "table", 6)
        assert store.ingested.windows("table", 6) == {week: "part"}


def test_the_latest_drift_is_the_one_measured_last(url: str) -> None:
    early, late = (
        Drift(
            window_start=MARCH,
            window_end=APRIL,
            model_version="1",
            status=status,
            reason="",
            distances={"carrier": 0.2},
            drifted=["carrier"],
            report=None,
            measured_at=datetime(2026, 11, day, tzinfo=UTC),
        )
        for status, day in (("ok", 22), ("drift", 23))
    )
    with Store(url) as store:
        assert store.drift.latest() is None
        store.drift.record(late)
        store.drift.record(early)
        assert store.drift.latest() == late
        store.shadow.record("2", 100, 0.9)
        store.shadow.record("2", 200, 0.8)
        assert store.shadow.latest() == {"2": (200, 0.8)}


def promotion(model: str, number: int, to: str) -> Promotion:
    return Promotion(
        model=model,
        number=number,
        promoted_at="2026-11-23T08:00:00.000+00:00",
        promoted_by="ada",
        from_version="",
        to_version=to,
        why="better",
        evidence_sha256="e" * 64,
        bundle_sha256="b" * 64,
    )


def test_of_two_promotions_that_race_one_wins_every_time(url: str) -> None:
    """Two connections, let loose at the same moment, a hundred times over."""
    rounds, together, won = 100, threading.Barrier(2), [[], []]  # type: ignore[var-annotated]

    def race(racer: int) -> None:
        with Store(url) as store:
            for number in range(1, rounds + 1):
                together.wait(60)
                won[racer].append(store.promotions.append(promotion("racers", number, str(racer))))

    threads = [threading.Thread(target=race, args=(racer,)) for racer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(each) for each in zip(*won, strict=True)] == [1] * rounds
    with Store(url) as store:
        log = store.promotions.of("racers")
        assert [entry.number for entry in log] == list(range(1, rounds + 1))
        assert all(won[int(entry.to_version)][entry.number - 1] for entry in log)  # the winner's is the one that stands
        assert store.promotions.latest("racers") == log[-1]


def test_the_promotion_log_only_grows(url: str) -> None:
    kept = [promotion("kept", 1, "1"), promotion("kept", 2, "2")]
    attempts = ["update promotions set why = 'worse'", "delete from promotions where number = 2"]
    if not url.startswith("sqlite"):
        attempts.append("truncate promotions")
    with Store(url) as store:
        assert all(store.promotions.append(each) for each in kept)
        for attempt in attempts:
            with pytest.raises(StoreError, match="append-only"), store._connection.transaction() as cursor:
                cursor.execute(attempt)
        if url.startswith("sqlite"):
            with store._connection.transaction() as cursor:
                cursor.execute(
                    "insert or replace into promotions values (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    kept[1]._replace(to_version="3"),
                )
        assert not store.promotions.append(kept[1]._replace(to_version="3"))
        assert store.promotions.of("kept") == kept


def test_stores_that_are_opened_at_once_make_their_tables_once(postgres: Any) -> None:
    with Store(postgres.url) as store, store._connection.transaction() as cursor:
        cursor.execute("create schema fresh")
    url, failures = f"{postgres.url}?options=-csearch_path%3Dfresh", []

    def open_it() -> None:
        try:
            Store(url).close()
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(url) as store:
        store.promotions.append(promotion("fresh", 1, "1"))
        with pytest.raises(StoreError, match="append-only"), store._connection.transaction() as cursor:
            cursor.execute("truncate promotions")


def test_it_recovers_when_the_database_comes_back(postgres: Any) -> None:
    with Store(postgres.url) as store:
        store.predictions.log([prediction(901)])
        postgres.stop()
        with pytest.raises(StoreError) as refusal:
            store.predictions.log([prediction(902)])
        assert "owner@" not in str(refusal.value).split(" failed:")[0]  # who signs in, and how, stays out of messages
        postgres.start()
        store.predictions.log([prediction(903)])
        assert {901, 903} <= {int(each.prediction_id[3:]) for each in store.predictions.between(MARCH, APRIL)}


@pytest.mark.parametrize("url", ["", "mysql://host/name", "store.db"])
def test_an_unknown_address_says_what_it_must_be(url: str) -> None:
    with pytest.raises(StoreError, match="must begin with sqlite:/// or postgresql://"):
        Store(url)
