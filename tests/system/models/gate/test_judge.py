"""The gate lets a candidate through only if every single line of the charter is met, chance allowed for."""

import math
from typing import Any

import numpy as np
import pytest
from groundwork.core.quoting import rounded
from groundwork.documents.charter import Gate
from groundwork.models.evaluation.estimates import Decisions, metric_estimate
from groundwork.models.evaluation.performance import Footprint
from groundwork.models.gate.judge import Comparison, Verdict, bound_of, judge
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

GATE = Gate(
    metric="roc_auc", minimum=0.6, min_gain_over_rule=100, min_gain_over_champion=10, max_metric_loss=0.01, min_rows=50
)


def mean_score(outcomes: NDArray, scores: NDArray) -> float:
    """A metric that is easy to foresee."""
    return float(scores.mean())


def alike(value_per_1000: float, score: float | None = None, rows: int = 50) -> Decisions:
    """Every row like every other: there is no chance in it."""
    return Decisions(np.full(rows, value_per_1000 / 1000), None if score is None else np.full(rows, score))


GOOD: dict[str, Any] = {
    "metric": mean_score,
    "outcomes": np.zeros(50, bool),
    "candidate": alike(1010, 0.7),
    "rule": alike(900),
    "champion": alike(1000, 0.71),
    "slices": {},
    "footprint": Footprint(1.0, 1.0),
}


def test_just_good_enough_is_good_enough() -> None:
    assert judge(GATE, Comparison(**GOOD)).passed


def test_the_first_candidate_needs_no_champion_to_beat() -> None:
    assert judge(GATE, Comparison(**GOOD | {"champion": None})).passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {
                "outcomes": np.zeros(49, bool),
                "candidate": alike(1010, 0.7, rows=49),
                "rule": alike(900, rows=49),
                "champion": None,
            },
            "rows with a known outcome: required at least 50, found 49",
        ),
        ({"candidate": alike(1010, 0.599), "champion": None}, "roc_auc: required at least 0.6, found 0.599"),
        (
            {"candidate": alike(999, 0.7), "champion": None},
            "gain per 1,000 decisions over the no-model rule: required at least 100, found 99",
        ),
        ({"rule": alike(911)}, "gain per 1,000 decisions over the no-model rule"),
        (
            {"champion": alike(1001, 0.7)},
            "gain per 1,000 decisions over the champion: required at least 10, found 9",
        ),
        ({"champion": alike(1000, 0.7101)}, "roc_auc minus the champion's: required at least -0.01, found -0.0101"),
        ({"footprint": Footprint(101, 1)}, "CPU time for one row: required at most 100 ms, found 101 ms"),
        ({"footprint": Footprint(1, 501)}, "size of the bundle: required at most 500 MB, found 501 MB"),
    ],
)
def test_each_line_blocks_alone(change: dict, reason: str) -> None:
    verdict = judge(GATE, Comparison(**GOOD | change))
    assert not verdict.passed
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].startswith(reason)


@pytest.mark.parametrize(
    "change",
    [
        {"candidate": alike(math.nan, 0.7)},
        {"candidate": alike(1010, math.nan)},
        {"candidate": alike(math.nan, 0.7), "champion": None},
        {"candidate": alike(1010, math.nan), "champion": None},
        {"rule": alike(math.nan)},
        {"champion": alike(math.nan, 0.7)},
        {"champion": alike(1000, math.nan)},
        {"footprint": Footprint(math.nan, 1)},
        {"footprint": Footprint(1, math.nan)},
    ],
)
def test_what_is_not_a_number_blocks(change: dict) -> None:
    assert not judge(GATE, Comparison(**GOOD | change)).passed


def test_no_checks_promote_nothing() -> None:
    assert not Verdict([]).passed


