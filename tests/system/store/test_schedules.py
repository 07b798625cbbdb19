"""Since when a flow has a schedule is kept as long as it has one."""

from datetime import UTC, datetime, timedelta

from groundwork.store.database import Store


def test_a_flow_has_its_schedule_since_it_was_first_noted(store_url: str) -> None:
    with Store(store_url) as store:
        assert store.schedules.since() == {}
        store.schedules.keep(["ingest", "train"])
        noted = store.schedules.since()
        store.schedules.keep(["ingest", "score"])
        assert set(store.schedules.since()) == {"ingest", "score"}
        assert store.schedules.since()["ingest"] == noted["ingest"]
        assert datetime.now(UTC) - noted["ingest"] < timedelta(minutes=1)
