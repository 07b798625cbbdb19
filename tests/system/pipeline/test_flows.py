"""The flows run on their schedules, one at a time; what may pass is tried again, and what was killed is told."""

import fcntl
import json
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from importlib import import_module
from uuid import uuid4

import mlflow
import pytest
from groundwork.core.errors import (
    Busy,
    ContractBreach,
    NotEnoughData,
    SchemaMismatch,
    SourceError,
    SourceUnavailable,
    StoreError,
)
from groundwork.core.windows import Window
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import age
from groundwork.models.registry.registry import Registry
from groundwork.monitoring.drift import DriftUnknown
from groundwork.pipeline import flows as retrain
from groundwork.pipeline import work
from groundwork.pipeline.deployments import SCHEDULES, deployments
from groundwork.store.database import Store
from mlflow.exceptions import MlflowException
from requests import exceptions

MARCH = Window(datetime(2013, 3, 1), datetime(2013, 4, 1))


def chained(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        SourceUnavailable("it does not answer"),
        StoreError("it is down"),
        Busy("another one"),
        ConnectionRefusedError(),
        chained(MlflowException("API request failed"), exceptions.ConnectionError()),
        chained(MlflowException("API request failed"), exceptions.ReadTimeout()),
    ],
)
def test_what_cannot_be_reached_is_tried_again(error: Exception) -> None:
    assert flows.may_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        ContractBreach("too many rows"),
        chained(ContractBreach("too many rows"), ConnectionRefusedError()),
        SourceError("the source does not fit contract.yaml"),
        NotEnoughData("nothing to learn from"),
        DriftUnknown("nobody can tell"),
        SchemaMismatch("run `groundwork migrate`"),
        MlflowException("no such model"),
        FileNotFoundError("model.py"),
        ValueError("a slip of the pen"),
    ],
)
def test_what_will_fail_again_is_not(error: Exception) -> None:
    assert not flows.may_pass(error)


def test_a_source_that_is_away_may_come_back(new_pilot: Pilot) -> None:
    (new_pilot.settings.data_folder / "operational.duckdb").unlink()
    with pytest.raises(SourceUnavailable) as away, connected(new_pilot):
        pass
    assert flows.may_pass(away.value)


def test_a_flow_runs_once_at_a_time_on_one_store(pilot_copy: Pilot) -> None:
    """Whoever started it, and on whichever machine; other flows are free to run."""
    with Store(pilot_copy.settings.store) as store:
        with store.alone("ingest"), pytest.raises(Busy, match="another ingest is under way"):
            work.ingest(Pilot.here())
        with store.alone("train"):
            work.ingest(Pilot.here())