def noisy(rows: int, mean_per_1000: float) -> Decisions:
    """Wins and losses of 1 each, with this mean, and scores that are all the same."""
    values = np.tile([1.0, -1.0], rows // 2) + mean_per_1000 / 1000
    return Decisions(values, np.full(rows, 0.7))


@pytest.mark.parametrize(("rows", "passed"), [(100, False), (10_000, True)])
def test_a_gain_that_may_be_chance_blocks(rows: int, passed: bool) -> None:
    """The same gain, twice the line: seen on few rows it could be none."""
    change = {
        "outcomes": np.zeros(rows, bool),
        "candidate": noisy(rows, 200),
        "rule": alike(0, rows=rows),
        "champion": None,
    }
    verdict = judge(GATE, Comparison(**GOOD | change))
    assert verdict.passed is passed
    if not passed:
        assert verdict.reasons == [
            "gain per 1,000 decisions over the no-model rule: required at least 100, found 200, "
            f"at 95% confidence at least {verdict.estimates['gain_over_rule'].lower:,.0f}"
        ]


@pytest.mark.parametrize(("days_with_some", "blocked"), [(1, True), (4, False)])
def test_days_without_one_class_are_chance_too(days_with_some: int, blocked: bool) -> None:
    """Now and then none with the rare class is drawn, and there is no metric; where that is often, nobody can tell."""

    def known(outcomes: NDArray, scores: NDArray) -> float:
        return float(roc_auc_score(outcomes, scores)) if len(np.unique(outcomes)) > 1 else math.nan

    days = np.repeat(np.datetime64("2013-03-01") + np.arange(8), 30)
    outcomes = (np.arange(240) % 30 == 0) & (np.arange(240) < 30 * days_with_some)
    made = Decisions(np.ones(240), outcomes.astype(float), days)
    change = {"metric": known, "outcomes": outcomes, "candidate": made, "rule": alike(0, rows=240), "champion": None}
    verdict = judge(GATE, Comparison(**GOOD | change))
    said = ["roc_auc: required at least 0.6, found 1, with too few days or rows for a confidence bound"]
    assert verdict.reasons == (said if blocked else [])
    assert [check.passed for check in verdict.checks if check.name == "roc_auc"] == [None if blocked else True]


def test_a_metric_that_may_be_as_low_by_chance_blocks() -> None:
    rng = np.random.default_rng(1)
    outcomes = rng.random(300) < 0.5
    scores = rng.random(300) + 0.35 * outcomes
    made = Decisions(np.ones(300), scores)
    found = metric_estimate(roc_auc_score, outcomes, made, None, 0.95)
    assert found.lower < found.value - 0.02
    between = (found.value + found.lower) / 2
    change = {"metric": roc_auc_score, "outcomes": outcomes, "candidate": made, "rule": alike(0, rows=300)}
    verdict = judge(GATE.model_copy(update={"minimum": between}), Comparison(**GOOD | change | {"champion": None}))
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["roc_auc"]


LOWER = GATE.model_copy(update={"metric": "mae", "minimum": None, "maximum": 0.75, "slice_maximum": 0.8})


def test_where_less_is_better_just_little_enough_is_good_enough() -> None:
    change = {"champion": alike(1000, 0.695), "slices": {"origin": np.full(50, "JFK")}}
    gate = LOWER.model_copy(update={"slice_min_rows": 20})
    assert judge(gate, Comparison(**GOOD | change)).passed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"candidate": alike(1010, 0.751), "champion": None},
            "mae: required at most 0.75, found 0.751, at 95% confidence at most 0.751",
        ),
        (
            {"champion": alike(1000, 0.6899)},
            "mae minus the champion's: required at most 0.01, found 0.0101, at 95% confidence at most 0.0101",
        ),
    ],
)
def test_where_less_is_better_more_blocks(change: dict, reason: str) -> None:
    assert judge(LOWER, Comparison(**GOOD | change)).reasons == [reason]


def test_where_less_is_better_a_slice_with_more_blocks() -> None:
    slices = {"origin": np.repeat(["EWR", "JFK"], 25)}
    made = Decisions(np.full(50, 1.01), np.repeat([0.55, 0.81], 25))
    gate = LOWER.model_copy(update={"slice_min_rows": 20})
    verdict = judge(gate, Comparison(**GOOD | {"candidate": made, "champion": None, "slices": slices}))
    assert [each.status for each in verdict.slices] == ["passed", "failed"]


def test_where_less_is_better_the_interval_counts_upwards() -> None:
    rng = np.random.default_rng(1)
    made = Decisions(np.ones(100), rng.random(100))
    found = metric_estimate(mean_score, np.zeros(100), made, None, 0.95)
    assert found.upper > found.value > found.lower
    between = (found.value + found.upper) / 2
    change = {"outcomes": np.zeros(100), "candidate": made, "rule": alike(0, rows=100), "champion": None}
    verdict = judge(LOWER.model_copy(update={"maximum": between}), Comparison(**GOOD | change))
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["mae"]


