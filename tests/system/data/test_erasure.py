"""A subject that was erased is nowhere any more, on no page of any file, and does not come in again."""

import stat
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import Mock

import msgspec
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler
from groundwork.core.errors import ErasureError, NotEnoughData, UnfitSubject
from groundwork.core.windows import Window
from groundwork.data.erasure import Erased, erase, subject_of
from groundwork.data.snapshots import Snapshots
from groundwork.data.spool import PREFIX
from groundwork.documents.pilot import Pilot
from groundwork.monitoring.monitor import check_drift
from groundwork.pipeline import by_hand
from groundwork.store.batches import LogPart
from groundwork.store.database import Store
from pilots import visits
from stores import known
from stores import log as log_own_ids

JANUARY = Window(datetime(2026, 1, 1), datetime(2026, 2, 1))
FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))


def holding(pilot: Pilot, value: str) -> list[str]:
    """The pilot's files that hold the value; but for the operational system, which is not the pilot's."""
    return [
        str(path.relative_to(pilot.settings.data_folder))
        for path in pilot.settings.data_folder.rglob("*")
        if path.is_file() and path.name != "operational.duckdb" and value.encode() in path.read_bytes()
    ]


def test_a_subject_is_erased_everywhere_and_stays_out(pilot_copy: Pilot, sql: Callable) -> None:
    """Also from what earlier versions hold, from the log of the tables and from the pages of the store."""
    dataset = pilot_copy.contract.dataset
    snapshots = Snapshots(pilot_copy.snapshots, dataset)
    rows = snapshots.read()
    subject = rows["flight_id"][0].as_py()  # the first of its file: the table's log names it
    sql(pilot_copy, "update flights set arr_delay = 60 where month = 1 and day = 1")
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    by_hand.score(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    with Store(pilot_copy.settings.store) as store:
        [prediction] = [
            each for each in store.predictions.between(datetime(2013, 1, 1), FEBRUARY.end) if each.entity_key == subject
        ]
        store.outcomes.log([(prediction.prediction_id, True)])
        left = pilot_copy.settings.data_folder / f"{PREFIX}of-a-run-that-was-killed"
        left.mkdir()
        (left / "sound.parquet").write_text(subject)
        assert len(holding(pilot_copy, subject)) >= 3
        done = erase(pilot_copy, store, subject)
        assert (done.column, done.rows, done.quarantined, done.predictions, done.outcomes) == ("flight_id", 1, 0, 1, 1)
        assert holding(pilot_copy, subject) == []
        assert subject not in store.predictions.read(LogPart()).column("key").tolist()
        again = erase(pilot_copy, store, subject)
    assert (again.rows, again.predictions, again.outcomes, again.version) == (0, 0, 0, done.version)
    present = snapshots.read()
    assert present.num_rows == rows.num_rows - 1
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), FEBRUARY.end)
    assert snapshots.read().num_rows == rows.num_rows - 1
    assert holding(pilot_copy, subject) == []


def test_what_was_trained_on_the_subject_has_to_be_trained_again(pilot_copy: Pilot) -> None:
    """Until then drift is unknown, as the data that it would be measured against is gone."""
    subject = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset).read()["flight_id"][0].as_py()
    by_hand.score(Pilot.here(), *FEBRUARY)
    with Store(pilot_copy.settings.store) as store:
        assert check_drift(pilot_copy, store, FEBRUARY).status != "unknown"
        erase(pilot_copy, store, subject)
        drift = check_drift(pilot_copy, store, FEBRUARY)
        assert drift.status == "unknown"
        assert "of the snapshots cannot be read any more" in drift.reason
        assert "`groundwork train`" in drift.reason
    assert by_hand.train(Pilot.here()).new


def test_one_subject_may_have_many_rows(new_pilot: Pilot, set_in: Callable, sql: Callable) -> None:
    """Those in quarantine, and predictions asked of the service, are found by the tagged column."""
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.tags", ["feature", "subject"])
    sql(new_pilot, "update flights set dest = 'x' where carrier = 'HA' and month = 2")
    pilot = Pilot.here()
    by_hand.ingest(Pilot.here())
    [(january, february)] = sql(
        new_pilot, "select count(*) filter (month = 1), count(*) filter (month = 2) from flights where carrier = 'HA'"
    )
    with Store(pilot.settings.store) as store:
        asked = {"flight_id": "20990101-HA-1-JFK", "carrier": "HA", "note": 'a "B6"'}
        other = asked | {"carrier": "B6", "note": '"carrier":"HA"'}
        for number, record in enumerate((asked, other)):
            log(store, f"id-{number}", record)
        done = erase(pilot, store, "HA")
        assert (done.column, done.rows, done.quarantined, done.predictions) == ("carrier", january, february, 1)
        assert [
            each.prediction_id for each in store.predictions.between(datetime(2099, 1, 1), datetime(2100, 1, 1))
        ] == ["id-1"]
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), FEBRUARY.end)
    dataset = pilot.contract.dataset
    for folder in (pilot.snapshots, pilot.quarantine):
        assert "HA" not in Snapshots(folder, dataset).read()["carrier"].to_pylist()


