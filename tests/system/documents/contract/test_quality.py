"""A rule or a promise with a mistake is refused; one that Groundwork cannot check is kept, and it says so."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from commands import groundwork
from groundwork.core.errors import DocumentError
from groundwork.documents.contract.quality import DatasetQuality, listed
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
        (rule("SELECT origin FROM ${object}", mustBe=0), "has one value per row"),
        (rule("SELECT MAX(origin) FROM ${object}", mustBe=0), "MAX(origin) needs a number, not a string"),
        (rule("SELECT 1 FROM ${object}", mustBe=0), "must select one number"),
        (rule("SELECT COUNT(*) FROM ${object}"), "a rule needs exactly one bound"),
        (rule("SELECT COUNT(*) FROM ${object}", mustBeBetween=[5, 1]), "need their lower bound first"),
        (counted("orign = destination"), "the data set has no column orign"),
        (counted("origin > 5"), "compares different types: number, string"),
        (counted("origin"), "must have a condition on columns"),
        (counted("1 = 1"), "must have a condition on columns"),
        ({"metric": "rowCount", "query": "SELECT 1", "mustBe": 0}, "either a metric, or type: sql and a query"),
    ],
)
def test_a_rule_with_a_mistake_is_refused(
    quality: dict[str, Any], message: str, new_pilot: Pilot, set_in: Callable
) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", DATASET, [quality])
    with pytest.raises(DocumentError) as refused:
        new_pilot.contract  # noqa: B018 - read for its error
    assert message in str(refused.value)


ORIGIN = "schema.0.properties.3.quality"


@pytest.mark.parametrize(
    ("place", "quality", "reason"),
    [
        (DATASET, rule("SELECT COUNT(*) FROM other", mustBe=0), "must read from ${object} alone"),
        (DATASET, rule("SELECT COUNT(*) FROM ${object}, other", mustBe=0), "must read from ${object} alone"),
        (DATASET, rule("SELECT COUNT(*) FROM ${object} GROUP BY origin", mustBe=0), "must read from ${object} alone"),
        (DATASET, counted("weekday IN (SELECT 1)"), "IN requires a list of values"),
        (DATASET, counted("soundex(origin) = 'B'"), "is not supported: a rule may use = <>"),
        (DATASET, counted("COUNT(*) > 5"), "is not supported"),
        (DATASET, counted("scheduled_departure < '2013-02-01'"), "compares different types: string, timestamp"),
        (DATASET, rule("SELECT COUNT(*) FROM ${object}", mustBe="few"), "its bound is not a number"),
        (DATASET, rule("SELECT COUNT(*) FROM ${object}", mustBe=True), "its bound is not a number"),
        (
            DATASET,
            {"name": "the rule", "metric": "duplicateValues", "mustBe": 0},
            "duplicateValues (unique: true is run)",
        ),
        (DATASET, {"name": "the rule", "metric": "rowCount", "mustBe": 5, "unit": "percent"}, "unit: percent"),
        (DATASET, {"name": "the rule", "type": "text", "description": "Complete."}, "type: text"),
        (DATASET, {"description": "the rule"}, "it has no metric"),
        (DATASET, {"name": "the rule", "type": "custom", "engine": "soda", "implementation": ""}, "type: custom"),
        (ORIGIN, {"name": "the rule", "metric": "nullValues", "mustBe": 0}, "nullValues (required: true is run)"),
        (ORIGIN, {"name": "the rule", "metric": "rowCount", "mustBe": 0}, "metric: rowCount"),
        (
            ORIGIN,
            {"name": "the rule", "metric": "invalidValues", "arguments": {"pattern": "A"}, "mustBe": 0},
            "validValues",
        ),
    ],
)
def test_a_rule_for_others_is_kept_with_a_word(
    place: str, quality: dict[str, Any], reason: str, new_pilot: Pilot, set_in: Callable
) -> None:
    """The other rules are as they were, and the values that a column may have, too."""
    before = new_pilot.contract.dataset
    path = new_pilot.settings.home / "contract.yaml"
    rules = yaml.safe_load(path.read_text(encoding="utf-8"))
    kept = rules["schema"][0]["quality"] if place == DATASET else rules["schema"][0]["properties"][3]["quality"]
    set_in(path, place, [*kept, quality])
    contract = Pilot.here().contract
    [sentence] = contract.left_alone
    where = "flights" if place == DATASET else "origin"
    assert sentence.startswith(f"{where}: the quality rule the rule is not run by Groundwork: ")
    assert reason in sentence
    for now, was in (
        (contract.dataset.row_rules, before.row_rules),
        (contract.dataset.window_rules, before.window_rules),
    ):
        assert [each.name for each in now] == [each.name for each in was]
    assert contract.dataset.columns[3].valid_values == ("EWR", "JFK", "LGA")


def test_what_is_not_checked_is_said_in_check_and_dictionary(new_pilot: Pilot, set_in: Callable) -> None:
    path = new_pilot.settings.home / "contract.yaml"
    set_in(path, "apiVersion", "v3.2.0")
    set_in(path, "schema.0.properties.5.logicalTypeOptions.multipleOf", 0.5)
    set_in(path, "schema.0.properties.6.enum", [{"value": 5}])
    set_in(path, "slaProperties", [{"property": "freshness", "value": 3, "unit": "fortnights"}])
    sentences = [
        "distance_miles: multipleOf is not checked by Groundwork",
        "departure_minute: enum is not checked by Groundwork",
        "slaProperties: the freshness 3 fortnights is not checked by Groundwork, "
        "which knows a number with the unit h or d",
    ]
    assert Pilot.here().contract.left_alone == sentences
    assert groundwork("dictionary").returncode == 0
    assert (
        "".join(f"- {each}.\n" for each in sentences)
        in (new_pilot.settings.home / "docs/data-dictionary.md").read_text()
    )
    assert json.loads(groundwork("check", "--json").stdout)["warnings"][:3] == sentences
    assert "\n".join(f"  {each}" for each in sentences) in groundwork("check").stdout


def test_an_enumeration_of_texts_is_what_a_column_may_have(new_pilot: Pilot, set_in: Callable) -> None:
    path = new_pilot.settings.home / "contract.yaml"
    set_in(path, "apiVersion", "v3.2.0")
    set_in(
        path, "schema.0.properties.3.enum", [{"value": "LGA", "label": "La Guardia"}, {"value": "JFK"}, {"value": "X"}]
    )
    assert Pilot.here().contract.dataset.columns[3].valid_values == ("LGA", "JFK")  # and invalidValues allows


@pytest.mark.parametrize(
    ("bound", "admitted"),
    [({"mustNotBe": 5}, [3, 4, 6, 7]), ({"mustNotBeBetween": [4, 6]}, [3, 7]), ({"mustBeBetween": [4, 6]}, [4, 5, 6])],
)
def test_a_figure_is_held_against_its_bound(bound: dict[str, Any], admitted: list[int]) -> None:
    quality = DatasetQuality.model_validate({"metric": "rowCount"} | bound)
    assert [figure for figure in range(3, 8) if quality.admits(figure)] == admitted
    assert not quality.admits(float("nan"))


def test_a_freshness_of_a_column_that_is_no_timestamp_is_refused(new_pilot: Pilot, set_in: Callable) -> None:
    promised(new_pilot, set_in, {"property": "freshness", "value": 1, "unit": "d", "element": "flights.origin"})
    with pytest.raises(DocumentError, match="no timestamp origin"):
        new_pilot.contract  # noqa: B018 - read for its error


def promised(pilot: Pilot, set_in: Callable, *levels: dict[str, Any]) -> None:
    set_in(pilot.settings.home / "contract.yaml", "slaProperties", list(levels))
