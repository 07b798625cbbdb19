"""The store opens, locks and recovers the same on SQLite and on a real PostgreSQL."""

import threading
from contextlib import closing
from typing import Any

import pytest
from groundwork.core.errors import Busy, StoreError
from groundwork.store.connection import Connection
from groundwork.store.database import Store
from stores import APRIL, MARCH, batch, log, prediction


def test_one_flow_of_a_name_runs_at_a_time(store_url: str) -> None:
    with Store(store_url) as store, Store(store_url) as another:
        with store.alone("ingest"):
            with pytest.raises(Busy, match="another ingest is running"), another.alone("ingest"):
                pass
            with another.alone("train"):
                pass
        for _ in range(20):  # it is free at once
            with another.alone("ingest"):
                pass


def test_stores_that_are_opened_at_once_make_their_tables_once(store_url: str) -> None:
    failures: list[StoreError] = []
    together = threading.Barrier(8)

    def open_it() -> None:
        together.wait(60)
        try:
            Store(store_url).close()
        except StoreError as error:
            failures.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with Store(store_url) as store:
        assert store.promotions.of("any") == []


def test_a_store_of_another_schema_of_the_same_database_is_not_taken_for_its_own(postgres: Any) -> None:
    url = postgres.empty_database()
    with Store(url) as store:
        log(store, [prediction(1)])
    with closing(Connection(url)) as connection, connection.transaction() as transaction:
        transaction.execute("create schema fresh")
    with Store(f"{url}?options=-csearch_path%3Dfresh,public") as store:
        assert store.predictions.between(MARCH, APRIL) == []
    with Store(url) as store:
        assert store.predictions.between(MARCH, APRIL) == [prediction(1)]


def test_a_query_of_the_team_s_changes_nothing(store_url: str) -> None:
    with Store(store_url) as store:
        log(store, [prediction(1)])
        assert store.ask("select count(*) from predictions") == [(1,)]
        assert store.ask("delete from predictions returning prediction_id") == [("id-1",)]
        with pytest.raises(StoreError, match="refused the query"):
            store.ask("select none from nothing")
        assert store.predictions.between(MARCH, APRIL) == [prediction(1)]


def test_it_recovers_when_the_database_comes_back(postgres: Any) -> None:
    with Store(postgres.url) as store:
        store.predictions.log([batch([901])])
        postgres.stop()
        with pytest.raises(StoreError) as refusal:
            store.predictions.log([batch([902])])
        assert "owner@" not in str(refusal.value).split(" failed:")[0]  # who signs in, and how, stays out of messages
        postgres.start()
        store.predictions.log([batch([903])])
        keys = {each.entity_key for each in store.predictions.between(MARCH, APRIL)}
        assert {"flight-901", "flight-903"} <= keys


@pytest.mark.parametrize("url", ["", "mysql://host/name", "store.db"])
def test_an_unknown_address_says_what_it_must_be(url: str) -> None:
    with pytest.raises(StoreError, match="must begin with sqlite:/// or postgresql://"):
        Store(url)
