"""What Prometheus is told: every name, who answers, and never that all is well when nobody can tell."""

import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from groundwork.documents.owners import Owners
from groundwork.service.metrics import Metrics
from groundwork.store.database import Store
from groundwork.store.drifts import Drift
from groundwork.store.runs import UnderWay
from prometheus_client import generate_latest

OWNERS = Owners.model_validate(
    {
        "approvers": ["ada"],
        "reviewers": ["ada"],
        "accountable": {
            "decision": {"name": "Ada Lovelace", "handle": "ada"},
            "data": {"flights": {"name": 'Grace "Amazing" Hopper', "handle": "grace"}},
            "model": {"name": "Emmy Noether", "handle": "emmy"},
            "service": {"name": "Alan Turing", "handle": "alan"},
        },
    }
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'groundwork.db'}") as store:
        yield store


def exposed(store: Store, due: date | None = None) -> str:
    return generate_latest(Metrics(OWNERS, store, lambda: due).registry).decode()


def drift(**changes: Any) -> Drift:
    found = {
        "window_start": datetime(2013, 12, 1),
        "window_end": datetime(2014, 1, 1),
        "model_version": "1",
        "status": "drift",
        "reason": "2 of 4 columns drifted",
        "distances": {"carrier": 0.02, "weekday": 0.2, "score": 0.5, "origin": 0.0},
        "drifted": ["weekday", "score"],
        "report": None,
        "measured_at": datetime(2014, 1, 1, tzinfo=UTC),
    }
    return Drift(**found | changes)


def states(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line.startswith("groundwork_drift_status{")]
    return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in lines}


def test_everybody_who_answers_is_named(store: Store) -> None:
    text = exposed(store)
    assert 'groundwork_owner_info{handle="emmy",name="Emmy Noether",role="model"} 1.0' in text
    assert r'groundwork_owner_info{handle="grace",name="Grace \"Amazing\" Hopper",role="data:flights"} 1.0' in text
    assert text.count("groundwork_owner_info{") == 4


def test_when_the_decision_becomes_overdue_is_told_until_it_is_taken(store: Store) -> None:
    text = exposed(store, date(2014, 1, 1))
    assert "groundwork_decision_due_timestamp_seconds 1.3886208e+09" in text  # midnight after it
    assert "groundwork_decision_due" not in exposed(store)


def test_drift_is_unknown_before_anything_was_measured(store: Store) -> None:
    text = exposed(store)
    assert states(text) == {"ok": 0, "drift": 0, "unknown": 1}
    assert "groundwork_drift_measured_timestamp_seconds" not in text
    assert not any(name in text for name in ("groundwork_drift_share", "drifted_features", "groundwork_drift_distance"))


@pytest.mark.parametrize("status", ["ok", "drift"])
def test_measured_drift_comes_with_its_figures(status: str, store: Store) -> None:
    store.drift.record(drift(status=status))
    text = exposed(store)
    assert states(text) == {"ok": 0, "drift": 0, "unknown": 0} | {status: 1}
    assert "groundwork_drift_share 0.5" in text
    assert "groundwork_drifted_features 2.0" in text
    assert 'groundwork_drift_distance{feature="weekday"} 0.2' in text


def test_unknown_drift_shows_no_figures_of_an_earlier_time(store: Store) -> None:
    store.drift.record(drift())
    later = datetime(2014, 1, 2, tzinfo=UTC)
    store.drift.record(drift(status="unknown", distances={}, drifted=[], reason="too few rows", measured_at=later))
    text = exposed(store)
    assert states(text) == {"ok": 0, "drift": 0, "unknown": 1}
    assert "groundwork_drift_measured_timestamp_seconds 1.3886208e+09" in text
    assert not any(name in text for name in ("groundwork_drift_share", "drifted_features", "groundwork_drift_distance"))


def test_a_flow_shows_when_it_last_succeeded_and_when_it_last_failed(store: Store) -> None:
    with store.runs.recorded("ingest") as run:
        run.rows_in, run.rows_quarantined = 100, 3
    with pytest.raises(RuntimeError), store.runs.recorded("ingest"):
        raise RuntimeError("the source is gone")
    text = exposed(store)
    assert 'groundwork_flow_rows_in{flow="ingest"} 100.0' in text
    assert 'groundwork_flow_rows_quarantined{flow="ingest"} 3.0' in text
    assert 'groundwork_flow_last_success_timestamp_seconds{flow="ingest"}' in text
    assert 'groundwork_flow_last_failure_timestamp_seconds{flow="ingest"}' in text
    [failed] = store.runs.latest(succeeded=False)
    assert failed.message == "RuntimeError: the source is gone"


def test_a_flow_that_never_succeeded_shows_since_when_it_is_waited_for(store: Store) -> None:
    store.schedules.keep(["prove"])
    since = store.schedules.since()["prove"].timestamp()
    [line] = [each for each in exposed(store).splitlines() if each.startswith("groundwork_flow_scheduled")]
    assert line.startswith('groundwork_flow_scheduled_timestamp_seconds{flow="prove"}')
    assert float(line.split()[-1]) == since


def test_a_flow_whose_machine_is_gone_has_failed(store: Store) -> None:
    """So that its owner is told, though nobody is left who could say so."""
    store.runs.keep_alive(
        UnderWay("1", "ingest", datetime(2014, 1, 1, tzinfo=UTC), datetime(2014, 1, 1, 1, tzinfo=UTC))
    )
    failed = datetime(2014, 1, 1, 1, 10, tzinfo=UTC).timestamp()
    assert f'groundwork_flow_last_failure_timestamp_seconds{{flow="ingest"}} {failed / 1e9}e+09' in exposed(store)


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed")
def test_prometheus_finds_nothing_to_complain_about(store: Store) -> None:
    with store.runs.recorded("ingest") as run:
        run.rows_in, run.rows_quarantined = 100, 3
    store.drift.record(drift())
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=exposed(store, date(2014, 1, 1)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
