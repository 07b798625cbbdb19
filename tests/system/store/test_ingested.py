"""What was read counts for the table that it went into."""

from datetime import UTC, datetime

from groundwork.core.windows import Window
from groundwork.store.database import Store
from groundwork.store.ingested import Piece

MARCH, APRIL = datetime(2013, 3, 1), datetime(2013, 4, 1)
AT = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_what_was_read_is_known_of_this_table_in_this_version_or_a_later_one(store_url: str) -> None:
    march, week = Window(MARCH, APRIL), Window(datetime(2013, 3, 4), datetime(2013, 3, 11))
    old, new, part = Piece("old", None, ""), Piece("new", AT, "code"), Piece("part", AT, "code")
    with Store(store_url) as store:
        store.ingested.record({march: old}, "table", 3)
        assert store.ingested.pieces("table", 3) == {march: old}
        store.ingested.record({march: new}, "table", 5)
        assert store.ingested.pieces("table", 5) == store.ingested.pieces("table", 6) == {march: new}
        for known in (("table", 4), ("another", 5), (None, None)):
            assert store.ingested.pieces(*known) == {}
        store.ingested.record({march: new, week: part}, "table", 6)
        assert store.ingested.pieces("table", 6) == {week: part}