SLICED = GATE.model_copy(update={"slice_min_rows": 20, "slice_max_metric_loss": 0.05})


def sliced(scores: dict[str, tuple[int, float]], champion: float | None = None) -> Verdict:
    """The verdict where each value of the column `origin` has so many rows with this score."""
    values = np.concatenate([np.full(rows, name, dtype=object) for name, (rows, _) in scores.items()])
    made = np.concatenate([np.full(rows, score) for rows, score in scores.values()])
    rows = len(values)
    change = {
        "outcomes": np.zeros(rows, bool),
        "candidate": Decisions(np.full(rows, 1.01), made),
        "rule": alike(900, rows=rows),
        "champion": None if champion is None else alike(1000, champion, rows=rows),
        "slices": {"origin": values},
    }
    return judge(SLICED, Comparison(**GOOD | change))


def test_every_slice_must_be_good_enough() -> None:
    assert sliced({"EWR": (500, 0.7), "JFK": (40, 0.65)}).passed
    verdict = sliced({"EWR": (500, 0.7), "JFK": (40, 0.55)})
    assert verdict.reasons == [
        "roc_auc in each slice of origin: required at least 0.6, and at most 0.05 worse than the champion's, "
        "at 95% confidence, in slices of at least 20 rows, found 'JFK' 0.55 (at least 0.55); 1 passed"
    ]


def test_a_slice_that_loses_against_the_champion_blocks() -> None:
    assert sliced({"EWR": (2000, 0.72), "JFK": (40, 0.66)}, champion=0.7).passed
    verdict = sliced({"EWR": (2000, 0.72), "JFK": (40, 0.64)}, champion=0.7)
    assert len(verdict.reasons) == 1
    said = "found 'JFK' 0.64 (at least 0.64), minus the champion's -0.06 (at least -0.06); 1 passed"
    assert said in verdict.reasons[0]


def test_a_slice_with_too_few_rows_is_unknown_and_said_to_be() -> None:
    """It does not block, and is never called passed."""
    verdict = sliced({"EWR": (500, 0.7), "JFK": (19, 0.1)})
    assert verdict.passed
    assert {each.value: each.status for each in verdict.slices} == {"EWR": "passed", "JFK": "unknown"}
    [check] = [check for check in verdict.checks if "slice" in check.name]
    assert check.seen == "1 passed; 1 unknown ('JFK')"


def test_where_no_slice_is_known_the_gate_blocks() -> None:
    verdict = sliced({"EWR": (19, 0.7), "JFK": (19, 0.7), "LGA": (19, 0.7)})
    assert len(verdict.reasons) == 1
    assert verdict.reasons[0].endswith("found 3 unknown ('EWR', 'JFK', 'LGA')")


def by_days(rng: np.random.Generator, mean: float, days: int = 8, rows: int = 50) -> tuple[NDArray, NDArray]:
    """Scores whose mean differs from day to day, and the day of each row."""
    worth = rng.normal(0, 0.05, days)
    return np.repeat(worth - worth.mean() + mean, rows), np.repeat(np.datetime64("2013-03-01") + np.arange(days), rows)


@pytest.mark.parametrize("lower_is_better", [False, True])
def test_a_slice_that_may_be_as_bad_by_chance_blocks_as_all_rows_do(lower_is_better: bool) -> None:
    """The same rows, once as the whole and once as a slice beside a good one, are judged alike."""
    gate = LOWER if lower_is_better else GATE
    gate = gate.model_copy(update={"slice_minimum": None, "slice_maximum": None, "slice_min_rows": 20})
    better = -1 if lower_is_better else 1
    for above, passes in ((0.01, False), (0.06, True)):
        doubtful, days = by_days(np.random.default_rng(1), gate.line + better * above)
        good, _ = by_days(np.random.default_rng(2), gate.line + better * 0.2)
        alone = {
            "outcomes": np.zeros(400),
            "candidate": Decisions(np.ones(400), doubtful, days),
            "rule": alike(0, rows=400),
            "champion": None,
        }
        beside = {
            "outcomes": np.zeros(800),
            "candidate": Decisions(np.ones(800), np.concatenate([doubtful, good]), np.tile(days, 2)),
            "rule": alike(0, rows=800),
            "champion": None,
            "slices": {"origin": np.repeat(np.array(["doubtful", "good"], dtype=object), 400)},
        }
        whole, sliced = (judge(gate, Comparison(**GOOD | change)) for change in (alone, beside))
        assert whole.passed is passes
        assert [each.status for each in sliced.slices] == ["passed" if passes else "failed", "passed"]
        assert sliced.slices[0].metric == whole.estimates["metric"]
        if not passes:
            [reason] = sliced.reasons
            bound = bound_of(gate, whole.estimates["metric"])
            assert f"found 'doubtful' {rounded(gate.line + better * 0.01)} (at " in reason
            assert f"{rounded(bound)}); 1 passed" in reason


