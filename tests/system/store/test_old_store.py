"""Each kind of record reads what older code wrote, once the store is migrated."""

from collections.abc import Iterator
from datetime import datetime

import pytest
from groundwork.core.windows import Window
from groundwork.store.batches import LogPart
from groundwork.store.database import Store
from groundwork.store.ingested import Piece
from groundwork.store.migrate import migrate
from stores import ERASED, ROWS, known

ALWAYS = datetime(2000, 1, 1), datetime(2100, 1, 1)
OUTCOMES = {identifier: number if name is None else name for identifier, number, _, name in ROWS["outcomes"]}


@pytest.fixture
def store(old_url: str) -> Iterator[Store]:
    migrate(old_url)
    with Store(old_url) as opened:
        yield opened


def test_predictions(store: Store) -> None:
    found = {each.prediction_id: each for each in store.predictions.between(*ALWAYS)}
    assert len(found) == len(ROWS["predictions"])
    assert not {each.entity_key for each in found.values()} & {*ERASED}
    for row in ROWS["predictions"]:
        assert store.predictions.find(row[0]) == found[row[0]]


def test_outcomes(store: Store) -> None:
    predictions = {each.prediction_id: each for each in store.predictions.between(*ALWAYS)}
    assert known(store) == {key: OUTCOMES[key] for key in OUTCOMES.keys() & predictions.keys()}
    answered = {
        key: OUTCOMES[key]
        for key, each in predictions.items()
        if each.role in ("champion", "canary") and key in OUTCOMES and "2026-11-23T07:30" <= each.answered_at < "2027"
    }
    assert len(answered) > 3
    part = LogPart(answered_since="2026-11-23T07:30", answered_until="2027", roles=("champion", "canary"))
    assert known(store, part) == answered


def test_promotions(store: Store) -> None:
    log = [list(entry)[:9] for model in ("another", "late-flights") for entry in store.promotions.of(model)]
    assert log == ROWS["promotions"]
    latest = store.promotions.latest("late-flights")
    assert latest is not None
    assert list(latest)[:9] == ROWS["promotions"][-1]
    assert latest[9:] == ("", "model", "", "", "")


def test_runs(store: Store) -> None:
    runs = {run.flow: run for run in store.runs.latest(succeeded=True)}
    assert [*runs] == ["ingest", "monitor"]
    assert (runs["ingest"].rows_in, runs["ingest"].rows_quarantined, runs["ingest"].seconds) == (1000, 7, 12.5)
    assert {run.flow for run in store.runs.latest(succeeded=False)} >= {"prove"}
    assert [[run.run_id, run.flow] for run in store.runs.under_way()] == [["4f1e", "train"], ["4f1d", "score"]]


def test_schedules(store: Store) -> None:
    assert store.schedules.since() == {flow: datetime.fromisoformat(since) for flow, since in ROWS["schedules"]}


def test_ingested_windows(store: Store) -> None:
    assert store.ingested.pieces("a-table", 5) == {
        Window(datetime.fromisoformat(start), datetime.fromisoformat(end)): Piece(fingerprint, None, "")
        for start, end, fingerprint, *_ in ROWS["windows_read"]
    }


def test_drift_and_shadow(store: Store) -> None:
    assert [drift.status for drift in store.drift.by_window()] == ["ok", "unknown"]
    assert store.drift.by_window()[0].distances == {"carrier": 0.0125, "distance": 1 / 3}
    found = store.drift.latest()
    assert found is not None
    assert (found.status, found.model_version, found.distances, found.report) == ("unknown", None, {}, None)
    assert store.shadow.latest() == {"2": (400, 1 / 3), "3": (1, 1.0)}


def test_proofs(store: Store) -> None:
    proofs = [proof for _, kept in sorted(store.proofs.by_check().items()) for proof in kept]
    assert [list(proof) for proof in proofs] == ROWS["proofs"]
    assert {type(proof.own_data) for proof in proofs} == {type(proof.on_schedule) for proof in proofs} == {bool}
