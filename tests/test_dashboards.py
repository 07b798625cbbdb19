"""The dashboards are what Grafana reads, and ask for what the service has.

tests/containers/test_compose.py asks a real Prometheus, which has scraped the real service, the query of every panel.
"""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import ROOT

FOLDER = ROOT / "template/ops/grafana"
DASHBOARDS = sorted((FOLDER / "dashboards").glob("*.json"))
every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=[file.stem for file in DASHBOARDS])


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def lost(written: Any, kept: Any, path: str = "") -> Iterator[str]:
    """What the SDK, which knows Grafana's schema, left out or changed when it read a dashboard and wrote it again."""
    if isinstance(written, dict):
        for name, value in written.items():
            if isinstance(kept, dict) and name in kept:
                yield from lost(value, kept[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(written, list) and isinstance(kept, list) and len(written) == len(kept):
        for number, (value, other) in enumerate(zip(written, kept, strict=True)):
            yield from lost(value, other, f"{path}[{number}]")
    elif written != kept:
        yield path


def by_the_sdk(dashboard: dict[str, Any]) -> dict[str, Any]:
    from grafana_foundation_sdk.cog import plugins
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.dashboard import Dashboard

    plugins.register_default_plugins()
    found: dict[str, Any] = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(dashboard)))
    return found


@every_dashboard
def test_grafanas_schema_knows_every_field(file: Path) -> None:
    assert list(lost(read(file), by_the_sdk(read(file)))) == []


def test_a_misspelt_field_is_noticed() -> None:
    """In the dashboard, in a panel, and in what is special to a kind of panel or source."""
    dashboard = read(FOLDER / "dashboards/service.json")
    panel = dashboard["panels"][0]
    dashboard["titel"] = panel["gridpos"] = panel["fieldConfig"]["defaults"]["unti"] = "?"
    panel["targets"][0]["expression"] = "?"
    assert {path.rpartition(".")[2] for path in lost(dashboard, by_the_sdk(dashboard))} == {
        "titel",
        "gridpos",
        "unti",
        "expression",
    }


@every_dashboard
def test_panels_ask_for_metrics_that_the_service_has(file: Path) -> None:
    reference = (ROOT / "docs/reference/metrics.md").read_text(encoding="utf-8")
    own = set(re.findall(r"^\| `([\w:]+)` \|", reference, re.M))
    for name in re.findall(r"^\| `(\w+(?:_seconds|_records))` \|", reference, re.M):
        own |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
    others = {"up", "ALERTS", "process_cpu_seconds_total", "process_resident_memory_bytes"}
    for panel in read(file)["panels"]:
        for target in panel["targets"]:
            asked = re.sub(r"\{[^}]*\}|\b(by|on) \([^)]*\)", "", target["expr"])
            named = set(re.findall(r"\b(?:groundwork[_:]|http_|process_)\w+(?::\w+)*|\b(?:up|ALERTS)\b", asked))
            assert named, target["expr"]
            assert named <= own | others, target["expr"]


@every_dashboard
def test_panels_lie_beside_each_other(file: Path) -> None:
    places = []
    for panel in read(file)["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        places.append({(x + place["x"], y + place["y"]) for x in range(place["w"]) for y in range(place["h"])})
    assert all(one.isdisjoint(other) for one, other in combinations(places, 2))


def test_dashboards_and_panels_can_be_told_apart() -> None:
    found = [read(file) for file in DASHBOARDS]
    assert len({each["uid"] for each in found}) == len({each["title"] for each in found}) == len(found) == 4
    for each in found:
        ids = [panel["id"] for panel in each["panels"]]
        assert sorted(set(ids)) == ids


def test_the_panels_ask_the_source_that_is_provisioned() -> None:
    [source] = yaml.safe_load((FOLDER / "datasources/prometheus.yml").read_text(encoding="utf-8"))["datasources"]
    asked = {
        (panel["datasource"]["type"], panel["datasource"]["uid"])
        for file in DASHBOARDS
        for panel in read(file)["panels"]
    }
    assert asked == {(source["type"], source["uid"])}
