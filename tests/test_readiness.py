"""The pilot's readiness as people meet it: the first page in a real browser, the command through the 90 days.

The browser runs no scripts and reaches nothing but the service. `SCREENSHOTS=docs/images` keeps the picture that the
README shows. The command is asked on days that libfaketime makes, and a criterion by a Prometheus that really scrapes.
"""

import json
import os
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from playwright.sync_api import Page

from browsing import HARD_TO_READ, WIDTHS, fits
from support import execute, free_port, serving, tool, wait_for

pytestmark = pytest.mark.slow

FAKETIME = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), "")
ADA = {"name": "Ada Lovelace", "handle": "ada", "deputy": {"name": "Grace Hopper", "handle": "grace"}}
DECISION = {
    "decider": "the duty manager",
    "cadence": "every evening",
    "volumePerMonth": 28000,
    "actions": ["replan", "keep"],
    "override": {"how": "takes a flight off the list", "who": "the duty manager"},
    "changedWork": "planners re-plan the evening before",
}

# In the pilot's environment: a thousand flights are asked about, and what came of them is sent.
ASK = """
import json, sys, urllib.request
from datetime import date
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
pilot, address = Pilot.here(), sys.argv[1]
dataset = pilot.contract.dataset
snapshots = Snapshots(pilot.snapshots, dataset)
rows = [row for row in snapshots.read(*snapshots.newest_window("month")).to_pylist() if row["late"] is not None][:1000]
def post(path, content):
    body = json.dumps(content, default=lambda value: value.isoformat()).encode()
    with urllib.request.urlopen(urllib.request.Request(address + path, body), timeout=60) as answer:
        return json.load(answer)
records = [{column.name: row[column.name] for column in dataset.requested} for row in rows]
answered = post("/predict", {"records": records})["predictions"]
outcomes = [
    {"prediction_id": each["prediction_id"], "outcome": row["late"]} for each, row in zip(answered, rows, strict=True)
]
print(post("/outcomes", {"outcomes": outcomes}))
"""


