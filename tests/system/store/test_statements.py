"""Statements name their columns: a table that a later version gives one more is written and read as before."""

from datetime import UTC, datetime

from groundwork.core.windows import Window
from groundwork.store.batches import Prediction
from groundwork.store.database import Store
from groundwork.store.drifts import Drift
from groundwork.store.ingested import Piece
from groundwork.store.promotion_log import Promotion
from groundwork.store.proofs import Proof
from groundwork.store.runs import FlowRun, UnderWay
from stores import ROWS, change, known, log, query

AT, MARCH, APRIL = datetime(2026, 11, 23, 8, tzinfo=UTC), datetime(2013, 3, 1), datetime(2013, 4, 1)
PREDICTION = Prediction(
    prediction_id="id-1",
    answered_at=AT.isoformat(),
    role="canary",
    entity_key="flight-1",
    event_time=MARCH.isoformat(),
    model_version="1",
    score=0.5,
    decision="keep",
    record='{"flight_id":"flight-1"}',
    class_scores=None,
)
PROMOTION = Promotion(
    model="late-flights",
    number=1,
    promoted_at=AT.isoformat(),
    promoted_by="ada",
    from_version="",
    to_version="1",
    why="better",
    evidence_sha256="e" * 64,
    bundle_sha256="b" * 64,
)
PROOF = Proof(
    check_id="data-schema",
    proven_at=AT.isoformat(),
    command="groundwork prove",
    exit_code=0,
    digest="0" * 64,
    seconds=1.5,
    own_data=True,
    on_schedule=False,
    seen="all is well",
)
RUN = FlowRun(flow="ingest", started_at=AT, seconds=2.5, succeeded=True, rows_in=10, rows_quarantined=1, message="ok")
DRIFT = Drift(
    window_start=MARCH,
    window_end=APRIL,
    model_version="1",
    status="drift",
    reason="carrier",
    distances={"carrier": 0.5},
    drifted=["carrier"],
    report="page.html",
    measured_at=AT,
)
UNDER_WAY = UnderWay("4f1d", "train", AT, datetime.now(UTC).replace(microsecond=0))


def test_a_column_more_in_every_table_changes_nothing(store_url: str) -> None:
    Store(store_url).close()
    tables = [*ROWS.keys() - {"predictions"}, "prediction_batches", "prediction_ids"]
    for table in tables:
        change(store_url, f"alter table {table} add column added_later text default 'so'")
    with Store(store_url) as store:
        log(store, [PREDICTION])
        assert store.outcomes.log([("id-1", "late")]) == ([], [])
        store.runs.record(RUN)
        store.runs.keep_alive(UNDER_WAY)
        store.schedules.keep(["ingest"])
        store.ingested.record({Window(MARCH, APRIL): Piece("31:99", AT, "code")}, "a-table", 3)
        store.drift.record(DRIFT)
        store.shadow.record("2", 100, 0.5)
        store.proofs.record([PROOF])
        assert store.promotions.append(PROMOTION)
        for table in tables:
            assert query(store_url, f"select count(*), min(added_later) from {table}") == [(1, "so")], table

        assert store.predictions.between(MARCH, APRIL) == [PREDICTION]
        assert known(store) == {"id-1": "late"}
        assert store.runs.latest(succeeded=True) == [RUN]
        assert store.runs.under_way() == [UNDER_WAY]
        assert [*store.schedules.since()] == ["ingest"]
        assert store.ingested.pieces("a-table", 3) == {Window(MARCH, APRIL): Piece("31:99", AT, "code")}
        assert store.drift.latest() == DRIFT
        assert store.shadow.latest() == {"2": (100, 0.5)}
        assert store.proofs.by_check() == {"data-schema": [PROOF]}
        assert store.promotions.of("late-flights") == [PROMOTION]
