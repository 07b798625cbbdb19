"""Return on investment and break-even of the charter's business case, computed as a range.

The monthly benefit is `volume / 1000 * (metric with the model - metric without it) * value per unit`; the monthly cost
is that of running and of people. The return is `(benefit - cost) / cost` over the horizon, with the cost of building.
Break-even is after `build / (monthly benefit - monthly cost)` months, or never.
"""

from dataclasses import dataclass

from groundwork.documents.charter import Charter, Range


@dataclass(frozen=True)
class Case:
    """The low, expected or high case; money is in the charter's currency, over the horizon."""

    benefit: float
    cost: float
    break_even_months: float | None  # None if never

    @property
    def net(self) -> float:
        return self.benefit - self.cost

    @property
    def roi(self) -> float | None:
        """Net benefit divided by cost; 1.0 means that the benefit is twice the cost. None if the cost is 0."""
        return self.net / self.cost if self.cost else None


@dataclass(frozen=True)
class Returns:
    """The low case (low benefit, high cost), the expected case, and the high case (high benefit, low cost)."""

    low: Case
    base: Case
    high: Case


def returns(charter: Charter) -> Returns | None:
    """Returns benefit, cost and break-even over the horizon; None while a needed figure is TBD."""
    case = charter.business_case
    volume = _known(charter.decision.volume_per_month)
    baseline, target = _known(case.baseline.value), _known(case.target.value)
    worthwhile = _known(case.target.smallest_worthwhile)
    worth, build = _figures(case.value_per_unit), _figures(case.costs.build)
    run, people = _figures(case.costs.run_per_month), _figures(case.costs.people_per_month)
    if volume is None or baseline is None or target is None or worthwhile is None:
        return None
    if worth is None or build is None or run is None or people is None:
        return None

    def at(uplift: float, value: float, build: float, running: float) -> Case:
        benefit = volume / 1000 * uplift * value
        return Case(
            benefit * case.horizon_months,
            build + running * case.horizon_months,
            build / (benefit - running) if benefit > running else None,
        )

    return Returns(
        at(worthwhile - baseline, worth[0], build[2], run[2] + people[2]),
        at(target - baseline, worth[1], build[1], run[1] + people[1]),
        at(target - baseline, worth[2], build[0], run[0] + people[0]),
    )


def _known(figure: float | str) -> float | None:
    return None if isinstance(figure, str) else figure


def _figures(figures: Range) -> tuple[float, float, float] | None:
    low, base, high = _known(figures.low), _known(figures.base), _known(figures.high)
    return None if low is None or base is None or high is None else (low, base, high)