@pytest.fixture(scope="module")
def home(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pilot's documents and data in a folder apart, on its 45th day, with its line sealed and its people named."""
    home = tmp_path_factory.mktemp("front") / "late-flights"
    shutil.copytree(pilot / "data", home / "data", ignore=shutil.ignore_patterns("prefect", "runs"))
    for name in ("contract.yaml", "charter.yaml", "OWNERS"):
        shutil.copy(pilot / name, home)
    charter = yaml.safe_load((home / "charter.yaml").read_text(encoding="utf-8"))
    charter["decision"] |= DECISION
    day45 = [{"outcome": "a fifth of the flights go by it", "owner": "ada", "evidence": "groundwork readiness"}]
    charter["plan"] |= {"day0": date.today() - timedelta(45), "day60": day45, "deciders": ["ada", "grace"]}
    (home / "charter.yaml").write_text(yaml.safe_dump(charter, sort_keys=False), encoding="utf-8")
    owners = yaml.safe_load((home / "OWNERS").read_text(encoding="utf-8"))
    roles = owners["accountable"]
    roles |= dict.fromkeys(("decision", "model", "service"), ADA) | {"data": {"flights": ADA}}
    roles["sponsor"] |= {"deputy": {"name": "Grace Hopper", "handle": "grace"}}
    (home / "OWNERS").write_text(yaml.safe_dump(owners, sort_keys=False), encoding="utf-8")
    execute(home, "git", "init", "--quiet")
    # On day 0: the pilot's model may have gone live yesterday, if this run began before midnight.
    run(pilot, home, "charter", "lock", "--by", "ada", **on_day(0))
    return home


def on_day(day: int) -> dict[str, str]:
    """The environment in which it is that day of the pilot, whose 45th is today."""
    if not FAKETIME:
        return {}
    return {"LD_PRELOAD": FAKETIME, "FAKETIME": f"{day - 45:+}d", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}


def run(pilot: Path, home: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """One of the pilot's commands, on the other folder."""
    return subprocess.run(
        [pilot / ".venv/bin/groundwork", *words],
        cwd=home,
        env=os.environ | {"GROUNDWORK_HOME": str(home)} | environment,
        text=True,
        capture_output=True,
    )


@pytest.fixture(scope="module")
def service(pilot: Path, home: Path) -> Iterator[str]:
    """The address of the pilot's service, which has answered and been told what came of it."""
    there = {"GROUNDWORK_HOME": str(home)}
    links = {
        "GROUNDWORK_DASHBOARDS_URL": "https://grafana.example.com",
        "PREFECT_API_URL": "https://prefect.example.com/api",
    }
    with serving(pilot, home.parent / "log", home, **there, **links) as address:
        asked = subprocess.run(
            [pilot / ".venv/bin/python", "-c", ASK, address],
            cwd=home,
            env=os.environ | there,
            text=True,
            capture_output=True,
        )
        assert asked.returncode == 0, asked.stderr
        yield address


def facts(page: Page) -> dict[str, str]:
    """What the page says, by the name of the fact."""
    names, said = page.locator("dt").all_inner_texts(), page.locator("dd").all_inner_texts()
    return dict(zip(names, said, strict=True))


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_front_page_tells_how_the_pilot_is(
    width: int, service: str, opened: Callable[..., Page], tmp_path: Path
) -> None:
    page = opened(service, width, service)
    assert page.title() == page.locator("h1").inner_text() == "Late flights"
    shown = page.locator("main").inner_text()
    assert "Which of tomorrow's departures do we re-plan?\nWithout the model: Re-plan every departure" in shown
    verdict = page.locator(".verdict").inner_text()
    assert "eady to scale" in verdict
    assert "Next: " in verdict
    said = facts(page)
    assert said["Day of the pilot"] == "Day 45 of 90\nBy day 60: a fifth of the flights go by it"
    assert said["Decision-maker"].startswith("the duty manager\nSponsor: ")
    assert said["Decision owner"] == "Ada Lovelace\nDeputy: Grace Hopper"
    assert said["Live model"].startswith("version 1\nLive since 20")
    gain = said["Measured gain over today's rule"]
    assert re.match(r"EUR [\d,]+ per 1,000 decisions \(n = 1,0\d\d, last 30 days\)\n", gain)
    assert "\nRequired to scale: at least EUR 5,000 per 1,000 decisions" in gain
    assert said["Data drift"].startswith("drift detected\n2 of 9 columns drifted")
    links = {each.inner_text(): each.get_attribute("href") for each in page.locator("nav a").all()}
    assert links == {
        "Scorecard": "scorecard",
        "API": "docs",
        "Metrics": "metrics",
        "Drift report": "report",
        "Runs (Prefect)": "https://prefect.example.com",
        "Dashboards": "https://grafana.example.com",
    }
    assert fits(page)
    picture = Path(os.environ.get("SCREENSHOTS") or tmp_path) / f"front-page{'' if width == 1280 else '-phone'}.png"
    page.screenshot(path=picture, full_page=True)
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("path", ["", "scorecard", "docs"])
def test_its_own_links_lead_to_pages_that_fit_a_phone(path: str, service: str, opened: Callable[..., Page]) -> None:
    page = opened(f"{service}/{path}", WIDTHS["phone"], service)
    assert page.locator("h1").count() == 1
    assert fits(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", "scorecard"])
@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_everybody_can_read_it(width: int, path: str, scheme: str, service: str, opened: Callable[..., Page]) -> None:
    page = opened(f"{service}/{path}", width, service, color_scheme=scheme)
    assert page.evaluate(HARD_TO_READ) == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.title()
    assert page.locator("h1").count() == 1
    assert page.locator("main").count() == 1
    assert all(each.inner_text().strip() for each in page.locator("a").all())
    assert page.locator("img:not([alt]), table:not(:has(th))").count() == 0


def test_the_check_for_what_is_hard_to_read_finds_it(opened: Callable[..., Page], tmp_path: Path) -> None:
    (tmp_path / "grey.html").write_text(
        "<p style='color: #999'>pale</p><p style='font-size: 12px'>small</p><p>sound</p>"
    )
    found = opened((tmp_path / "grey.html").as_uri(), 390, "file://").evaluate(HARD_TO_READ)
    assert [each.partition(":")[0] for each in found] == ["P pale", "P small"]


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
def test_the_scorecard_is_a_file_that_needs_nothing_else(
    width: int, pilot: Path, home: Path, opened: Callable[..., Page]
) -> None:
    done = run(pilot, home, "readiness", "--report", "report")
    assert done.returncode in (0, 1, 2), done.stderr
    page = opened((home / "report" / "scorecard.html").as_uri(), width, (home / "report").as_uri())
    assert "eady to scale" in page.locator("h1").inner_text()
    assert page.locator("tbody tr").count() > 30
    assert fits(page)
    assert page.evaluate(HARD_TO_READ) == []


@pytest.mark.parametrize(
    ("day", "code", "verdict"),
    [
        (0, 2, "Not known to be ready to scale: 1 required check is unknown"),  # all answers are of days to come
        (45, 0, "Ready to scale"),
        (90, 2, "Not known to be ready to scale: 1 required check is unknown"),  # they are older than 30 days
        (91, 3, "Decision overdue by 1 day"),
    ],
)
@pytest.mark.skipif(not FAKETIME, reason="libfaketime is not installed")
def test_the_example_on_its_days(day: int, code: int, verdict: str, pilot: Path, home: Path, service: str) -> None:
    """It was asked, and told what came of it, on its 45th day, which is today."""
    done = run(pilot, home, "readiness", "--json", **on_day(day))
    card = json.loads(done.stdout)
    assert (done.returncode, card["exit_code"], card["verdict"], card["day"]) == (code, code, verdict, day)


@pytest.fixture(scope="module")
def prometheus(service: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real one, which scrapes the service every second."""
    found = tool("prometheus", lacking="Prometheus is missing: on Debian and Ubuntu it is the package prometheus")
    folder = tmp_path_factory.mktemp("prometheus")
    job = {"job_name": "groundwork", "static_configs": [{"targets": [service.removeprefix("http://")]}]}
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    address = f"127.0.0.1:{free_port()}"
    options = {"config.file": folder / "prometheus.yml", "storage.tsdb.path": folder, "web.listen-address": address}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [found, *(f"--{name}={value}" for name, value in options.items())], stdout=log, stderr=log
        )
    try:
        wait_for(f"http://{address}/-/ready", process, folder / "log")
        deadline = time.monotonic() + 120
        while not told(address, 'sum(http_requests_total{route="/predict"})'):
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.5)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(60)


def told(address: str, expression: str) -> list[Any]:
    query = urllib.parse.urlencode({"query": expression})
    with urllib.request.urlopen(f"http://{address}/api/v1/query?{query}", timeout=10) as answer:
        found: list[Any] = json.load(answer)["data"]["result"]
    return found


def test_a_must_is_unknown_fails_and_passes_by_what_prometheus_and_the_log_saw(
    pilot: Path, home: Path, service: str, prometheus: str, tmp_path: Path
) -> None:
    """The service answered one request of a thousand flights, and none of them with an error."""
    answered = 'sum(http_requests_total{route="/predict", status="200"})'
    failing = 'sum(http_requests_total{route="/predict", status=~"5.."}) or vector(0)'
    logged = "select avg(case when o.outcome is null then 0.0 else 1.0 end), count(*) from predictions p"
    joined = f"{logged} left join outcomes o using (prediction_id) where p.role = 'champion'"
    criteria = {
        "asked": ({"promql": answered, "samples": answered}, ">=", 1, 1),
        "asked-more": ({"promql": answered, "samples": answered}, ">=", 10**6, 1),
        "asked-seldom": ({"promql": answered, "samples": answered}, ">=", 1, 1000),
        "nowhere": ({"promql": "sum(no_such_metric)"}, ">=", 0, 1),
        "wrong": ({"promql": "sum("}, ">=", 0, 1),
        "errors": ({"promql": failing, "samples": answered}, "<=", 0, 1),
        "told": ({"sql": joined}, ">=", 0.9, 1000),
        "told-too-little": ({"sql": joined}, ">", 1, 1000),
        "told-seldom": ({"sql": joined}, ">=", 0.9, 10**6),
    }
    for name in ("contract.yaml", "charter.yaml", "OWNERS"):
        shutil.copy(home / name, tmp_path)
    charter = yaml.safe_load((tmp_path / "charter.yaml").read_text(encoding="utf-8"))
    charter["readyToScale"]["criteria"] = [
        {"id": name, "question": "Is it?", "measure": measure, "op": op, "threshold": line, "minSamples": least}
        for name, (measure, op, line, least) in criteria.items()
    ]
    (tmp_path / "charter.yaml").write_text(yaml.safe_dump(charter), encoding="utf-8")
    there = {"GROUNDWORK_DATA": str(home / "data"), "GROUNDWORK_PROMETHEUS_URL": prometheus}
    rows = {row["id"]: row for row in json.loads(run(pilot, tmp_path, "readiness", "--json", **there).stdout)["rows"]}
    assert {name: (rows[name]["state"], rows[name]["blocks"]) for name in criteria} == {
        "asked": ("passed", False),
        "asked-more": ("failed", True),
        "asked-seldom": ("unknown", True),
        "nowhere": ("unknown", True),
        "wrong": ("unknown", True),
        "errors": ("passed", False),
        "told": ("passed", False),
        "told-too-little": ("failed", True),
        "told-seldom": ("unknown", True),
    }
    assert "Prometheus refused the query" in rows["wrong"]["seen"]
