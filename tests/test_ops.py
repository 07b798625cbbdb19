"""The alerts: they fire when they should and stay silent when they should not, and they watch what is really there."""

import os
import re
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.core.settings import Settings

from support import ROOT, execute, free_port, tool

FOLDER = ROOT / "template/ops/prometheus"
SCENARIOS = ROOT / "tests/ops/alerts.test.yml"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}


def on_debian(name: str, package: str) -> str:
    return tool(name, lacking=f"{name} is missing: on Debian and Ubuntu it comes with the package {package}")


@pytest.fixture(scope="session")
def promtool() -> str:
    """Prometheus's own checker."""
    return on_debian("promtool", "prometheus")


@pytest.fixture(scope="session")
def amtool() -> str:
    """Alertmanager's own checker."""
    return on_debian("amtool", "prometheus-alertmanager")


def test_prometheus_accepts_the_configuration(promtool: str) -> None:
    execute(FOLDER, promtool, "check", "config", "prometheus.yml")
    execute(FOLDER, promtool, "check", "rules", "alerts.yml")


def test_alerts_fire_and_stay_silent(promtool: str) -> None:
    execute(FOLDER, promtool, "test", "rules", str(SCENARIOS))


def test_each_alert_is_tested_both_ways() -> None:
    """Once where it fires, naming somebody, and once where it does not."""
    scenarios = yaml.safe_load(SCENARIOS.read_text(encoding="utf-8"))["tests"]
    expected = [expected for scenario in scenarios for expected in scenario["alert_rule_test"]]
    fires = {e["alertname"] for e in expected for alert in e.get("exp_alerts", []) if "handle" in alert["exp_labels"]}
    assert fires == set(ALERTS)
    assert {e["alertname"] for e in expected if not e.get("exp_alerts")} == set(ALERTS)


