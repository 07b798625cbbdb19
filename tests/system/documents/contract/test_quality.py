"""A rule or a promise that cannot be enforced is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from groundwork.core.errors import DocumentError
from groundwork.documents.contract.quality import listed
from groundwork.documents.pilot import Pilot

DATASET = "schema.0.quality"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["EWR", "on time", "Citroën", "A-1.5/b+", "10:30"], ["EWR", "on time", "Citroën", "A-1.5/b+", "10:30"]),
        ([7, "seven"], ["7", "seven"]),
        (["VW", "Opel, used"], ["'VW'", "'Opel, used'"]),
        (["a\nb"], [r"'a\nb'"]),
        ([""], ["''"]),
        (["it's"], ['"it\'s"']),
        (["a\u2028b\x1b[31m"], [r"'a\u2028b\x1b[31m'"]),
        (["x" * 61], ["'" + "x" * 59 + "…'"]),
    ],
)
def test_values_in_a_list_can_be_told_apart(values: list[Any], told: list[str]) -> None:
    assert listed(values) == told


def test_a_name_of_a_rule_is_one_line(new_pilot: Pilot, set_in: Callable) -> None:
    """It is the reason in quarantine, in messages and on pages."""
    named = counted("distance_miles > 1") | {"name": "too\nfar"}
    set_in(new_pilot.settings.home / "contract.yaml", DATASET, [named])
    assert [each.name for each in Pilot.here().contract.dataset.row_rules] == ["too far"]


def rule(query: str, **bounds: Any) -> dict[str, Any]:
    return {"name": "the rule", "type": "sql", "query": query} | bounds


def counted(condition: str) -> dict[str, Any]:
    return rule(f"SELECT COUNT(*) FROM ${{object}} WHERE {condition}", mustBe=0)


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        (rule("SELECT", mustBe=0), "the query must be SELECT with one figure"),
        (rule("SELECT COUNT(*) FRM x y z", mustBe=0), "the query"),
        (rule("DELETE FROM ${object}", mustBe=0), "the query must be SELECT with one figure"),
        (rule("SELECT COUNT(*) FROM other", mustBe=0), "must read from ${object} alone"),
        (rule("SELECT COUNT(*) FROM ${object}, other", mustBe=0), "must read from ${object} alone"),
        (rule("SELECT COUNT(*) FROM ${object} GROUP BY origin", mustBe=0), "must read from ${object} alone"),
        (rule("SELECT origin FROM ${object}", mustBe=0), "has one value per row"),
        (rule("SELECT MAX(origin) FROM ${object}", mustBe=0), "MAX(origin) needs a number, not a string"),
        (rule("SELECT 1 FROM ${object}", mustBe=0), "must select one number"),
        (rule("SELECT COUNT(*) FROM ${object}"), "a rule needs a bound"),
        (rule("SELECT COUNT(*) FROM ${object}", mustBeBetween=[5, 1]), "mustBeBetween needs its lower bound first"),
        (counted("orign = destination"), "the data set has no column orign"),
        (counted("origin > 5"), "compares different types: number, string"),
        (counted("origin"), "must have a condition on columns"),
        (counted("1 = 1"), "must have a condition on columns"),
        (counted("weekday IN (SELECT 1)"), "IN requires a list of values"),
        (counted("soundex(origin) = 'B'"), "is not supported: a rule may use = <>"),
        (counted("COUNT(*) > 5"), "is not supported"),
        ({"metric": "duplicateValues", "mustBe": 0}, "'rowCount'"),
        ({"metric": "rowCount", "mustNotBe": 0}, "is not a known key"),
        ({"metric": "rowCount", "query": "SELECT 1", "mustBe": 0}, "either a metric, or type: sql and a query"),
        ({"type": "text", "description": "Complete."}, "'library' or 'sql'"),
        ({"type": "custom", "engine": "soda", "implementation": ""}, "'library' or 'sql'"),
    ],
)
def test_a_rule_that_cannot_be_enforced_is_refused(
    quality: dict[str, Any], message: str, new_pilot: Pilot, set_in: Callable
) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", DATASET, [quality])
    with pytest.raises(DocumentError) as refused:
        new_pilot.contract  # noqa: B018 - read for its error
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("level", "message"),
    [
        (
            {"property": "freshness", "value": "soon"},
            "must be a number with the unit h or d, found 'soon' without unit",
        ),
        (
            {"property": "freshness", "value": 3, "unit": "fortnights"},
            "must be a number with the unit h or d, found 3 fortnights",
        ),
        ({"property": "freshness", "value": 0, "unit": "d"}, "must be a number with the unit h or d, found 0 d"),
        ({"property": "freshness", "value": 1, "unit": "d", "element": "flights.origin"}, "no timestamp origin"),
    ],
)
def test_a_freshness_that_cannot_be_enforced_is_refused(
    level: dict[str, Any], message: str, new_pilot: Pilot, set_in: Callable
) -> None:
    promised(new_pilot, set_in, level)
    with pytest.raises(DocumentError) as refused:
        new_pilot.contract  # noqa: B018 - read for its error
    assert message in str(refused.value)


def promised(pilot: Pilot, set_in: Callable, *levels: dict[str, Any]) -> None:
    set_in(pilot.settings.home / "contract.yaml", "slaProperties", list(levels))
