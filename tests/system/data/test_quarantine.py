"""Quarantine says what it holds and why, and lets in what is sound now: once, whole, and never twice."""

from collections.abc import Callable

import pytest
from groundwork.core.errors import ContractBreach, SourceError
from groundwork.data.quarantine import Replayed, held, replay
from groundwork.data.rules import REASONS
from groundwork.data.snapshots import Snapshots
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand

VALID = "schema.0.properties.3.quality.0.arguments.validValues"
HELD = "update flights set origin = 'HPN' where flight < 10"


def tables(pilot: Pilot) -> tuple[Snapshots, Snapshots]:
    dataset = pilot.contract.dataset
    return Snapshots(pilot.snapshots, dataset), Snapshots(pilot.quarantine, dataset)


def replayed(pilot: Pilot) -> Replayed:
    with connected(pilot) as backend:
        return replay(backend, pilot)


@pytest.fixture
def holding(new_pilot: Pilot, sql: Callable) -> Pilot:
    """A pilot that found an unknown airport in its data, and copies of one flight."""
    sql(
        new_pilot,
        HELD,
        "insert into flights select * replace ((minute + 1) % 60 as minute) from flights"
        " where month = 2 and day = 3 and carrier = 'B6' and origin = 'JFK'",
    )
    by_hand.ingest(Pilot.here())
    return new_pilot


def test_what_is_held_is_listed_by_window_and_rule(holding: Pilot, sql: Callable, set_in: Callable) -> None:
    found = held(holding)
    [(january,)] = sql(holding, "select count(*) from flights where origin = 'HPN' and month = 1")
    assert [(str(each.window), each.rule, each.examples) for each in found if "none of" in each.rule] == [
        ("2013-01-01 to 2013-01-31", "origin: is none of EWR, JFK, LGA", ["HPN"]),
        ("2013-02-01 to 2013-02-28", "origin: is none of EWR, JFK, LGA", ["HPN"]),
    ]
    assert found[0].rows == january > 0
    [copies] = [each for each in found if each.rule == "flight_id: is there already"]
    assert len(copies.examples) == 3
    assert all(example.startswith("20130203-B6-") for example in copies.examples)


def test_values_of_a_sensitive_column_are_not_listed(holding: Pilot, set_in: Callable) -> None:
    contract = holding.settings.home / "contract.yaml"
    set_in(contract, "schema.0.properties.3.classification", "restricted")
    allowed = {"property": "allowedIn", "value": ["features"], "description": "Agreed."}
    set_in(contract, "schema.0.properties.3.customProperties", [allowed])
    assert [each.examples for each in held(Pilot.here()) if each.rule.startswith("origin")] == [[], []]


def test_after_the_contract_was_mended_the_rows_come_in(holding: Pilot, set_in: Callable) -> None:
    """In one commit; what still breaks a rule stays, and the second time nothing happens."""
    snapshots, quarantine = tables(holding)
    before, version, kept = snapshots.read().num_rows, snapshots.version, quarantine.read().num_rows
    set_in(holding.settings.home / "contract.yaml", VALID, ["EWR", "JFK", "LGA", "HPN"])
    pilot = Pilot.here()
    came_in = sum(each.rows for each in held(pilot) if each.rule.startswith("origin"))
    first = replayed(pilot)
    assert (first.let_in, first.remaining, first.not_let_in) == (came_in, kept - came_in, [])
    assert version is not None
    assert first.version == snapshots.version == version + 1
    rows = snapshots.read()
    assert rows.num_rows == before + came_in
    assert len(set(rows["flight_id"].to_pylist())) == rows.num_rows
    assert {each.rule for each in held(pilot)} == {"flight_id: is there already"}
    held_version = quarantine.version
    assert replayed(pilot).let_in == 0
    assert (snapshots.version, quarantine.version) == (first.version, held_version)


def test_after_the_source_was_mended_the_rows_come_in_as_it_has_them_now(holding: Pilot, sql: Callable) -> None:
    sql(holding, "update flights set origin = 'JFK' where origin = 'HPN' and month = 1")
    # The key is made of the origin, so a mended row is another one: what is asked for is what was kept.
    assert replayed(holding).let_in == 0
    sql(holding, "update flights set origin = 'HPN' where flight < 10 and month = 1")


