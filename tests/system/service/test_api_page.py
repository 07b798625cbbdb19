"""The pages in a real browser: what protects them does not break them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.store.database import Store
from groundwork.store.drifts import Drift
from playwright.sync_api import Browser, Page
from serving import FROM_CACHE, Service, serving

REPORT = """
<style>b { color: rgb(1, 2, 3) }</style>
<b>waits</b>
<script>
const say = text => { document.querySelector("b").textContent = text }
fetch("health/live").then(() => say("read"), () => say("cut off"))
</script>
"""


@pytest.fixture
def service(new_pilot: Pilot) -> Iterator[Service]:
    """A service that needs no model, with a drift report whose script tries to read from it."""
    settings = new_pilot.settings
    settings.reports.mkdir(parents=True)
    (settings.reports / "drift.html").write_text(REPORT)
    with Store(settings.store) as store:
        now = datetime.now(UTC)
        store.drift.record(
            Drift(
                window_start=now,
                window_end=now,
                model_version="1",
                status="ok",
                reason="",
                distances={},
                drifted=[],
                report="drift.html",
                measured_at=now,
            )
        )
    with serving(new_pilot, SERVE_MODE="no-model", **FROM_CACHE) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page that runs scripts, and whose console must stay empty."""
    context = browser.new_context(viewport={"width": 1280, "height": 844})
    opened, said = context.new_page(), list[str]()
    opened.on("console", lambda message: said.append(message.text))
    yield opened
    context.close()
    assert said == []


@pytest.mark.slow
def test_the_pages_have_their_styles_and_the_api_page_sends(service: Service, page: Page, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{service.port}"
    page.goto(address)
    border = "getComputedStyle(document.querySelector('{}')).borderLeft{}"
    assert page.evaluate(border.format(".verdict", "Color")) == "rgb(95, 99, 104)"  # criteria not approved
    page.goto(f"{address}/scorecard")
    assert page.evaluate(border.format("header", "Color")) == "rgb(95, 99, 104)"
    assert page.evaluate(border.format("header", "Width")) == "8px"
    page.goto(f"{address}/docs")
    assert page.evaluate("getComputedStyle(document.querySelector('td')).verticalAlign") == "top"
    form = page.locator("form[data-path='/predict']")
    form.locator("button").click()
    answer = form.locator("pre")
    answer.wait_for()
    assert answer.inner_text().startswith("200 OK")


@pytest.mark.slow
def test_the_drift_report_runs_its_scripts_and_they_reach_nothing(service: Service, browser: Browser) -> None:
    page = browser.new_page()
    page.goto(f"http://127.0.0.1:{service.port}/report")
    page.wait_for_function("document.querySelector('b').textContent != 'waits'")
    assert page.inner_text("b") == "cut off"
    assert page.evaluate("getComputedStyle(document.querySelector('b')).color") == "rgb(1, 2, 3)"
    page.close()
