"""What people write in their documents is text on every page, and no markup."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
from groundwork.core import pages
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.model_card import model_card
from groundwork.readiness import render
from groundwork.readiness.assemble import assess
from groundwork.readiness.scorecard import Scorecard
from groundwork.service.app import create_app
from groundwork.service.home_page import home_page
from groundwork.store.database import Store
from serving import HERE
from starlette.testclient import TestClient

SCRIPT = "<script>alert('x')</script>"
TODAY = date(2026, 8, 15)
LOADER = SimpleNamespace(champion=None, problem=SCRIPT, broken=SCRIPT, no_model=False, entry=None)
AMOUNT = {"value": 2.0, "lower": 1.0, "upper": 3.0}
FOUND: dict[str, Any] = {
    "performance": {"value_per_1000": 1, "metric": 0.6},
    "rule": {"value_per_1000": 1, "metric": 0.5},
    "gain_per_1000": AMOUNT,
    "footprint": {"latency_ms": 0.1, "size_mb": 1},
    "importance": [{"feature": "carrier", "value_per_1000": 1, "metric": 0.1}],
    "calibration": None,
    "dropped": [{"feature": "carrier", "value_per_1000": AMOUNT, "metric": 0.1}],
    "ageing": {"ages": [{"windows": 0, "models": 2, "gain_per_1000": AMOUNT}], "retrain_after": None},
    "reason": "",
}
TAGS = {
    "train_start": "2013-01-01T00:00:00",
    "train_end": "2013-02-01T00:00:00",
    "evaluation_end": "2013-03-01T00:00:00",
    "snapshot_version": "1",
    "git_commit": "none",
    "parameters": '{"solver": "a|b"}',
    "predictions_sha256": "0" * 64,
    "bundle_format": "onnx",
    "bundle_reason": "equal",
}


@pytest.fixture
def hostile(new_pilot: Pilot, set_in: Callable) -> Pilot:
    """A pilot whose documents hold a script wherever a person types a text."""
    charter, owners = new_pilot.settings.home / "charter.yaml", new_pilot.settings.home / "OWNERS"
    for path in ("metadata.title", "decision.statement", "decision.withoutModel", "decision.decider"):
        set_in(charter, path, f"{path} {SCRIPT}")
    set_in(charter, "plan", {"day0": TODAY})
    set_in(charter, "readyToScale.criteria.0.question", f"question {SCRIPT}")
    for role in ("decision", "model"):
        set_in(owners, f"accountable.{role}.name", f"{role} {SCRIPT}")
        set_in(owners, f"accountable.{role}.deputy", {"name": f"deputy {SCRIPT}", "handle": "grace"})
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.0.description", f"column {SCRIPT}")
    return Pilot.here()


def scorecard(pilot: Pilot) -> Scorecard:
    with Store(pilot.settings.store) as store:
        return assess(pilot, store, TODAY)


def card(pilot: Pilot, **found: Any) -> str:
    version = {"number": "1", "judged": "promoted", "tags": TAGS}
    about = {"found": FOUND | found, "of_features": "all needed", "of_age": "too few windows", "chart": "1.png"}
    return model_card(pilot.charter, pilot.owners.accountable.model, version, about)


def tables(markdown: str) -> list[list[int]]:
    """The number of bars in each row of each table, but for those that are escaped."""
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE)
    return [[len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()] for block in blocks]


def first_page(pilot: Pilot) -> str:
    with Store(pilot.settings.store) as store:
        return home_page(pilot, store, LOADER, TODAY)


PAGES: dict[str, tuple[Callable[[Pilot], str], set[str]]] = {
    "/": (first_page, {"metadata.title", "decision.statement", "decision.withoutModel", "decision", "deputy"}),
    "/docs": (
        lambda pilot: TestClient(create_app(pilot), base_url=HERE).get("/docs").text,
        {"metadata.title", "decision.statement", "column"},
    ),
    "scorecard.html": (lambda pilot: render.html(scorecard(pilot)), {"metadata.title", "question", "decision"}),
    "scorecard.md": (lambda pilot: render.markdown(scorecard(pilot)), {"question", "decision"}),
    "model card": (card, {"metadata.title", "decision.statement", "decision.withoutModel", "model"}),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_script_in_a_document_is_shown_as_text(page: str, hostile: Pilot) -> None:
    made, texts = PAGES[page]
    shown = made(hostile)
    assert "<script>alert" not in shown
    markdown = page in ("scorecard.md", "model card")
    for text in texts:
        assert f"{text} &lt;script{'>' if markdown else '&gt;'}alert" in shown, text


def test_a_badge_is_escaped_too() -> None:
    text = '" onload="alert()"></text><script>'
    shown = pages.render("readiness/pages/badge.svg", text=text, code=SimpleNamespace(name="MET"))
    assert "<script" not in shown
    assert '" onload' not in shown


def test_no_text_breaks_a_table_of_markdown(new_pilot: Pilot) -> None:
    whole = scorecard(new_pilot)
    odd = [replace(row, seen="a | b\nc", title="`x` | y") for row in whole.rows]
    shown = render.markdown(replace(whole, rows=tuple(odd)))
    assert sum(map(len, tables(shown))) > len(odd)
    assert {cells for table in tables(shown) for cells in table} == {len(render.HEADINGS) + 1}
    assert "| a \\| b c |" in shown


def test_every_row_of_a_model_card_has_as_many_cells_as_its_heading(new_pilot: Pilot) -> None:
    shown = card(new_pilot)
    assert [len(set(table)) for table in tables(shown)] == [1] * 5
    assert '| parameters | {"solver": "a\\|b"} |' in shown


def test_what_stands_in_backticks_is_code_and_a_lone_one_is_none(new_pilot: Pilot) -> None:
    whole = scorecard(new_pilot)
    odd = [replace(whole.rows[0], fix="run `groundwork a<b`, then ` once")]
    assert ">run <code>groundwork a&lt;b</code>, then ` once</td>" in render.html(replace(whole, rows=tuple(odd)))


def test_a_model_card_says_what_is_not_known(new_pilot: Pilot) -> None:
    shown = card(new_pilot, dropped=None, ageing=None, reason="src/use_case changed")
    assert "is unknown: src/use_case changed." in shown
    assert "## Ageing" not in shown
    assert "## Ageing" in card(new_pilot)


def test_a_value_that_is_missing_is_an_error_and_no_gap() -> None:
    with pytest.raises(jinja2.UndefinedError, match="text"):
        pages.render("readiness/pages/badge.svg", code=SimpleNamespace(name="MET"))


def test_a_template_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"text": "ready", "code": SimpleNamespace(name="MET")}
    first = pages.render("readiness/pages/badge.svg", **values)
    monkeypatch.setattr(jinja2.Environment, "compile", lambda *_, **__: pytest.fail("compiled again"))
    assert pages.render("readiness/pages/badge.svg", **values) == first


def test_a_command_that_shows_no_page_waits_for_no_template_engine() -> None:
    program = "import sys, groundwork.readiness.render as made; print(made.__name__, 'jinja2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["groundwork.readiness.render", "False"]
