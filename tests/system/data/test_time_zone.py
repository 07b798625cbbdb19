"""One meaning of time: the contract's zone, for sources with and without a zone, also when clocks change."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import ibis
import pytest
import yaml
from groundwork.core.errors import SourceError, TypeChanged
from groundwork.core.windows import Window, with_offset
from groundwork.data.quarantine import held, replay
from groundwork.data.rules import REASONS, stale
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import connected, expression
from groundwork.documents.contract.contract import Contract
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from pilots import CHARTER, enter, write_pilot
from use_case import source

BERLIN = ZoneInfo("Europe/Berlin")
AUTUMN, SPRING = datetime(2026, 10, 25), datetime(2026, 3, 29)
A_DAY = timedelta(days=1)


def time_column(name: str, **options: Any) -> dict[str, Any]:
    return {
        "name": name,
        "logicalType": "timestamp",
        "logicalTypeOptions": {"defaultTimezone": "Europe/Berlin"} | options,
        "description": "",
        "examples": ["2026-01-01T00:30:00"],
    }


CONTRACT: dict[str, Any] = {
    "apiVersion": "v3.1.0",
    "kind": "DataContract",
    "id": "meter",
    "version": "1.0.0",
    "status": "active",
    "slaProperties": [{"property": "freshness", "value": 36500, "unit": "d"}],
    "schema": [
        {
            "name": "flights",
            "customProperties": [{"property": "maxQuarantinedShare", "value": 0.5}],
            "quality": [
                {
                    "name": "read early",
                    "type": "sql",
                    "query": "SELECT COUNT(*) FROM ${object} WHERE read_at < at",
                    "mustBe": 0,
                }
            ],
            "properties": [
                {"name": "id", "logicalType": "string", "description": "", "primaryKey": True, "examples": ["a"]},
                time_column("at") | {"tags": ["event_time"], "unique": True},
                time_column("read_at"),
                {"name": "level", "logicalType": "number", "description": "", "tags": ["feature"], "examples": [1.5]},
                {"name": "high", "logicalType": "boolean", "description": "", "tags": ["outcome"], "examples": [True]},
            ],
        }
    ],
}

Measured = Callable[..., Pilot]


@pytest.fixture(params=["duckdb", "postgresql"])
def measured(
    request: pytest.FixtureRequest, tmp_path: Path, flights: Path, monkeypatch: pytest.MonkeyPatch
) -> Measured:
    """Makes a pilot whose source, on DuckDB or PostgreSQL, holds these times in a column of this type."""

    def make(times: list[datetime], zoned: bool, read: timedelta = timedelta(minutes=5), step: str = "day") -> Pilot:
        home = tmp_path / f"pilot-{zoned}"
        write_pilot(home, flights)
        (home / "contract.yaml").write_text(yaml.safe_dump(CONTRACT, sort_keys=False))
        charter = yaml.safe_load((home / "charter.yaml").read_text())
        charter["monitoring"] = CHARTER["monitoring"] | {"window": step}  # type: ignore[operator]
        (home / "charter.yaml").write_text(yaml.safe_dump(charter, sort_keys=False))
        kind = "timestamptz" if zoned else "timestamp"
        rows = ", ".join(
            f"('{number:03}', '{at}'::{kind}, '{at + read}'::{kind}, {number}, {number % 2 == 0})"
            for number, at in enumerate(times)
        )
        if request.param == "duckdb":
            url = f"duckdb://{home}/data/readings.duckdb"
        else:
            url = request.getfixturevalue("postgres").empty_database()
        backend = ibis.connect(url)
        backend.raw_sql(f"create table readings (id varchar, t {kind}, read_at {kind}, level float, high boolean)")
        if rows:
            backend.raw_sql(f"insert into readings values {rows}")
        if request.param == "postgresql":
            backend.con.commit()
        backend.disconnect()
        monkeypatch.setenv("GROUNDWORK_SOURCE_URL", url)
        monkeypatch.setattr(source, "rows", _rows)
        return enter(home, monkeypatch)

    return make


def _rows(backend: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
    readings = backend.table("readings").rename(at="t")
    return readings.filter((readings["at"] >= start) & (readings["at"] < end))


def instants(pilot: Pilot) -> list[datetime]:
    return Snapshots(pilot.snapshots, pilot.contract.dataset).read()["at"].to_pylist()


def hours_of(day: datetime) -> list[datetime]:
    """Every hour of the day in Berlin, as instants."""
    first, end = (moment.replace(tzinfo=BERLIN).astimezone(UTC) for moment in (day, day + A_DAY))
    return [first + timedelta(hours=number) for number in range((end - first) // timedelta(hours=1))]


@pytest.mark.parametrize("zoned", [True, False])
def test_half_past_midnight_of_new_year_falls_into_january(measured: Measured, zoned: bool) -> None:
    local = [datetime(2025, 12, 31, 23, 30), datetime(2026, 1, 1, 0, 30), datetime(2026, 1, 31, 23, 30)]
    times = [moment.replace(tzinfo=BERLIN) for moment in local] if zoned else local
    pilot = measured(times, zoned, step="month")
    december, january = by_hand.ingest(pilot)
    assert (december.window, december.rows_in) == (Window(datetime(2025, 12, 1), datetime(2026, 1, 1)), 1)
    assert (january.window, january.rows_in) == (Window(datetime(2026, 1, 1), datetime(2026, 2, 1)), 2)
    assert instants(pilot) == [moment.replace(tzinfo=BERLIN).astimezone(UTC) for moment in local]
    read = Snapshots(pilot.snapshots, pilot.contract.dataset).read(*january.window)
    assert read["id"].to_pylist() == ["001", "002"]
    [again] = by_hand.ingest(Pilot.here())  # the newest window only, because nothing changed
    assert (again.window, again.version) == (january.window, january.version)


@pytest.mark.parametrize(("day", "hours"), [(AUTUMN, 25), (SPRING, 23), (AUTUMN - A_DAY, 24)])
def test_a_day_has_its_25_or_23_hours(measured: Measured, day: datetime, hours: int) -> None:
    """The two half past two of autumn are two times: unique, in order, and later than each other."""
    pilot = measured(hours_of(day), zoned=True, read=timedelta(minutes=70))
    [done] = by_hand.ingest(pilot)
    assert (done.window, done.rows_in, done.rows_quarantined) == (Window(day, day + A_DAY), hours, 0)
    assert instants(pilot) == hours_of(day)


def test_a_time_without_a_zone_means_the_same_as_in_a_request(measured: Measured) -> None:
    """The first of two equal times; a skipped time is moved by the hour that clocks skip."""
    local = [SPRING + timedelta(hours=2.5), AUTUMN + timedelta(hours=2.5), AUTUMN + timedelta(hours=3.5)]
    pilot = measured(local, zoned=False)
    by_hand.ingest(pilot)
    expected = ["2026-03-29T03:30:00+02:00", "2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00"]
    assert [with_offset(moment, BERLIN).isoformat() for moment in local] == expected
    assert instants(pilot) == [datetime.fromisoformat(moment) for moment in expected]
    window = Window(datetime(2026, 3, 29, 2), datetime(2026, 3, 29, 3))  # not one instant
    assert Snapshots(pilot.snapshots, pilot.contract.dataset).read(*window).num_rows == 0


def test_quarantined_rows_keep_their_time(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    pilot = measured([*hours_of(AUTUMN), *hours_of(AUTUMN + A_DAY)], zoned=True, read=-timedelta(minutes=1))
    contract = yaml.safe_load((pilot.settings.home / "contract.yaml").read_text())
    contract["schema"][0]["customProperties"][0]["value"] = 1
    (pilot.settings.home / "contract.yaml").write_text(yaml.safe_dump(contract))
    by_hand.ingest(Pilot.here())
    found = held(Pilot.here())
    assert [(entry.window.start, entry.rows) for entry in found] == [(AUTUMN, 25), (AUTUMN + A_DAY, 24)]
    assert {entry.rule for entry in found} == {"flights: breaks the rule: read early"}
    rows = Snapshots(pilot.quarantine, pilot.contract.dataset).read()
    assert rows["at"].to_pylist() == [*hours_of(AUTUMN), *hours_of(AUTUMN + A_DAY)]
    assert rows[REASONS].null_count == 0


def test_a_row_that_is_valid_now_is_let_in(measured: Measured, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay reads the row from the source again."""
    pilot = measured([SPRING + timedelta(hours=hour + 0.5) for hour in range(3)], zoned=False)

    def unread(backend: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
        rows = _rows(backend, start, end)
        return rows.mutate(read_at=ibis.ifelse(rows.id == "002", None, rows.read_at))

    monkeypatch.setattr(source, "rows", unread)
    contract = yaml.safe_load((pilot.settings.home / "contract.yaml").read_text())
    contract["schema"][0]["properties"][2]["required"] = True
    (pilot.settings.home / "contract.yaml").write_text(yaml.safe_dump(contract))
    by_hand.ingest(Pilot.here())
    assert [moment.hour for moment in instants(pilot)] == [23, 0]
    monkeypatch.setattr(source, "rows", _rows)
    with connected(Pilot.here()) as backend:
        assert replay(backend, Pilot.here()).let_in == 1
    read = Snapshots(pilot.snapshots, pilot.contract.dataset).read()
    assert dict(zip(read["id"].to_pylist(), read["at"].to_pylist(), strict=True))["002"] == datetime(
        2026, 3, 29, 1, 30, tzinfo=UTC
    )


@pytest.mark.parametrize("zoned", [True, False])
def test_freshness_compares_instants(measured: Measured, zoned: bool) -> None:
    at = datetime(2026, 7, 1, 12)
    pilot = measured([at.replace(tzinfo=BERLIN) if zoned else at], zoned)
    level = CONTRACT["slaProperties"][0] | {"value": 2, "unit": "h"}
    contract = Contract.model_validate(CONTRACT | {"slaProperties": [level]})
    with connected(pilot) as backend:
        rows = expression(backend, contract.dataset, Window(datetime(2026, 1, 1), datetime(2027, 1, 1)))
        assert stale(rows, contract, datetime(2026, 7, 1, 11, 59, tzinfo=UTC)) == []
        [said] = stale(rows, contract, datetime(2026, 7, 1, 12, 1, tzinfo=UTC))
        assert said.endswith("but the newest row is of 2026-07-01 12:00 Europe/Berlin")
        [said] = stale(rows, contract, datetime(2026, 7, 1, 9, 59, tzinfo=UTC))  # the row lies in the future
        assert said.endswith("there are no rows")


def test_midnight_that_clocks_show_twice(measured: Measured, set_in: Callable) -> None:
    """On the Azores, clocks go back from 01:00 to 00:00: the day begins with the first midnight."""
    first = datetime(2026, 10, 25, tzinfo=UTC)  # 00:00 there, one hour before the second
    pilot = measured([first - timedelta(minutes=30) + timedelta(hours=hour) for hour in range(4)], zoned=True)
    for column in (1, 2):
        path = f"schema.0.properties.{column}.logicalTypeOptions.defaultTimezone"
        set_in(pilot.settings.home / "contract.yaml", path, "Atlantic/Azores")
    before, after = by_hand.ingest(Pilot.here())
    assert (before.window.start, before.rows_in) == (AUTUMN - A_DAY, 1)
    assert (after.window.start, after.rows_in) == (AUTUMN, 3)
    [done] = by_hand.ingest(Pilot.here(), AUTUMN, AUTUMN + A_DAY)
    assert done.rows_in == 3


def test_another_zone_does_not_mix_with_rows_without_one(measured: Measured, set_in: Callable) -> None:
    pilot = measured([AUTUMN, AUTUMN + A_DAY], zoned=False)
    contract = pilot.settings.home / "contract.yaml"
    for column in (1, 2):
        set_in(contract, f"schema.0.properties.{column}.logicalTypeOptions", {})
    by_hand.ingest(Pilot.here())
    assert instants(pilot) == [AUTUMN, AUTUMN + A_DAY]  # in UTC without a zone, as ever
    for column in (1, 2):
        set_in(contract, f"schema.0.properties.{column}.logicalTypeOptions", {"defaultTimezone": "Europe/Berlin"})
    with pytest.raises(TypeChanged, match=r"at is timestamp.*UTC.* in contract.yaml, but timestamp"):
        by_hand.ingest(Pilot.here())


def test_a_contract_may_demand_a_zone_of_the_source(measured: Measured, set_in: Callable) -> None:
    pilot = measured([AUTUMN], zoned=False)
    set_in(pilot.settings.home / "contract.yaml", "schema.0.properties.1.logicalTypeOptions.timezone", True)
    with pytest.raises(SourceError, match="at: has timezone: true in the contract, but no time zone in the source"):
        by_hand.ingest(Pilot.here())