def log(store: Store, prediction_id: str, record: dict[str, Any]) -> None:
    from groundwork.store.batches import Prediction

    log_own_ids(
        store,
        [
            Prediction(
                prediction_id=prediction_id,
                answered_at="2013-01-01T00:00:00.000+00:00",
                role="champion",
                entity_key=record["flight_id"],
                event_time="2099-01-01T00:00:00",
                model_version="1",
                score=0.5,
                decision="keep",
                record=msgspec.json.encode(record).decode(),
            )
        ],
    )


def test_a_subject_that_nobody_knows_costs_no_history(pilot_copy: Pilot) -> None:
    """But it stays out from now on."""
    snapshots = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset)
    first = snapshots.read(version=0)
    with Store(pilot_copy.settings.store) as store:
        done = erase(pilot_copy, store, "somebody else's")
    assert (done.rows, done.quarantined, done.predictions, done.outcomes) == (0, 0, 0, 0)
    assert snapshots.read(version=0).equals(first)


def test_what_is_remembered_tells_nobody_who_it_was(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key lies apart if it is set, and is for the owner's eyes alone if it is not."""
    Erased(new_pilot).remember("20130101-B6-1-JFK")
    folder = new_pilot.settings.data_folder / "erased"
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert len((folder / "subjects").read_text().split()) == 2
    assert holding(new_pilot, "20130101-B6-1-JFK") == []
    monkeypatch.setenv("GROUNDWORK_ERASURE_KEY", "another")
    with pytest.raises(ErasureError, match="were erased with another key, so they cannot be kept out"):
        Erased(Pilot.here())
    with pytest.raises(ErasureError):
        by_hand.ingest(Pilot.here())
    monkeypatch.delenv("GROUNDWORK_ERASURE_KEY")
    (folder / "key").unlink()
    with pytest.raises(ErasureError):
        by_hand.ingest(Pilot.here())


LOOK_ALIKES: dict[str, list[Any]] = {
    "integer": [2**53, 2**53 + 1, 2**53 - 1, 2**63 - 1, 2**63 - 2, -(2**63), 1 - 2**63, 7, -7, 70, 1377007980063809541],
    "string": [
        "7", "007", "7.0", " 7", "7 ", "70", "9007199254740992", "9007199254740993", "1e5", "1E5", "100000", "100000.0",
        "2026-01-05T10:00:00", "2026-01-05 10:00:00", "2026-01-05", "1.5", "1.50", "true", "True", "null", "-1",
        "O'Neil", 'say "c"', "100%_!", "a\\b", "\u00e9", "e\u0301", "a", "A", "a\nb", "$$", "--", "\u0001",
    ],
}  # fmt: skip


class Little(NamedTuple):
    """What an erasure needs of a pilot, with one row in the snapshots and one in quarantine for each subject."""

    contract: Any
    settings: Any
    snapshots: str
    quarantine: str
    rows: pa.Table


@pytest.fixture(params=LOOK_ALIKES)
def little(request: pytest.FixtureRequest, tmp_path: Path) -> Little:
    dataset = visits({"name": "who", "logicalType": request.param, "tags": ["subject"], "examples": [""]}, name="n")
    subjects = LOOK_ALIKES[request.param]
    columns: dict[str, Any] = {
        "id": [f"r{number}" for number in range(len(subjects))],
        "at": pa.array([datetime(2026, 1, 5)] * len(subjects), pa.timestamp("us")),
        "who": subjects,
        "n": [1] * len(subjects),
        "back": [True] * len(subjects),
    }
    rows = pa.table(columns)
    settings = SimpleNamespace(data_folder=tmp_path, erasure_key="")
    little = Little(SimpleNamespace(dataset=dataset), settings, f"{tmp_path}/snapshots", f"{tmp_path}/quarantine", rows)
    for path in (little.snapshots, little.quarantine):
        Snapshots(path, dataset).replace(rows, *JANUARY)
    return little


def test_exactly_the_subject_is_erased(little: Little, store_url: str) -> None:
    """None of those that look alike: as a floating-point number, as a text, or for SQL."""
    subjects = little.rows["who"].to_pylist()
    left = dict(zip(little.rows["id"].to_pylist(), subjects, strict=True))
    pilot: Any = little
    with Store(store_url) as store:
        for key, subject in left.items():
            log(store, f"p-{key}", {"flight_id": f"not yet in the snapshots {key}", "who": subject})
        store.outcomes.log([(f"p-{key}", True) for key in left])
        for key, subject in list(left.items())[::2]:
            done = erase(pilot, store, str(subject))
            assert (done.rows, done.quarantined, done.predictions, done.outcomes) == (1, 1, 1, 1), subject
            del left[key]
            for path in (little.snapshots, little.quarantine):
                assert sorted(Snapshots(path, little.contract.dataset).read()["id"].to_pylist()) == sorted(left)
            logged = store.predictions.between(datetime(2099, 1, 1), datetime(2100, 1, 1))
            assert {each.prediction_id for each in logged} == {f"p-{key}" for key in left}
            assert len(known(store)) == len(left)
            assert Erased(pilot).without(little.rows)["id"].to_pylist() == list(left)


@pytest.mark.parametrize("kind", [pa.int64(), pa.uint64(), pa.int32(), pa.decimal128(38, 0)])
def test_a_subject_stays_out_whatever_integers_the_source_delivers(kind: pa.DataType, tmp_path: Path) -> None:
    dataset = visits({"name": "who", "logicalType": "integer", "tags": ["subject"], "examples": [1]}, name="n")
    pilot: Any = SimpleNamespace(
        contract=SimpleNamespace(dataset=dataset), settings=SimpleNamespace(data_folder=tmp_path, erasure_key="key")
    )
    Erased(pilot).remember(1377007980)
    rows = pa.table({"who": pa.array([1377007980, 1377007981, None], kind)})
    assert Erased(pilot).without(rows)["who"].to_pylist() == [1377007981, None]


def test_a_row_without_a_subject_stays(tmp_path: Path) -> None:
    """The list of the erased holds the hash of the empty text, by which a changed key is found."""
    dataset = visits({"name": "who", "logicalType": "string", "tags": ["subject"], "examples": [""]}, name="n")
    pilot: Any = SimpleNamespace(
        contract=SimpleNamespace(dataset=dataset), settings=SimpleNamespace(data_folder=tmp_path, erasure_key="key")
    )
    Erased(pilot).remember("ada")
    assert Erased(pilot).without(pa.table({"who": ["", "ada", None]}))["who"].to_pylist() == ["", None]
    with pytest.raises(UnfitSubject, match="the subject is empty"):
        subject_of(dataset, "")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("Monday", "who is an integer, and 'Monday' is not an integer"),
        ("1.3e18", "is not an integer"),
        ("7.0", "is not an integer"),
        ("1_000", "is not an integer"),
        ("\u0667", "is not an integer"),
        (" 7", "is not an integer"),
        (str(2**63), f"who is an integer of 64 bits, and {2**63} is beyond"),
        (str(-(2**63) - 1), "is beyond"),
        ("9" * 10_000, "is beyond"),
    ],
)
def test_a_subject_of_integers_must_be_one(said: str, why: str) -> None:
    dataset = visits({"name": "who", "logicalType": "integer", "tags": ["subject"], "examples": [1]}, name="n")
    with pytest.raises(UnfitSubject) as stopped:
        subject_of(dataset, said)
    assert why in str(stopped.value)
    assert [subject_of(dataset, each) for each in ("007", "-7", "+7", str(-(2**63)))] == [7, -7, 7, -(2**63)]