def test_a_loss_against_the_champion_in_a_slice_is_paired() -> None:
    """Days that are hard for both make nothing unsure; a difference that varies from day to day does."""
    scores, days = by_days(np.random.default_rng(1), 0.8)
    varying, _ = by_days(np.random.default_rng(3), 0.03)
    change = {
        "outcomes": np.zeros(400),
        "candidate": Decisions(np.full(400, 1.01), scores, days),
        "rule": alike(0, rows=400),
        "slices": {"origin": np.full(400, "JFK", dtype=object)},
    }
    for champion, status in ((scores + 0.045, "passed"), (scores + varying, "failed")):
        rival = {"champion": Decisions(np.full(400, 1.0), champion, days)}
        [found] = judge(SLICED, Comparison(**GOOD | change | rival)).slices
        assert found.status == status


def test_a_slice_without_a_bound_is_unknown() -> None:
    """A metric that does not exist on most of the days drawn is neither good nor bad."""
    days = np.repeat(np.datetime64("2013-03-01") + np.arange(8), 30)
    outcomes = np.arange(240) == 0

    def known(outcomes: NDArray, scores: NDArray) -> float:
        return float(scores.mean()) if outcomes.any() else math.nan

    change = {
        "metric": known,
        "outcomes": np.concatenate([outcomes, np.ones(240, bool)]),
        "candidate": Decisions(np.ones(480), np.full(480, 0.7), np.tile(days, 2)),
        "rule": alike(0, rows=480),
        "champion": None,
        "slices": {"origin": np.repeat(np.array(["rare", "usual"], dtype=object), 240)},
    }
    verdict = judge(SLICED, Comparison(**GOOD | change))
    assert {each.value: each.status for each in verdict.slices} == {"rare": "unknown", "usual": "passed"}
    assert verdict.passed


def test_a_line_of_zero_is_reached_by_every_metric() -> None:
    """The interval is symmetric and may begin below 0, where no metric is."""
    scores, days = by_days(np.random.default_rng(1), 0.01)
    change = {
        "outcomes": np.zeros(400),
        "candidate": Decisions(np.ones(400), scores, days),
        "rule": alike(0, rows=400),
        "champion": None,
        "slices": {"origin": np.full(400, "JFK", dtype=object)},
    }
    assert judge(SLICED.model_copy(update={"minimum": 0.0}), Comparison(**GOOD | change)).passed


def test_values_are_told_apart_whatever_they_hold() -> None:
    verdict = sliced({"a, b": (40, 0.1), "two\nlines [red]": (40, 0.1), "Citroën": (2000, 0.7), "x" * 200: (19, 0.7)})
    [reason] = verdict.reasons
    failed = "found 'a, b' 0.1 (at least 0.1); 'two\\nlines [red]' 0.1 (at least 0.1); "
    assert f"{failed}1 passed; 1 unknown ('xx" in reason
    assert "\n" not in reason
    assert len(reason) < 400


def test_rows_without_a_value_are_a_slice_of_their_own() -> None:
    values = np.array(["missing"] * 40 + [None] * 40, dtype=object)
    change = {
        "outcomes": np.zeros(80),
        "candidate": Decisions(np.full(80, 1.01), np.repeat([0.7, 0.1], 40)),
        "rule": alike(0, rows=80),
        "champion": None,
        "slices": {"origin": values},
    }
    verdict = judge(SLICED.model_copy(update={"minimum": 0.3, "slice_minimum": 0.6}), Comparison(**GOOD | change))
    assert [(each.value, each.status) for each in verdict.slices] == [("missing", "passed"), (None, "failed")]
    assert "found no value 0.1 " in verdict.reasons[0]
