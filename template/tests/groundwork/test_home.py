"""The page for people who never open a terminal says how the pilot is, and hides nothing that is not known."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from groundwork.service.app import create_app
from groundwork.service.home_page import home_page
from groundwork.settings import Settings
from groundwork.store import Drift, Prediction, Promotion, Store, utc_text

DAY0 = date(2026, 8, 3)
CHAMPION = SimpleNamespace(champion=SimpleNamespace(version="7"), problem="")
NOBODY = SimpleNamespace(champion=None, problem="the registry did not answer")


def facts(loader: Any = NOBODY, day: int = 12) -> dict[str, str]:
    """What the page says, by the name of the fact."""
    settings = Settings()
    with Store(settings.store) as store:
        shown = home_page(settings, store, loader, DAY0 + timedelta(day))
    assert not re.search(r"<script|(src|url|@import)\W+(https?:)?//", shown)
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", shown)
    return {name: re.sub(r"<[^>]+>", " ", said) for name, said in found} | {"page": shown}


@pytest.fixture
def started(new_pilot: Settings, set_in: Callable) -> Settings:
    set_in(new_pilot.home / "charter.yaml", "plan", {"day0": DAY0})
    return Settings()


def test_what_nobody_knows_yet_is_called_unknown(started: Settings) -> None:
    said = facts()
    assert said["Live model"] == " none  the registry did not answer"
    assert said["Measured gain over today&#39;s rule"].startswith(" unknown ")
    assert said["Data drift"].startswith(" unknown ")
    assert said["Decision owner"] == " Ada Lovelace  No deputy"
    assert "the criteria are not locked" in said["page"]
    assert "report" not in re.findall(r'href="(.*?)"', said["page"])


def test_a_damaged_document_is_named_where_the_page_would_be(started: Settings) -> None:
    (started.home / "readiness.yaml").write_text("waivers: none\n", encoding="utf-8")
    with TestClient(create_app(started)) as client:
        for address in ("/", "/scorecard"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert "readiness.yaml" in answer.json()["detail"]


def test_it_tells_the_champion_its_worth_and_drift(started: Settings) -> None:
    name = started.charter.metadata.name
    at = datetime.combine(DAY0 + timedelta(10), datetime.min.time(), UTC)
    record = {each.name: each.examples[0] for each in started.contract.dataset.requested} | {"departure_minute": 600}
    started.reports.mkdir(parents=True)
    (started.reports / "drift-2026-08-01.html").write_text("<p>Drift</p>", encoding="utf-8")
    with Store(started.store) as store:
        store.append_promotion(Promotion(name, 1, utc_text(at), "ada", "", "7", "first", "", "0" * 64))
        store.log_predictions(
            [Prediction("a", utc_text(at), "champion", "a", at.isoformat(), "7", 0.9, "replan", json.dumps(record))]
        )
        store.log_outcomes([("a", True)])
        report = str(started.reports / "drift-2026-08-01.html")
        store.record_drift(Drift(at, at, "7", "drift", "2 of 9 columns drifted", {"a": 1.0}, ["a"], report, at))
    said = facts(CHAMPION)
    assert said["Live model"] == " version 7  Live since 2026-08-13"
    gain = said["Measured gain over today&#39;s rule"]
    assert gain.startswith(
        " EUR 280,000  per 1,000 decisions (n = 1, last 30 days) Required to scale: at least EUR 5,000"
    )
    assert said["Data drift"].startswith(" drift detected  2 of 9 columns drifted")
    assert {"scorecard", "docs", "metrics", "report"} == set(re.findall(r'href="(.*?)"', said["page"]))


@pytest.mark.parametrize(
    ("day", "said"),
    [(-2, "starts on 2026-08-03"), (0, "Day 0 of 90"), (90, "Day 90 of 90"), (91, "Day 91: 1 day overdue")],
)
def test_the_day_of_the_pilot(day: int, said: str, started: Settings) -> None:
    assert said in facts(day=day)["Day of the pilot"]
    assert ("Decision overdue by 1 day<" in facts(day=day)["page"]) == (day == 91)


def test_the_next_step_of_the_plan_is_named(started: Settings, set_in: Callable) -> None:
    step = {"outcome": "it serves in the shadow", "owner": "ada", "evidence": "status"}
    set_in(started.home / "charter.yaml", "plan.day30", [step])
    assert facts(day=29)["Day of the pilot"].endswith("By day 30: it serves in the shadow")
    assert facts(day=31)["Day of the pilot"].endswith("Decision due by 2026-11-01")


def test_without_a_model_it_says_so(started: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVE_MODE", "no-model")
    assert facts(CHAMPION)["Live model"] == " none  The model is switched off; today&#39;s rule decides"
