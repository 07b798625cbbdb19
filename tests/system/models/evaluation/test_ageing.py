"""How the gain of a model falls with its age."""

from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from groundwork.core.windows import windows
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import _steps, back_test
from groundwork.models.registry.registry import Registry
from groundwork.models.training.history import Examples


def test_the_age_at_which_the_gain_falls_below_the_line_is_found(months: Pilot, set_in: Callable) -> None:
    version = Registry(months).required_champion()
    set_in(months.settings.home / "charter.yaml", "gate.minGainOverRule", 10**9)
    assert back_test(Pilot.here(), version).retrain_after == 0
    set_in(months.settings.home / "charter.yaml", "gate.minGainOverRule", -(10**9))
    assert back_test(Pilot.here(), version).retrain_after is None


@pytest.mark.parametrize(
    ("least", "before"),
    [(1, list(range(10))), (3, list(range(10))), (6, [0, 2, 4, 6, 8]), (7, [0, 3, 6]), (100, [0])],
)
def test_windows_with_few_rows_are_evaluated_together(least: int, before: list[int]) -> None:
    """Ten weeks of three rows: no row is lost, none is in two steps, and each step begins with a window."""
    days = np.datetime64("2024-01-01") + np.repeat(np.arange(0, 70, 7), 3) + np.tile([0, 3, 6], 10)
    known = Examples(columns={}, outcomes=np.zeros(30, bool), days=days)
    steps = _steps(known, list(windows(datetime(2024, 1, 1, 9), datetime(2024, 3, 11), "week")), least)
    assert [step.windows_before for step in steps] == before
    assert [row for step in steps for row in step.rows] == list(range(30))
    assert [step.rows.start for step in steps] == [3 * windows_before for windows_before in before]
