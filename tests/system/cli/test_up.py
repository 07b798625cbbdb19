"""The whole loop at once: what it shows of months."""

from collections.abc import Callable

import pytest
from groundwork.cli import loop
from groundwork.cli.loop import plays_example
from groundwork.cli.up import _what_next, show_months
from groundwork.documents.pilot import Pilot


def test_months_in_which_nobody_decided_are_no_empty_table(
    new_pilot: Pilot, capsys: pytest.CaptureFixture[str]
) -> None:
    show_months(new_pilot)
    assert "no model is in service, so no month was scored" in " ".join(capsys.readouterr().out.split())


def test_a_team_that_brought_its_own_data_is_not_told_to_bring_it(
    new_pilot: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(pilot: Pilot) -> str:
        _what_next(pilot, "http://127.0.0.1:8000", serving=False)
        return " ".join(capsys.readouterr().out.split())

    assert plays_example(new_pilot)
    assert "To use your own data, edit contract.yaml" in said(new_pilot)
    with monkeypatch.context() as patch:
        patch.setenv("GROUNDWORK_SOURCE_URL", "duckdb:///srv/orders.duckdb")
        assert not plays_example(Pilot.here())
    with monkeypatch.context() as patch:
        patch.setattr(loop, "find_spec", lambda name: None)  # use_case/seed.py is deleted
        assert not plays_example(new_pilot)
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.name", "orders")
    assert not plays_example(Pilot.here())
    assert "own data" not in said(Pilot.here())
