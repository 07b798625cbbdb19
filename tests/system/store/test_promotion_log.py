"""The promotion log only grows, and of two entries with one number it keeps one."""

import threading

import pytest
from groundwork.core.errors import StoreError
from groundwork.store.connection import Connection, insertion
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion


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


def test_of_two_promotions_that_race_one_wins_every_time(store_url: str) -> None:
    """Two connections, let loose at the same moment, a hundred times over."""
    rounds, together, won = 100, threading.Barrier(2), [[], []]  # type: ignore[var-annotated]

    def race(racer: int) -> None:
        with Store(store_url) as store:
            for number in range(1, rounds + 1):
                together.wait(60)
                won[racer].append(store.promotions.append(promotion("racers", number, str(racer))))

    threads = [threading.Thread(target=race, args=(racer,)) for racer in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [sum(each) for each in zip(*won, strict=True)] == [1] * rounds
    with Store(store_url) as store:
        log = store.promotions.of("racers")
        assert [entry.number for entry in log] == list(range(1, rounds + 1))
        assert all(won[int(entry.to_version)][entry.number - 1] for entry in log)  # the winner's is the one that stands
        assert store.promotions.latest("racers") == log[-1]


def test_the_promotion_log_only_grows(store_url: str) -> None:
    kept = [promotion("kept", 1, "1"), promotion("kept", 2, "2")]
    attempts = ["update promotions set why = 'worse'", "delete from promotions where number = 2"]
    if not store_url.startswith("sqlite"):
        attempts.append("truncate promotions")
    connection = Connection(store_url)
    with Store(store_url) as store:
        assert all(store.promotions.append(each) for each in kept)
        for attempt in attempts:
            with pytest.raises(StoreError, match="append-only"), connection.transaction() as transaction:
                transaction.execute(attempt)
        if store_url.startswith("sqlite"):
            with connection.transaction() as transaction:
                replacement = insertion("promotions", Promotion._fields).replace("insert", "insert or replace", 1)
                assert transaction.execute(replacement, kept[1]._replace(to_version="3")) == 0
        assert not store.promotions.append(kept[1]._replace(to_version="3"))
        assert store.promotions.of("kept") == kept
    connection.close()
