"""How flows ended is kept, and a run that fell silent counts as failed."""

from datetime import UTC, datetime, timedelta

import pytest
from groundwork.store.database import Store
from groundwork.store.runs import LOST, SILENCE, UnderWay


def test_a_flow_is_recorded_however_it_ends(store_url: str) -> None:
    with Store(store_url) as store:
        with store.runs.recorded("ingest") as run:
            run.rows_in, run.rows_quarantined = 10, 1
        with pytest.raises(ValueError, match="too few"), store.runs.recorded("train"):
            raise ValueError("too few rows")
        [good], [bad] = store.runs.latest(succeeded=True), store.runs.latest(succeeded=False)
    assert (good.flow, good.rows_in, good.rows_quarantined, good.message) == ("ingest", 10, 1, "")
    assert (bad.flow, bad.succeeded, bad.message) == ("train", False, "ValueError: too few rows")


def test_a_run_that_fell_silent_has_failed_whether_or_not_anybody_noticed(store_url: str) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    silent = UnderWay("1", "ingest", now - timedelta(hours=2), now - SILENCE - timedelta(seconds=1))
    alive = UnderWay("2", "train", now - timedelta(hours=2), now - SILENCE + timedelta(minutes=1))
    with Store(store_url) as store:
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
