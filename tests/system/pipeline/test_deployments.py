"""Every flow has a schedule, and Prefect finds it by its name."""

from importlib import import_module

from groundwork.documents.pilot import Pilot
from groundwork.pipeline.deployments import SCHEDULES, announce, deployments
from groundwork.store.database import Store

FLOWS = {"ingest", "train", "score", "monitor", "retrain", "prove"}


def test_every_flow_has_a_schedule_and_can_be_found(new_pilot: Pilot) -> None:
    made = {each.flow_name: each for each in deployments(new_pilot)}
    assert set(made) == FLOWS == {flow.name for flow in SCHEDULES}
    for name, deployment in made.items():
        assert deployment.entrypoint == f"groundwork.pipeline.flows.{name}"
        module, _, flow = str(deployment.entrypoint).rpartition(".")
        assert getattr(import_module(module), flow).name == name
        assert deployment.concurrency_limit == 1
        assert deployment.tags == ["groundwork", new_pilot.name]
        assert deployment.work_pool_name is None
        [schedule] = deployment.schedules
        assert schedule.schedule.timezone == "America/New_York"
        assert int(schedule.schedule.cron.split()[1]) >= 4  # clocks change before


def test_the_store_notes_which_flows_are_on_a_schedule(new_pilot: Pilot) -> None:
    lines = announce(new_pilot)
    assert "ingest   0 4 * * * America/New_York" in lines
    with Store(new_pilot.settings.store) as store:
        assert set(store.schedules.since()) == FLOWS
