"""Every flow has a schedule, and Prefect finds it by its name; what a server still has of earlier code is migrated."""

import json
import os
import subprocess
import sys
from importlib import import_module

import pytest
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


ON_A_SERVER = """
import os
from groundwork.core.environment import prepare
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.prefect_server import Server

pilot = Pilot.here()
prepare(pilot.settings)
server = Server(pilot.settings)
server.wait()
os.environ["PREFECT_API_URL"] = server.url
from prefect import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from groundwork.cli.main import app
from groundwork.pipeline import deployments

with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="pool", type="process"))

def registered():
    with get_client(sync_client=True) as client:
        found = client.read_deployments()
        return {f"{client.read_flow(each.flow_id).name}/{each.name}": each for each in found}

def migrate(*options):
    try:
        app(["migrate", *options])
    except SystemExit as end:
        assert not end.code, end.code

# As the code before registered them: another flow, another schedule.
deployments.SCHEDULES[deployments.score] = "0 23 * * *"
deployments.register(pilot, "pool", "")
with get_client(sync_client=True) as client:
    audit = client.create_flow_from_name("audit")
    for name in (pilot.name, "another-pilot"):
        client.create_deployment(audit, name, tags=["groundwork", name], entrypoint="flows.audit")
deployments.SCHEDULES[deployments.score] = "0 5 * * *"
before = registered()
print("DRY")
migrate("--dry-run")
assert {name: each.updated for name, each in registered().items()} == {n: e.updated for n, e in before.items()}
print("DONE")
migrate()
print("AGAIN")
migrate()
after = registered()
assert before.keys() - after.keys() == {f"audit/{pilot.name}"}, after.keys()
old, new = before["score/scheduled"], after["score/scheduled"]
assert [each.schedule.cron for each in new.schedules] == ["0 5 * * *"]
assert (new.work_pool_name, new.job_variables) == ("pool", old.job_variables)
assert old.job_variables["working_dir"] == str(pilot.settings.home)
assert after["ingest/scheduled"].updated == before["ingest/scheduled"].updated
server.stop()
"""


@pytest.mark.soak
def test_deployments_of_earlier_code_are_told_and_migrated(new_pilot: Pilot) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ON_A_SERVER],
        env=os.environ | {"PREFECT_HOME": str(new_pilot.settings.data_folder / "prefect")},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    name, told = new_pilot.name, done.stdout
    for part, did in (("DRY", "delete"), ("DONE", "deleted")):
        assert f"{did} the deployment audit/{name}" in told.partition(f"{part}\n")[2].partition("\nD")[0]
    assert "renew the deployment score/scheduled" in told
    assert "renewed the deployment score/scheduled" in told
    [copy] = new_pilot.settings.data_folder.glob("deployments.before-*.json")
    assert f"the deployments before that: {copy}" in told
    assert {each["name"] for each in json.loads(copy.read_text())} == {name, "scheduled"}
    assert "nothing to migrate" in told.partition("AGAIN\n")[2]
