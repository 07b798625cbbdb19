"""Return and break-even, computed from the charter as a range."""

from collections.abc import Callable

import pytest
from groundwork.documents.business_case import returns
from groundwork.documents.pilot import Pilot

CASE = {
    "metric": "late departures re-planned in time",
    "baseline": {"value": 60, "source": "Operations log", "measuredOn": "2026-10-01"},
    "target": {"value": 80, "smallestWorthwhile": 70},
    "valuePerUnit": {"low": 200, "base": 400, "high": 500, "source": "Finance"},
    "costs": {
        "build": {"low": 40000, "base": 60000, "high": 90000, "source": "Timesheets"},
        "runPerMonth": {"low": 500, "base": 1000, "high": 2000, "source": "Cloud bill"},
        "peoplePerMonth": {"low": 3000, "base": 5000, "high": 8000, "source": "Half a post"},
    },
    "horizonMonths": 12,
}


@pytest.fixture
def with_case(new_pilot: Pilot, set_in: Callable) -> Pilot:
    set_in(new_pilot.settings.home / "charter.yaml", "decision.volumePerMonth", 10_000)
    set_in(new_pilot.settings.home / "charter.yaml", "businessCase", CASE)
    set_in(new_pilot.settings.home / "charter.yaml", "businessCase.baseline.measuredOn", "TBD")
    return Pilot.here()


def test_the_low_case_is_low_benefit_at_high_cost(with_case: Pilot) -> None:
    found = returns(with_case.charter)
    assert found is not None
    assert found.low.benefit == 10 * 10 * 200 * 12  # (70 - 60) more per 1,000, ten thousand decisions, 200 each, a year
    assert found.low.cost == 90_000 + 12 * (2000 + 8000)
    assert found.low.break_even_months == 90_000 / (20_000 - 10_000)
    assert found.base.net == 10 * 20 * 400 * 12 - (60_000 + 12 * 6000)
    assert found.high.roi == pytest.approx((10 * 20 * 500 * 12) / (40_000 + 12 * 3500) - 1)


def test_what_never_pays_has_no_break_even(with_case: Pilot, set_in: Callable) -> None:
    set_in(with_case.settings.home / "charter.yaml", "businessCase.valuePerUnit.low", 100)
    found = returns(Pilot.here().charter)
    assert found is not None
    assert found.low.break_even_months is None
    assert found.low.net < 0


@pytest.mark.parametrize(
    "path", ["decision.volumePerMonth", "businessCase.costs.build.high", "businessCase.baseline.value"]
)
def test_an_open_figure_leaves_it_unknown(path: str, with_case: Pilot, set_in: Callable) -> None:
    set_in(with_case.settings.home / "charter.yaml", path, "TBD")
    assert returns(Pilot.here().charter) is None
