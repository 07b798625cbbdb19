"""The page for people who never open a terminal says how the pilot is, and hides nothing that is not known."""

import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.service.app import create_app
from groundwork.service.auth import new_key
from groundwork.service.home_page import home_page, status
from groundwork.store.batches import Prediction
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from groundwork.store.drifts import Drift
from groundwork.store.promotion_log import Promotion
from serving import HERE
from starlette.testclient import TestClient
from stores import log

from groundwork_fleet.service import facts_of

DAY0 = date(2026, 8, 3)
AT = datetime.combine(DAY0 + timedelta(10), datetime.min.time(), UTC)
PROMOTED = Promotion(
    model="late-flights",
    number=1,
    promoted_at=utc_text(AT),
    promoted_by="ada",
    from_version="",
    to_version="7",
    why="first",
    evidence_sha256="",
    bundle_sha256="0" * 64,
)


def loader(version: str | None, **more: Any) -> SimpleNamespace:
    """What the page reads of the model's loader."""
    champion = SimpleNamespace(version=version) if version else None
    return SimpleNamespace(
        **{"champion": champion, "problem": "", "broken": "", "no_model": False, "entry": None} | more
    )


CHAMPION = loader("7", entry=PROMOTED)
NOBODY = loader(None, problem="the registry did not answer")


def facts(loader: Any = NOBODY, day: int = 12) -> dict[str, str]:
    """What the page says, by the name of the fact."""
    pilot = Pilot.here()
    with Store(pilot.settings.store) as store:
        shown = home_page(pilot, store, loader, DAY0 + timedelta(day))
    assert not re.search(r"<script|(src|url|@import)\W+(https?:)?//", shown)
    found = re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", shown)
    return {name: re.sub(r"<[^>]+>", " ", said) for name, said in found} | {"page": shown}


@pytest.fixture
def started(new_pilot: Pilot, set_in: Callable) -> Pilot:
    set_in(new_pilot.settings.home / "charter.yaml", "plan", {"day0": DAY0})
    return Pilot.here()


def test_what_nobody_knows_yet_is_called_unknown(started: Pilot) -> None:
    said = facts()
    assert said["Live model"] == " none  the registry did not answer"
    assert said["Measured gain over today&#39;s rule"].startswith(" unknown ")
    assert said["Data drift"].startswith(" unknown ")
    assert said["Decision owner"] == " Ada Lovelace  No deputy"
    assert "the criteria are not locked" in said["page"]
    assert "report" not in re.findall(r'href="(.*?)"', said["page"])


def test_a_service_that_cannot_answer_says_why(started: Pilot) -> None:
    with Store(started.settings.store) as store:
        shown = home_page(started, store, CHAMPION, DAY0, "the log cannot be written: database or disk is <full>")
        assert "Service" not in home_page(started, store, CHAMPION, DAY0)
    assert "<dt>Service</dt><dd><b>not ready</b>" in shown
    assert "cannot be written: database or disk is &lt;full&gt;" in shown


def state(loader: Any) -> dict[str, Any]:
    """What programs are told, as JSON can hold it."""
    pilot = Pilot.here()
    with Store(pilot.settings.store) as store:
        told: dict[str, Any] = json.loads(json.dumps(status(pilot, store, loader, DAY0 + timedelta(12))))
    return told


def test_programs_are_told_why_a_figure_is_not_known(started: Pilot) -> None:
    told = state(NOBODY)
    assert (told["day"], told["verdict"], told["exit_code"]) == (12, "Criteria not locked yet", 3)
    assert told["champion"] == {"version": None, "live_since": None, "reason": "the registry did not answer"}
    gain = told["gain_per_1000"]
    assert (gain["value"], gain["samples"], gain["reason"][:38]) == (None, 0, "no prediction of the service has an ou")
    assert told["drift"] == {"status": "unknown", "measured_at": None}
    assert {name: fact.text for name, fact in facts_of(told, DAY0).items()} == {
        "verdict": "Criteria not locked yet",
        "champion": "none",
        "gain": "unknown",
    }


