"""How the gain of a model falls with its age."""

from collections.abc import Callable

from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import back_test
from groundwork.models.registry.registry import Registry


def test_the_age_at_which_the_gain_falls_below_the_line_is_found(months: Pilot, set_in: Callable) -> None:
    version = Registry(months).required_champion()
    set_in(months.settings.home / "charter.yaml", "gate.minGainOverRule", 10**9)
    assert back_test(Pilot.here(), version).retrain_after == 0
    set_in(months.settings.home / "charter.yaml", "gate.minGainOverRule", -(10**9))
    assert back_test(Pilot.here(), version).retrain_after is None
