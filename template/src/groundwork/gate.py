"""The gate: what a candidate has to show on the newest window before it is promoted. It blocks by default."""

from dataclasses import asdict, dataclass
from typing import Any

from groundwork.charter import Gate


@dataclass(frozen=True)
class Performance:
    """What one way of deciding made on the window: money per 1,000 decisions, and the model's metric."""

    value_per_1000: float
    metric: float


@dataclass(frozen=True)
class Check:
    """One condition: what was wanted, what was seen."""

    name: str
    wanted: str
    seen: str
    passed: bool


@dataclass(frozen=True)
class Verdict:
    """The outcome of all checks, with its evidence."""

    checks: list[Check]

    @property
    def promoted(self) -> bool:
        return bool(self.checks) and all(check.passed for check in self.checks)

    @property
    def reasons(self) -> list[str]:
        """What spoke against the candidate."""
        return [f"{c.name}: wanted {c.wanted}, seen {c.seen}" for c in self.checks if not c.passed]

    def as_dict(self) -> dict[str, Any]:
        return {"promoted": self.promoted, "checks": [asdict(check) for check in self.checks]}


def judge(gate: Gate, rows: int, candidate: Performance, rule: Performance, champion: Performance | None) -> Verdict:
    """Compare the candidate with the charter's lines, the no-model rule and the champion, all on the same rows.

    A figure that is not a number fails its check.
    """
    gain_over_rule = candidate.value_per_1000 - rule.value_per_1000
    checks = [
        Check("rows with a known outcome", f"at least {gate.min_rows:,}", f"{rows:,}", rows >= gate.min_rows),
        Check(gate.metric, f"at least {gate.minimum:g}", f"{candidate.metric:.4f}", candidate.metric >= gate.minimum),
        Check(
            "gain per 1,000 decisions over the no-model rule",
            f"at least {gate.min_gain_over_rule:,.0f}",
            f"{gain_over_rule:,.0f}",
            gain_over_rule >= gate.min_gain_over_rule,
        ),
    ]
    if champion:
        gain_over_champion = candidate.value_per_1000 - champion.value_per_1000
        least = champion.metric - gate.max_metric_loss
        checks += [
            Check(
                "gain per 1,000 decisions over the champion",
                f"at least {gate.min_gain_over_champion:,.0f}",
                f"{gain_over_champion:,.0f}",
                gain_over_champion >= gate.min_gain_over_champion,
            ),
            Check(
                f"{gate.metric} against the champion",
                f"at least {least:.4f}",
                f"{candidate.metric:.4f}",
                candidate.metric >= least,
            ),
        ]
    return Verdict(checks)