def test_each_alert_says_how_urgent_it_is_and_where_to_read_on() -> None:
    """The runbook has its section, and no section of an alert that is gone."""
    runbook = (ROOT / "template/docs/runbook.md").read_text(encoding="utf-8")
    sections = [heading for heading in re.findall(r"^#+ (.*)$", runbook, re.MULTILINE) if "Groundwork" in heading]
    assert sections == list(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{name.lower()}"
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_each_alert_is_for_the_role_whose_person_it_names() -> None:
    for name, rule in ALERTS.items():
        [named] = set(re.findall(r'groundwork:owner_info\{role=~?"(\w+)', rule["expr"]))
        assert rule["labels"]["owner"] == named, name


def test_prometheus_looks_where_the_service_listens() -> None:
    configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
    [job] = configuration["scrape_configs"]
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    assert job["static_configs"][0]["targets"] == [f"{defaults['host']}:{defaults['port']}"]


# ---- where they are sent ---------------------------------------------------------------------------------------------


def receivers(amtool: str, pilot: Path) -> dict[str, str]:
    """Whom Alertmanager would send each alert to, with the labels that it has when it fires."""
    scenarios = yaml.safe_load(SCENARIOS.read_text(encoding="utf-8"))["tests"]
    fired = {
        expected["alertname"]: alert["exp_labels"]
        for scenario in scenarios
        for expected in scenario["alert_rule_test"]
        for alert in expected.get("exp_alerts", [])
        if "weather" not in alert["exp_labels"].get("role", "")  # the pilot has one data set
    }
    routes = ("config", "routes", "test", "--config.file", "ops/prometheus/alertmanager.yml")
    said = {
        name: execute(pilot, amtool, *routes, f"alertname={name}", *(f"{key}={value}" for key, value in labels.items()))
        for name, labels in fired.items()
    }
    return {name: lines.splitlines()[-1] for name, lines in said.items()}


@pytest.mark.slow
def test_alertmanager_sends_each_alert_to_who_answers_for_it(amtool: str, pilot: Path) -> None:
    execute(pilot, amtool, "check-config", "ops/prometheus/alertmanager.yml")
    who = {"service": "service-alan", "model": "model-emmy", "data": "data-flights-grace", "decision": "decision-ada"}
    assert receivers(amtool, pilot) == {name: who[rule["labels"]["owner"]] for name, rule in ALERTS.items()}


@pytest.mark.slow
def test_a_pilot_of_defaults_needs_no_routes_yet(pilot: Path, render: Callable[..., Path]) -> None:
    """Nobody is named, so nothing is written, nothing is missing, and its CI is green."""
    folder = render("night-shift")
    assert "OWNERS names no person yet" in execute(folder, str(pilot / ".venv/bin/groundwork"), "owners")
    assert not (folder / "CODEOWNERS").exists()
    assert "OWNERS names no person yet" in execute(folder, str(pilot / ".venv/bin/groundwork"), "check")


# ---- mistakes, one each, that the alerts' own tests have to notice ---------------------------------------------------


def mutants() -> Iterator[tuple[str, dict[str, Any]]]:
    """What was done to which alert, and the rule that came of it."""
    for name, rule in ALERTS.items():
        yield f"{name} never fires", rule | {"expr": "vector(1) > 2"}
        yield f"{name} always fires", rule | {"expr": "vector(1)"}
        wait = rule.get("for", "0m")
        minutes = int(wait[:-1]) * (60 if wait.endswith("h") else 1)
        yield f"{name} a minute late", rule | {"for": f"{minutes + 1}m"}
        if minutes:
            yield f"{name} a minute early", rule | {"for": f"{minutes - 1}m"}
        for what, new, found in mistakes(rule["expr"]):
            start, end = found.span()
            yield f"{name} {what} at {start}", rule | {"expr": rule["expr"][:start] + new + rule["expr"][end:]}


def mistakes(expression: str) -> Iterator[tuple[str, str, re.Match[str]]]:
    """A comparison turned round, a threshold moved by 4 %, a label left out."""
    opposites = {"==": "!=", ">=": "<", ">": "<="}
    for found in re.finditer(r"(?<= )(==|>=|>)(?= )", expression):
        yield f"{found[0]} as {opposites[found[0]]}", opposites[found[0]], found
    for found in re.finditer(r"(?<=> )[0-9.]*[1-9][0-9.]*", expression):
        for factor in (0.96, 1.04):
            yield f"{found[0]} times {factor}", str(float(found[0]) * factor), found
    for found in re.finditer(r'\w+(=~|!=|=)"[^"]*"(, )?', expression):
        yield f"without {found[0]}", "", found


MUTANTS = dict(mutants())


class Texts(yaml.SafeLoader):
    """Reads every value as a text: to YAML 1.1 the values 0x90, ninety times zero, are the number 144."""

    yaml_implicit_resolvers = {"<": [("tag:yaml.org,2002:merge", re.compile("^<<$"))]}  # noqa: RUF012


@pytest.fixture(scope="module")
def noticed(promtool: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, subprocess.CompletedProcess[str]]:
    """What the alerts' own tests say of each mistake; as many at once as there are cores."""

    scenarios = yaml.load(SCENARIOS.read_text(encoding="utf-8"), Loader=Texts)
    recorded = [rule for rule in RULES if "alert" not in rule]

    def about(name: str) -> list[dict[str, Any]]:
        """The scenarios with what they expect of this alert alone, since no other one changes."""
        return [
            scenario | {"alert_rule_test": expected}
            for scenario in scenarios["tests"]
            if (expected := [each for each in scenario.get("alert_rule_test", ()) if each["alertname"] == name])
        ]

    def tested(rule: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        folder = tmp_path_factory.mktemp("mutant")
        rules = {"groups": [{"name": "groundwork", "rules": [*recorded, rule]}]}
        (folder / "alerts.yml").write_text(yaml.safe_dump(rules), encoding="utf-8")
        beside = scenarios | {"rule_files": ["alerts.yml"], "tests": about(rule["alert"])}
        (folder / "alerts.test.yml").write_text(yaml.safe_dump(beside), encoding="utf-8")
        command = [promtool, "test", "rules", "alerts.test.yml"]
        return subprocess.run(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    every = ALERTS | MUTANTS
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return dict(zip(every, threads.map(tested, every.values()), strict=True))


@pytest.mark.slow
def test_each_alert_passes_as_it_is(noticed: dict[str, subprocess.CompletedProcess[str]]) -> None:
    assert {name: noticed[name].stdout for name in ALERTS if noticed[name].returncode} == {}


@pytest.mark.slow
@pytest.mark.parametrize("mistake", MUTANTS)
def test_a_mistake_in_an_alert_is_noticed(noticed: dict[str, subprocess.CompletedProcess[str]], mistake: str) -> None:
    done = noticed[mistake]
    assert "parse error" not in done.stdout  # that would be noticed by anybody
    assert done.returncode == 1, "the tests still pass"


# ---- what the alerts look at exists ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scraped(pilot: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the pilot's service tells Prometheus, after a request to predict, and flows that failed."""
    data = tmp_path_factory.mktemp("ops") / "data"
    shutil.copytree(pilot / "data", data)
    port = free_port()
    environment = os.environ | {"GROUNDWORK_DATA": str(data), "GROUNDWORK_PORT": str(port)}
    schedules = "from groundwork.pipeline import deployments as d; d.announce(d.Pilot.here())"  # as a worker does
    subprocess.run([str(pilot / ".venv/bin/python"), "-c", schedules], cwd=pilot, env=environment, check=True)
    groundwork = str(pilot / ".venv/bin/groundwork")
    for flow in ("ingest", "score"):
        nothing = [groundwork, flow, "--since", "2030-01-01", "--until", "2030-01-02"]
        assert subprocess.run(nothing, cwd=pilot, env=environment, capture_output=True).returncode == 1
    retrained = subprocess.run([groundwork, "retrain"], cwd=pilot, env=environment, capture_output=True)
    assert retrained.returncode in (0, 1)  # whatever the gate thinks of it
    with subprocess.Popen([groundwork, "serve"], cwd=pilot, env=environment, stdout=subprocess.DEVNULL) as service:
        try:
            for _ in range(600):
                try:
                    read(f"http://127.0.0.1:{port}/health/ready")
                    break
                except urllib.error.URLError:
                    assert service.poll() is None
                    time.sleep(0.1)
            with pytest.raises(urllib.error.HTTPError):
                read(f"http://127.0.0.1:{port}/predict", b"{}")
            return read(f"http://127.0.0.1:{port}/metrics")
        finally:
            service.send_signal(signal.SIGTERM)


def read(url: str, body: bytes | None = None) -> str:
    with urllib.request.urlopen(url, body, timeout=10) as response:
        return str(response.read().decode())


# Made by Prometheus: `up`, and what it adds to every series; and the one value that a sound service never has.
PROMETHEUS_ADDS = ("up", "job", "instance")
ONLY_IN_TROUBLE = 'status=~"5.."'


@pytest.mark.slow
def test_alerts_look_at_metrics_that_the_service_has(scraped: str) -> None:
    """Each name with its labels finds a series, so that no alert stays silent for ever over a slip of the pen."""
    recorded = {
        "groundwork:owner_info": "groundwork_owner_info",
        "groundwork:flow_last_success_timestamp_seconds": "groundwork_flow_scheduled_timestamp_seconds",
    }
    assert set(recorded) == {rule["record"] for rule in RULES if "record" in rule}
    looked_at = set()
    for rule in RULES:
        for name, labels in re.findall(r"\b(up|groundwork[_:]\w+|http_\w+)\b(?:\{([^}]*)\})?", rule["expr"]):
            looked_at.add((recorded.get(name, name), labels))
    assert len(looked_at) > 10
    for name, labels in looked_at:
        wanted = [
            (label, operator, value)
            for label, operator, value in re.findall(r'(\w+)(=~|!=|=)"([^"]*)"', labels.replace(ONLY_IN_TROUBLE, ""))
            if label not in PROMETHEUS_ADDS
        ]
        series = [dict(re.findall(r'(\w+)="([^"]*)"', line)) for line in re.findall(rf"^{name}(\W.*)", scraped, re.M)]
        matching = [each for each in series if all(matches(each.get(label), *how) for label, *how in wanted)]
        declared = not wanted and f"# TYPE {name} " in scraped  # a counter with labels has no series until it counts
        assert matching or declared or name in PROMETHEUS_ADDS, f"no series for {name}{{{labels}}}"


def matches(found: str | None, operator: str, wanted: str) -> bool:
    """As Prometheus matches, but that the label must be there."""
    if found is None:
        return False
    return {"=": found == wanted, "!=": found != wanted, "=~": re.fullmatch(wanted, found) is not None}[operator]


@pytest.mark.slow
def test_the_reference_lists_every_metric_of_the_service(scraped: str) -> None:
    """And none that it does not have; those of the process and of Python are not ours to explain."""
    own = {name for name in re.findall(r"^# TYPE (\w+)", scraped, re.M) if not name.startswith(("process_", "python_"))}
    reference = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", reference, re.M)) == own
