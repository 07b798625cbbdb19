"""The gate lets a candidate through only if every single line of the charter is met."""

import math

import pytest

from groundwork.charter import Gate
from groundwork.gate import Performance, Verdict, judge

GATE = Gate(
    metric="roc_auc", minimum=0.6, min_gain_over_rule=100, min_gain_over_champion=10, max_metric_loss=0.01, min_rows=50
)
GOOD = {
    "rows": 50,
    "candidate": Performance(1010, 0.7),
    "rule": Performance(900, math.nan),
    "champion": Performance(1000, 0.71),
}


def test_just_good_enough_is_good_enough() -> None:
    assert judge(GATE, **GOOD).promoted


def test_the_first_candidate_needs_no_champion_to_beat() -> None:
    assert judge(GATE, **GOOD | {"champion": None}).promoted


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows": 49}, "rows with a known outcome: wanted at least 50, seen 49"),
        ({"candidate": Performance(1010, 0.599), "champion": None}, "roc_auc: wanted at least 0.6, seen 0.5990"),
        (
            {"candidate": Performance(999, 0.7), "champion": None},
            "gain per 1,000 decisions over the no-model rule: wanted at least 100, seen 99",
        ),
        ({"rule": Performance(911, math.nan)}, "gain per 1,000 decisions over the no-model rule"),
        (
            {"champion": Performance(1001, 0.7)},
            "gain per 1,000 decisions over the champion: wanted at least 10, seen 9",
        ),
        ({"champion": Performance(1000, 0.7101)}, "roc_auc against the champion: wanted at least 0.7001, seen 0.7000"),
    ],
)
def test_each_line_blocks_alone(change: dict, reason: str) -> None:
    verdict = judge(GATE, **GOOD | change)
    assert not verdict.promoted
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(reason)


@pytest.mark.parametrize(
    "change",
    [
        {"candidate": Performance(math.nan, 0.7)},
        {"candidate": Performance(1010, math.nan)},
        {"candidate": Performance(math.nan, 0.7), "champion": None},
        {"candidate": Performance(1010, math.nan), "champion": None},
        {"rule": Performance(math.nan, math.nan)},
        {"champion": Performance(math.nan, 0.7)},
        {"champion": Performance(1000, math.nan)},
    ],
)
def test_what_is_not_a_number_blocks(change: dict) -> None:
    assert not judge(GATE, **GOOD | change).promoted


def test_no_checks_promote_nothing() -> None:
    assert not Verdict([]).promoted