def test_the_service_answers_programs_only_with_a_key_of_an_administrator(
    started: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, entry = new_key("fleet", "predict")
    monkeypatch.setenv("GROUNDWORK_API_KEYS", entry)
    with TestClient(create_app(Pilot.here()), base_url=HERE) as client:
        assert client.get("/status").status_code == 401
        assert client.get("/status", headers={"Authorization": f"Bearer {key}"}).status_code == 403
    key, entry = new_key("fleet", "admin")
    monkeypatch.setenv("GROUNDWORK_API_KEYS", entry)
    with TestClient(create_app(Pilot.here()), base_url=HERE) as client:
        told = client.get("/status", headers={"Authorization": f"Bearer {key}"}).json()
    assert told["pilot"] == started.name


def test_a_damaged_document_is_named_where_the_page_would_be(started: Pilot) -> None:
    (started.settings.home / "readiness.yaml").write_text("waivers: none\n", encoding="utf-8")
    with TestClient(create_app(started), base_url=HERE) as client:
        for address in ("/", "/status", "/scorecard"):
            answer = client.get(address)
            assert answer.status_code == 503
            assert "readiness.yaml" in answer.json()["detail"]


def test_it_tells_the_champion_its_worth_and_drift(started: Pilot) -> None:
    at = AT
    record = {each.name: each.examples[0] for each in started.contract.dataset.requested} | {"departure_minute": 600}
    started.settings.reports.mkdir(parents=True)
    (started.settings.reports / "drift-2026-08-01.html").write_text("<p>Drift</p>", encoding="utf-8")
    with Store(started.settings.store) as store:
        log(
            store,
            [
                Prediction(
                    prediction_id="a",
                    answered_at=utc_text(at),
                    role="champion",
                    entity_key="a",
                    event_time=at.isoformat(),
                    model_version="7",
                    score=0.9,
                    decision="replan",
                    record=json.dumps(record),
                )
            ],
        )
        store.outcomes.log([("a", True)])
        report = str(started.settings.reports / "drift-2026-08-01.html")
        store.drift.record(
            Drift(
                window_start=at,
                window_end=at,
                model_version="7",
                status="drift",
                reason="2 of 9 columns drifted",
                distances={"a": 1.0},
                drifted=["a"],
                report=report,
                measured_at=at,
            )
        )
    said = facts(CHAMPION)
    assert said["Live model"] == " version 7  Live since 2026-08-13"
    gain = said["Measured gain over today&#39;s rule"]
    assert gain.startswith(
        " EUR 280,000  per 1,000 decisions (n = 1, last 30 days) Required to scale: at least EUR 5,000"
    )
    assert said["Data drift"].startswith(" drift detected  2 of 9 columns drifted")
    told = state(CHAMPION)
    assert told["champion"] == {"version": "7", "live_since": utc_text(at), "reason": ""}
    assert told["gain_per_1000"] == {"value": 280_000, "currency": "EUR", "samples": 1, "days": 30, "reason": ""}
    assert told["drift"] == {"status": "drift", "measured_at": at.isoformat()}
    of_fleet = facts_of(told, DAY0 + timedelta(12))
    assert (of_fleet["champion"].text, of_fleet["gain"].text) == ("version 7, 2 days", "EUR 280,000 (n = 1)")
    assert {"scorecard", "docs", "metrics", "report"} == set(re.findall(r'href="(.*?)"', said["page"]))


@pytest.mark.parametrize(
    ("day", "said"),
    [(-2, "starts on 2026-08-03"), (0, "Day 0 of 90"), (90, "Day 90 of 90"), (91, "Day 91: 1 day overdue")],
)
def test_the_day_of_the_pilot(day: int, said: str, started: Pilot) -> None:
    assert said in facts(day=day)["Day of the pilot"]
    assert ("Decision overdue by 1 day<" in facts(day=day)["page"]) == (day == 91)


def test_the_next_step_of_the_plan_is_named(started: Pilot, set_in: Callable) -> None:
    step = {"outcome": "it serves in the shadow", "owner": "ada", "evidence": "status"}
    set_in(started.settings.home / "charter.yaml", "plan.day30", [step])
    assert facts(day=29)["Day of the pilot"].endswith("By day 30: it serves in the shadow")
    assert facts(day=31)["Day of the pilot"].endswith("Decision due by 2026-11-01")


def test_without_a_model_it_says_so(started: Pilot) -> None:
    said = "The model is switched off; today&#39;s rule decides"
    assert facts(loader("7", no_model=True))["Live model"] == f" none  {said}"
    entry = PROMOTED._replace(serves="no-model", why="it <harms>")
    said = "Switched off by ada: it &lt;harms&gt;; today&#39;s rule decides"
    assert facts(loader("7", no_model=True, entry=entry))["Live model"] == f" none  {said}"


def test_a_broken_promotion_log_is_told(started: Pilot) -> None:
    assert "Promotion log" not in facts(CHAMPION)
    told = facts(loader("7", entry=PROMOTED, broken="entry 2 is not signed by a trusted key"))
    assert told["Promotion log"].startswith(" broken  entry 2 is not signed by a trusted key")