def test_a_row_that_the_source_mended_under_its_key_comes_in(new_pilot: Pilot, sql: Callable) -> None:
    sql(
        new_pilot, "alter table flights alter distance type double", "update flights set distance = 1 where flight < 10"
    )
    by_hand.ingest(Pilot.here())
    snapshots, quarantine = tables(new_pilot)
    before, kept = snapshots.read().num_rows, quarantine.read().num_rows
    sql(new_pilot, "update flights set distance = 777 where distance = 1 and month = 1")
    done = replayed(new_pilot)
    assert 0 < done.let_in < kept
    assert snapshots.read().num_rows == before + done.let_in
    assert snapshots.read()["distance_miles"].to_pylist().count(777) == done.let_in
    assert {each.rule for each in held(new_pilot)} == {"distance_miles: is below 10"}
    assert replayed(new_pilot).let_in == 0


def test_rows_that_the_source_has_no_longer_are_taken_as_they_were_kept(
    holding: Pilot, sql: Callable, set_in: Callable
) -> None:
    sql(holding, "delete from flights where origin = 'HPN'")
    set_in(holding.settings.home / "contract.yaml", VALID, ["EWR", "JFK", "LGA", "HPN"])
    assert replayed(Pilot.here()).let_in > 0


def test_rows_that_break_another_rule_now_stay_with_it(holding: Pilot, set_in: Callable) -> None:
    contract = holding.settings.home / "contract.yaml"
    set_in(contract, VALID, ["EWR", "JFK", "LGA", "HPN"])
    set_in(contract, "schema.0.properties.8.logicalTypeOptions", {"minimum": 8, "maximum": 9})
    pilot = Pilot.here()
    assert replayed(pilot).let_in == 0
    reasons = tables(pilot)[1].read()[REASONS].to_pylist()
    assert reasons
    assert all("weekday: is below 8" in each for each in reasons)


def test_a_run_that_was_killed_before_it_tidied_up_is_finished_by_the_next(
    holding: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_in(holding.settings.home / "contract.yaml", VALID, ["EWR", "JFK", "LGA", "HPN"])
    pilot = Pilot.here()
    snapshots, _ = tables(pilot)

    def killed(*_: object) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Snapshots, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            replayed(pilot)
    let_in = snapshots.read()
    done = replayed(pilot)
    assert done.let_in == 0
    assert snapshots.read().equals(let_in)
    assert {each.rule for each in held(pilot)} == {"flight_id: is there already"}


def test_a_window_that_was_stopped_is_left_to_the_ingest(new_pilot: Pilot, sql: Callable, set_in: Callable) -> None:
    """Its sound rows are not in the snapshots, so its broken ones must not be there alone."""
    sql(new_pilot, "update flights set origin = 'HPN' where month = 1 and rowid % 4 = 0")
    with pytest.raises(ContractBreach):
        by_hand.ingest(Pilot.here())
    set_in(new_pilot.settings.home / "contract.yaml", VALID, ["EWR", "JFK", "LGA", "HPN"])
    done = replayed(Pilot.here())
    assert done.let_in == 0
    assert [str(window) for window in done.not_let_in] == ["2013-01-01 to 2013-01-31"]


def test_rows_that_would_break_the_window_stay_out(holding: Pilot, set_in: Callable) -> None:
    contract = holding.settings.home / "contract.yaml"
    snapshots, _ = tables(holding)
    version = snapshots.version
    set_in(contract, VALID, ["EWR", "JFK", "LGA", "HPN"])
    set_in(contract, "schema.0.quality", [{"metric": "rowCount", "mustBeLessThan": 6_000}])
    with pytest.raises(ContractBreach, match=r"rowCount is 6,.* and must be less than 6,000"):
        replayed(Pilot.here())
    assert snapshots.version == version


def test_without_the_source_nothing_changes(holding: Pilot, sql: Callable) -> None:
    snapshots, quarantine = tables(holding)
    versions = snapshots.version, quarantine.version
    sql(holding, "alter table flights rename to departures")
    with pytest.raises(SourceError):
        replayed(holding)
    assert (snapshots.version, quarantine.version) == versions


def test_an_empty_quarantine_is_no_error(new_pilot: Pilot) -> None:
    assert held(new_pilot) == []
    assert replayed(new_pilot) == Replayed(0, 0, [], None)
