"""A snapshot is replaced window by window, and every version of it can be read again."""

from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from groundwork.contract import Dataset
from groundwork.errors import TypeChanged
from groundwork.snapshots import Snapshots

DATASET = Dataset.model_validate(
    {
        "name": "visits",
        "properties": [
            {"name": "id", "description": "", "logicalType": "string", "primaryKey": True, "examples": ["a"]},
            {"name": "at", "description": "", "logicalType": "timestamp", "tags": ["event_time"], "examples": [""]},
            {"name": "age", "description": "", "logicalType": "integer", "tags": ["feature"], "examples": [1]},
            {"name": "back", "description": "", "logicalType": "boolean", "tags": ["outcome"], "examples": [True]},
        ],
    }
)
JANUARY, FEBRUARY, MARCH = (datetime(2013, month, 1) for month in (1, 2, 3))


def rows(*triples: tuple[str, datetime, int | None]) -> pa.Table:
    ids, moments, ages = zip(*triples, strict=True)
    types = {"id": pa.string(), "at": pa.timestamp("us"), "age": pa.int64(), "back": pa.bool_()}
    return pa.table([ids, moments, ages, [None] * len(ids)], pa.schema(types))


OLD = rows(("a", JANUARY, 1), ("b", datetime(2013, 1, 31, 23, 59, 59, 999999), None))
NEW = rows(("c", FEBRUARY, 3))


@pytest.fixture
def snapshots(tmp_path: Path) -> Snapshots:
    return Snapshots(tmp_path / "visits", DATASET)


def test_before_the_first_write_there_is_nothing(snapshots: Snapshots) -> None:
    assert (snapshots.exists, snapshots.version, snapshots.newest()) == (False, None, None)


def test_replacing_a_window_leaves_all_others(snapshots: Snapshots) -> None:
    snapshots.replace(OLD, JANUARY, FEBRUARY)
    snapshots.replace(NEW, FEBRUARY, MARCH)
    snapshots.replace(rows(("d", JANUARY, 4)), JANUARY, FEBRUARY)
    assert snapshots.read()["id"].to_pylist() == ["d", "c"]
    assert snapshots.newest() == FEBRUARY


def test_writing_the_same_again_makes_no_version(snapshots: Snapshots) -> None:
    version = snapshots.replace(OLD, JANUARY, FEBRUARY)
    assert snapshots.replace(OLD.take([1, 0]), JANUARY, FEBRUARY) == version
    assert snapshots.version == version


def test_a_column_keeps_its_type(snapshots: Snapshots) -> None:
    """Delta Lake would cut the decimals off."""
    version = snapshots.replace(OLD, JANUARY, FEBRUARY)
    schema = NEW.schema.set(2, pa.field("age", pa.float64()))
    with pytest.raises(TypeChanged, match=r"age is double by contract.yaml, and int64 in .*; nothing was changed"):
        snapshots.replace(NEW.cast(schema), FEBRUARY, MARCH)
    with pytest.raises(TypeChanged):
        snapshots.append(NEW.cast(schema))
    assert snapshots.version == version


def test_every_version_can_be_read_again(snapshots: Snapshots) -> None:
    first = snapshots.replace(OLD, JANUARY, FEBRUARY)
    snapshots.replace(NEW, FEBRUARY, MARCH)
    snapshots.replace(rows(("d", JANUARY, 4)), JANUARY, FEBRUARY)
    assert snapshots.read(version=first).equals(OLD)


def test_reads_are_half_open_and_in_order(snapshots: Snapshots) -> None:
    snapshots.replace(NEW, FEBRUARY, MARCH)
    snapshots.replace(rows(("z", JANUARY, 1), ("b", FEBRUARY, 2), ("a", FEBRUARY, 2)), JANUARY, MARCH)
    assert snapshots.read()["id"].to_pylist() == ["z", "a", "b"]
    assert snapshots.read(JANUARY, FEBRUARY)["id"].to_pylist() == ["z"]
    assert snapshots.read(start=FEBRUARY)["id"].to_pylist() == ["a", "b"]
    assert snapshots.read(MARCH).num_rows == 0


def test_a_window_can_become_empty(snapshots: Snapshots) -> None:
    snapshots.replace(OLD, JANUARY, FEBRUARY)
    snapshots.replace(OLD.slice(0, 0), JANUARY, FEBRUARY)
    assert snapshots.read().num_rows == 0
    assert snapshots.newest() is None


def test_a_column_comes_and_goes_and_the_other_windows_stay(snapshots: Snapshots) -> None:
    """A new feature: what was written before has no value there, and can still be read as it was."""
    first = snapshots.replace(OLD, JANUARY, FEBRUARY)
    snapshots.replace(NEW.append_column("weight", pa.array([7], pa.int64())), FEBRUARY, MARCH)
    assert snapshots.read()["weight"].to_pylist() == [None, None, 7]
    assert "weight" not in snapshots.read(version=first).column_names
    snapshots.replace(rows(("d", JANUARY, 4)), JANUARY, FEBRUARY)
    assert snapshots.read()["weight"].to_pylist() == [None, 7]
