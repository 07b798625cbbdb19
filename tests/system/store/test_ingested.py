"""What was read counts for the table that it went into."""

from datetime import datetime

from groundwork.core.windows import Window
from groundwork.store.database import Store

MARCH, APRIL = datetime(2013, 3, 1), datetime(2013, 4, 1)


def test_what_was_read_is_known_of_this_table_in_this_version_or_a_later_one(store_url: str) -> None:
    march, week = Window(MARCH, APRIL), Window(datetime(2013, 3, 4), datetime(2013, 3, 11))
    with Store(store_url) as store:
        store.ingested.record(march, "old", "table", 3)
        store.ingested.record(march, "new", "table", 5)
        assert store.ingested.windows("table", 5) == store.ingested.windows("table", 6) == {march: "new"}
        for known in (("table", 4), ("another", 5), (None, None)):
            assert store.ingested.windows(*known) == {}
        store.ingested.record(week, "part", "table", 6)
        assert store.ingested.windows("table", 6) == {week: "part"}