def test_reports_that_show_the_subject_are_deleted(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.2.tags", ["feature", "subject"])
    pilot = Pilot.here()
    pages = {name: pilot.settings.data_folder / name for name in ("reports/drift-1.html", "mlartifacts/1/drift-1.html")}
    for page in pages.values():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text('{"x": ["HA", "B6"]}', encoding="utf-8")
    other = pilot.settings.reports / "drift-2.html"
    other.write_text('{"x": ["B6", "HAL"]}', encoding="utf-8")
    with Store(pilot.settings.store) as store:
        assert erase(pilot, store, "HA").reports == 2
    assert other.exists()
    assert not any(page.exists() for page in pages.values())


def test_an_erasure_that_broke_off_is_brought_to_its_end(
    pilot_copy: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each run breaks off one step after the one before."""
    snapshots = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset)
    subject = snapshots.read()["flight_id"][0].as_py()
    sql(pilot_copy, "update flights set arr_delay = 60 where month = 1 and day = 1")
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    left = snapshots.read().num_rows - 1
    (Path(pilot_copy.snapshots) / "left-by-a-killed-write.parquet").write_bytes(
        next(Path(pilot_copy.snapshots).glob("*.parquet")).read_bytes()
    )
    with Store(pilot_copy.settings.store) as store:
        for kind, step in (
            (DeltaTable, "delete"),
            (DeltaTable, "vacuum"),
            (DeltaTable, "create_checkpoint"),
            (DeltaStorageHandler, "delete_file"),
        ):
            with monkeypatch.context() as broken:
                broken.setattr(kind, step, Mock(side_effect=OSError("gone")))
                with pytest.raises(OSError, match="gone"):
                    erase(pilot_copy, store, subject)
            assert holding(pilot_copy, subject)
        done = erase(pilot_copy, store, subject)
        assert holding(pilot_copy, subject) == []
        assert erase(pilot_copy, store, subject).version == done.version
    assert snapshots.read().num_rows == left


def test_a_version_that_was_erased_says_so(pilot_copy: Pilot) -> None:
    snapshots = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset)
    subject = snapshots.read()["flight_id"][0].as_py()
    with Store(pilot_copy.settings.store) as store:
        erase(pilot_copy, store, subject)
    with pytest.raises(NotEnoughData, match="version 0 of the snapshots cannot be read any more"):
        snapshots.read(version=0)
