"""What the monitor found last is what counts."""

from datetime import UTC, datetime

from groundwork.store.database import Store
from groundwork.store.drifts import Drift, DriftStatus

MARCH, APRIL = datetime(2013, 3, 1), datetime(2013, 4, 1)
STATUSES: tuple[tuple[DriftStatus, int], ...] = (("ok", 22), ("drift", 23))


def test_the_latest_drift_is_the_one_measured_last(store_url: str) -> None:
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
        for status, day in STATUSES
    )
    with Store(store_url) as store:
        assert store.drift.latest() is None
        store.drift.record(late)
        store.drift.record(early)
        assert store.drift.latest() == late
        assert store.drift.by_window() == [late]