def test_a_run_is_marked_while_its_process_lives(new_pilot: Pilot) -> None:
    identifier = uuid4()
    path = new_pilot.settings.data_folder / "runs" / f"{identifier}.run"
    with flows._marked(new_pilot, "ingest", identifier), path.open() as mark:
        assert json.loads(mark.read())["flow"] == "ingest"
        with pytest.raises(BlockingIOError):
            fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    with path.open() as mark, pytest.raises(BlockingIOError):  # Prefect has not been told yet
        fcntl.flock(mark, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert path.read_text() == ""  # but the store knows


def test_a_run_is_heard_of_until_it_ends(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "SIGN_SECONDS", 0.01)
    with Store(new_pilot.settings.store) as store:
        with flows._heard(new_pilot, "ingest", uuid4(), timeout_seconds=60):
            [first] = store.runs.under_way()
            deadline = time.monotonic() + 60
            while (again := store.runs.under_way()) == [first]:
                assert time.monotonic() < deadline
            assert [each._replace(heard_at=first.heard_at) for each in again] == [first]
        assert store.runs.under_way() == []


def test_a_run_beyond_its_timeout_falls_silent(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "SIGN_SECONDS", 0.01)
    with Store(new_pilot.settings.store) as store, flows._heard(new_pilot, "ingest", uuid4(), timeout_seconds=0):
        first = store.runs.under_way()
        time.sleep(0.3)
        assert store.runs.under_way() == first


def test_a_run_goes_on_where_the_store_is_away(new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """What needs the store fails, and is tried again; the signs of life come again by themselves."""
    monkeypatch.setenv("GROUNDWORK_STORE_URL", "postgresql://127.0.0.1:9/none")
    with flows._heard(Pilot.here(), "ingest", uuid4(), timeout_seconds=60):
        pass


def test_every_flow_has_a_schedule_and_can_be_found(new_pilot: Pilot) -> None:
    made = {each.flow_name: each for each in deployments(new_pilot)}
    assert set(made) == {"ingest", "train", "score", "monitor", "retrain", "prove"} == {flow.name for flow in SCHEDULES}
    for name, deployment in made.items():
        module, _, flow = str(deployment.entrypoint).rpartition(".")
        assert getattr(import_module(module), flow).name == name
        assert deployment.concurrency_limit == 1
        assert deployment.tags == ["groundwork", new_pilot.name]
        assert deployment.work_pool_name is None


def test_only_the_note_of_a_living_worker_counts(new_pilot: Pilot) -> None:
    assert server._of_worker(new_pilot) is None
    note = server._note(new_pilot)
    note.write_text("http://127.0.0.1:1/api")
    assert server._of_worker(new_pilot) is None  # left behind by one that was killed
    with note.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert server._of_worker(new_pilot) == "http://127.0.0.1:1/api"
        with pytest.raises(Busy, match="a worker runs already"), server.announced(new_pilot):
            pass
    assert "PREFECT_API_URL" not in os.environ


def test_a_new_model_is_trained_unless_it_is_known_to_be_needless(
    pilot_copy: Pilot, plain_steps: None, monkeypatch: pytest.MonkeyPatch, sql: Callable, set_in: Callable
) -> None:
    monkeypatch.setattr(retrain, "ingest", work.ingest)
    monkeypatch.setattr(retrain, "train", work.train)
    with Store(pilot_copy.settings.store) as store:
        [reason] = retrain.reasons_to_train(pilot_copy, store)
        assert reason == "drift since version 1 was trained has not been measured"
        with pytest.raises(DriftUnknown):
            work.monitor(Pilot.here())
        [reason] = retrain.reasons_to_train(pilot_copy, store)
        assert reason.startswith("drift is unknown: ")

        work.score(Pilot.here())
        set_in(pilot_copy.settings.home / "charter.yaml", "monitoring.maxDriftedShare", 1)
        assert work.monitor(Pilot.here()).status == "ok"
        assert retrain.work.retrain(Pilot.here()) == retrain.Retrained([], None)
        set_in(pilot_copy.settings.home / "charter.yaml", "monitoring.maxDriftedShare", 0)
        set_in(pilot_copy.settings.home / "charter.yaml", "monitoring.driftDistance", 0.000001)
        assert work.monitor(Pilot.here()).status == "drift"
        [reason] = retrain.reasons_to_train(pilot_copy, store)
        assert reason.startswith("drift: ")
        sql(pilot_copy, "insert into flights select * replace (3 as month) from flights where month = 2")
        done = retrain.work.retrain(Pilot.here())
        assert done.reasons[-1] == "version 1 is 1 windows old; how it ages is unknown: `groundwork evaluate`"
        assert done.trained is not None
        assert done.trained.version == "2"
        assert "how it ages is unknown" in {run.flow: run for run in store.runs.latest(True)}["retrain"].message


@pytest.mark.parametrize(
    ("limit", "oldest", "due"), [("1", "3", True), ("2", "3", False), ("not yet", "1", False), ("not yet", "0", True)]
)
def test_the_age_that_the_back_test_found_decides_when_it_is_known(
    limit: str, oldest: str, due: bool, pilot_copy: Pilot, plain_steps: None, sql: Callable
) -> None:
    """It learned up to February, and March has come in: it is one window old. What was never seen is not known."""
    champion = Registry(pilot_copy).required_champion()
    mlflow.MlflowClient().set_tag(champion.run_id, "retrain_after_windows", limit)
    mlflow.MlflowClient().set_tag(champion.run_id, "oldest_windows_seen", oldest)
    sql(pilot_copy, "insert into flights select * replace (3 as month) from flights where month = 2")
    work.ingest(Pilot.here())
    with Store(pilot_copy.settings.store) as store:
        reasons = retrain.reasons_to_train(pilot_copy, store)
    assert reasons[1:] == ([str(age(pilot_copy, champion, MARCH))] if due else [])  # the first is of drift
    assert age(pilot_copy, champion, Window(datetime(2013, 3, 15), MARCH.end)).windows == 1


def test_two_that_tell_of_lost_runs_do_not_stand_in_each_others_way(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prefect's server is not there; while it would be told of the first run, somebody else tells of the others."""
    folder, told = flows._folder(new_pilot), []
    for number in range(3):
        lost = {"flow": "ingest", "started_at": f"2026-11-25T08:00:0{number}+00:00"}
        (folder / f"{uuid4()}.run").write_text(json.dumps(lost))

    def tell(client: None, run_id: str) -> None:
        told.append(run_id)
        for other in folder.glob("*.run"):
            other.unlink()

    monkeypatch.setattr(flows, "_crashed", tell)
    monkeypatch.setattr(flows, "get_client", lambda sync_client: nullcontext())
    assert flows.mend_lost_runs(new_pilot) == ["ingest"]
    assert len(told) == 1


def test_a_pilot_without_a_champion_trains(new_pilot: Pilot) -> None:
    with Store(new_pilot.settings.store) as store:
        assert retrain.reasons_to_train(new_pilot, store) == ["no version has been promoted yet"]
