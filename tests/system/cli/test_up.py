"""The whole loop at once: what it shows of months."""

import pytest
from groundwork.cli.up import show_months
from groundwork.documents.pilot import Pilot


def test_months_in_which_nobody_decided_are_no_empty_table(
    new_pilot: Pilot, capsys: pytest.CaptureFixture[str]
) -> None:
    show_months(new_pilot)
    assert "no model is in service, so no month was scored" in " ".join(capsys.readouterr().out.split())
