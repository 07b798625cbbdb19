"""A snapshot is replaced window by window, and every version of it can be read again."""

import itertools
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from groundwork.core.errors import Busy, TypeChanged
from groundwork.data.snapshots import Snapshots
from groundwork.data.spool import Spool
from pilots import visits

DATASET = visits(name="age")
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


@pytest.fixture(params=["in memory", "in a file"])
def given(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[pa.Table], pa.Table | Spool]:
    """The rows as they come from quarantine, or as an ingest has them."""
    numbers = itertools.count()

    def give(rows: pa.Table) -> pa.Table | Spool:
        if request.param == "in memory":
            return rows
        spool = Spool(tmp_path / f"{next(numbers)}.parquet", rows.schema, DATASET)
        for place in range(rows.num_rows):
            spool.write(rows.slice(place, 1))
        spool.close()
        return spool

    return give


def test_before_the_first_write_there_is_nothing(snapshots: Snapshots) -> None:
    assert (snapshots.exists, snapshots.version, snapshots.newest()) == (False, None, None)


def test_replacing_a_window_leaves_all_others(snapshots: Snapshots, given: Callable) -> None:
    snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    snapshots.replace(given(NEW), FEBRUARY, MARCH)
    snapshots.replace(given(rows(("d", JANUARY, 4))), JANUARY, FEBRUARY)
    assert snapshots.read()["id"].to_pylist() == ["d", "c"]
    assert snapshots.newest() == FEBRUARY


def test_writing_the_same_again_makes_no_version(snapshots: Snapshots, given: Callable) -> None:
    version = snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    assert snapshots.replace(given(OLD.take([1, 0])), JANUARY, FEBRUARY) == version
    assert snapshots.version == version


def test_a_column_keeps_its_type(snapshots: Snapshots, given: Callable) -> None:
    """Delta Lake would cut the decimals off."""
    version = snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    schema = NEW.schema.set(2, pa.field("age", pa.float64()))
    with pytest.raises(TypeChanged, match=r"age is double in contract.yaml, but int64 in .*; nothing was changed"):
        snapshots.replace(given(NEW.cast(schema)), FEBRUARY, MARCH)
    with pytest.raises(TypeChanged):
        snapshots.append(NEW.cast(schema))
    assert snapshots.version == version


def test_every_version_can_be_read_again(snapshots: Snapshots, given: Callable) -> None:
    first = snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    snapshots.replace(given(NEW), FEBRUARY, MARCH)
    snapshots.replace(given(rows(("d", JANUARY, 4))), JANUARY, FEBRUARY)
    assert snapshots.read(version=first).equals(OLD)


def test_reads_are_half_open_and_in_order(snapshots: Snapshots, given: Callable) -> None:
    snapshots.replace(given(NEW), FEBRUARY, MARCH)
    snapshots.replace(given(rows(("z", JANUARY, 1), ("b", FEBRUARY, 2), ("a", FEBRUARY, 2))), JANUARY, MARCH)
    assert snapshots.read()["id"].to_pylist() == ["z", "a", "b"]
    assert snapshots.read(JANUARY, FEBRUARY)["id"].to_pylist() == ["z"]
    assert snapshots.read(start=FEBRUARY)["id"].to_pylist() == ["a", "b"]
    assert snapshots.read(MARCH).num_rows == 0


def test_a_window_can_become_empty(snapshots: Snapshots, given: Callable) -> None:
    snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    snapshots.replace(given(OLD.slice(0, 0)), JANUARY, FEBRUARY)
    assert snapshots.read().num_rows == 0
    assert snapshots.newest() is None


def test_a_column_comes_and_goes_and_the_other_windows_stay(snapshots: Snapshots, given: Callable) -> None:
    """A new feature: what was written before has no value there, and can still be read as it was."""
    first = snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    snapshots.replace(given(NEW.append_column("weight", pa.array([7], pa.int64()))), FEBRUARY, MARCH)
    assert snapshots.read()["weight"].to_pylist() == [None, None, 7]
    assert "weight" not in snapshots.read(version=first).column_names
    snapshots.replace(given(rows(("d", JANUARY, 4))), JANUARY, FEBRUARY)
    assert snapshots.read()["weight"].to_pylist() == [None, 7]


def test_in_which_order_columns_stand_is_no_change(snapshots: Snapshots, given: Callable) -> None:
    """A column that was added to the middle of the contract stands last in the table."""
    snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    wider = OLD.add_column(1, "weight", pa.array([7, None], pa.int64()))
    version = snapshots.replace(given(wider), JANUARY, FEBRUARY)
    assert snapshots.replace(given(wider), JANUARY, FEBRUARY) == version


def test_a_window_is_replaced_in_files_that_hold_others_too(snapshots: Snapshots, given: Callable) -> None:
    """As after a replay of several windows, or under windows of another length."""
    snapshots.replace(given(pa.concat_tables([OLD, NEW])), JANUARY, MARCH)
    snapshots.replace(given(rows(("d", FEBRUARY, 4))), FEBRUARY, MARCH)
    assert snapshots.read()["id"].to_pylist() == ["a", "b", "d"]
    snapshots.replace(given(rows(("e", JANUARY, 5), ("f", FEBRUARY, 6))), JANUARY, MARCH)
    assert snapshots.read()["id"].to_pylist() == ["e", "f"]


def test_a_file_that_was_let_in_is_the_tables_own(snapshots: Snapshots, tmp_path: Path) -> None:
    """Nothing is written twice, and the log tells no value but the bounds of the event time."""
    spool = Spool(tmp_path / "spool.parquet", OLD.schema, DATASET)
    spool.write(OLD)
    spool.close()
    snapshots.replace(spool, JANUARY, FEBRUARY)
    [file] = pa.table(DeltaTable(snapshots.path).get_add_actions(flatten=True)).to_pylist()
    assert (Path(snapshots.path) / file["path"]).samefile(spool.file)
    spool.file.unlink()
    assert snapshots.read().equals(OLD)
    told = {name: value for name, value in file.items() if name.startswith(("min.", "max.")) and value is not None}
    assert told == {"min.at": JANUARY, "max.at": datetime(2013, 1, 31, 23, 59, 59, 999999)}


class Interrupted(Snapshots):
    """Somebody else writes as soon as this one has looked at the table, or for it."""

    meanwhile: Callable[[], object] | None = None

    @property
    def exists(self) -> bool:
        seen = super().exists
        if not seen:
            self._interrupt()
        return seen

    def _files_of_window(self, *arguments: Any) -> list[str] | None:
        self._interrupt()
        return super()._files_of_window(*arguments)

    def _interrupt(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()


@pytest.mark.parametrize("there", [True, False])
def test_who_is_overtaken_says_so_and_changes_nothing(there: bool, snapshots: Snapshots, given: Callable) -> None:
    """Whether the table was there before, or both make it."""
    if there:
        snapshots.replace(given(OLD), JANUARY, FEBRUARY)
    overtaken = Interrupted(snapshots.path, DATASET)
    overtaken.meanwhile = lambda: snapshots.replace(given(rows(("d", JANUARY, 4))), JANUARY, FEBRUARY)
    with pytest.raises(Busy, match=r"another process wrote to .* meanwhile; nothing was changed"):
        overtaken.replace(given(rows(("e", JANUARY, 5))), JANUARY, FEBRUARY)
    assert snapshots.read()["id"].to_pylist() == ["d"]
