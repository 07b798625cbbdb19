"""What a pilot writes and accepts, judged by the tools that others keep for it."""

import json
from pathlib import Path

import pytest
from groundwork.documents.pilot import Pilot
from serving import FROM_CACHE, Service, serving
from validators import node_modules, node_tool, python_tool

pytestmark = pytest.mark.slow

SPEC_VALIDATOR = ("openapi-spec-validator==0.9.0",)
PYTHON_CLIENT = ("openapi-python-client==0.29.1",)
NODE_CLIENT = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@20.19.0")


@pytest.fixture(scope="module")
def service(pilot: Pilot) -> Service:
    with serving(pilot, **FROM_CACHE) as running:
        yield running


@pytest.fixture
def description(service: Service, tmp_path: Path) -> Path:
    """The file openapi.json, as the running service publishes it."""
    file = tmp_path / "openapi.json"
    file.write_text(json.dumps(service.ask("/openapi.json")[1]), encoding="utf-8")
    return file


def test_the_api_description_is_valid(description: Path, tmp_path: Path) -> None:
    said = python_tool(SPEC_VALIDATOR, "openapi-spec-validator", "--errors", "all", description, folder=tmp_path)
    assert said.endswith("OK\n")


PYTHON = """
import sys
from datetime import datetime
from client import Client
from client.api.default import outcomes_outcomes_post, predict, ready_health_ready_get
from client.models import Outcome, OutcomesRequest, PredictRequest, Record, RecordOrigin

client = Client(base_url=sys.argv[1])
record = Record(
    flight_id="20131224-B6-1016-JFK", scheduled_departure=datetime(2013, 12, 24, 18, 25), carrier="B6",
    origin=RecordOrigin.JFK, destination="BOS", distance_miles=187, departure_minute=1105,
    arrival_minute=1180, weekday=2,
)
answer = predict.sync(client=client, body=PredictRequest(records=[record]))
[prediction] = answer.predictions
told = OutcomesRequest(outcomes=[Outcome(prediction_id=prediction.prediction_id, outcome=True)])
received = outcomes_outcomes_post.sync(client=client, body=told)
record.origin_late_share_yesterday = 7.0
ready = ready_health_ready_get.sync(client=client)
print(ready.additional_properties["status"], prediction.decision, received.received)
print(predict.sync(client=client, body=PredictRequest(records=[record])).detail)
"""


def test_a_python_client_is_generated_and_answered(service: Service, description: Path, tmp_path: Path) -> None:
    """Without the optional column, with a date and time of Python's, and with a value that the contract refuses."""
    config = tmp_path / "config.yml"
    config.write_text("project_name_override: asks\npackage_name_override: client\n", encoding="utf-8")
    options = ("--path", description, "--config", config, "--output-path", tmp_path / "asks", "--fail-on-warning")
    python_tool(PYTHON_CLIENT, "openapi-python-client", "generate", *options, folder=tmp_path)
    (tmp_path / "asks/ask.py").write_text(PYTHON, encoding="utf-8")
    address = f"http://127.0.0.1:{service.port}"
    # what the generated code imports comes with its generator
    said = python_tool(PYTHON_CLIENT, "python", "ask.py", address, folder=tmp_path / "asks").splitlines()
    assert said[0] in ("ready replan 1", "ready keep 1")
    assert "origin_late_share_yesterday" in said[1]


TYPESCRIPT = """
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const client = createClient<paths>({ baseUrl: process.argv[2] });
const record: components["schemas"]["Record"] = {
  flight_id: "20131224-B6-1016-JFK", scheduled_departure: "2013-12-24T18:25:00", carrier: "B6", origin: "JFK",
  destination: "BOS", distance_miles: 187, departure_minute: 1105, arrival_minute: 1180, weekday: 2,
};
const { data, error } = await client.POST("/predict", { body: { records: [record] } });
if (!data) throw new Error(error.detail);
const { prediction_id, decision } = data.predictions[0]!;
const told = await client.POST("/outcomes", { body: { outcomes: [{ prediction_id, outcome: true }] } });
const refused = await client.POST("/predict", { body: { records: [{ ...record, origin_late_share_yesterday: 7 }] } });
console.log(decision, told.data?.received, refused.error?.detail);
"""


def test_a_typescript_client_is_generated_and_answered(service: Service, description: Path) -> None:
    """Compiled strictly: a column that may be missing may be left out, and what is answered has a type."""
    folder = node_modules(*NODE_CLIENT)
    node_tool(folder, "openapi-typescript", description, "--output", "schema.d.ts")
    (folder / "ask.ts").write_text(TYPESCRIPT, encoding="utf-8")
    strictly = ("--strict", "--noUncheckedIndexedAccess", "--module", "nodenext", "--target", "es2022")
    node_tool(folder, "tsc", *strictly, "ask.ts")
    said = node_tool(folder, "node", "ask.js", f"http://127.0.0.1:{service.port}").split(maxsplit=2)
    assert said[0] in ("replan", "keep")
    assert said[1] == "1"
    assert "origin_late_share_yesterday" in said[2]
