"""What a pilot writes and accepts, judged by the tools that others keep for it."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable
from groundwork.documents.pilot import Pilot
from groundwork.readiness.assemble import assess
from groundwork.readiness.render import junit
from groundwork.store.database import Store
from pilots import ROOT
from serving import FROM_CACHE, Service, serving
from validators import node_modules, node_tool, python_tool

pytestmark = pytest.mark.slow

SPEC_VALIDATOR = ("openapi-spec-validator==0.9.0",)
PYTHON_CLIENT = ("openapi-python-client==0.29.1",)
CODEOWNERS = ("codeowners==0.9.0",)
JUNIT = ("junitparser==5.0.3",)
METASCHEMA = ("check-jsonschema==0.39.0",)
POLARS = ("polars==2.1.0", "deltalake==1.6.6", "pyarrow==26.0.0")
BACKSTAGE = ("@backstage/catalog-model@1.10.0",)
NODE_CLIENT = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@20.19.0")


@pytest.fixture(scope="module")
def service(pilot: Pilot) -> Iterator[Service]:
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
from client import Client
from client.api.default import outcomes_outcomes_post, predict, ready_health_ready_get
from client.models import Outcome, OutcomesRequest, PredictRequest, Record, RecordOrigin

client = Client(base_url=sys.argv[1])
record = Record(
    flight_id="20131224-B6-1016-JFK", scheduled_departure="2013-12-24T18:25:00", carrier="B6",
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
    """Without the optional column, and with a value that the contract refuses."""
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


@pytest.mark.soak
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


def test_the_metrics_of_the_running_service_are_in_order(service: Service) -> None:
    if not (promtool := shutil.which("promtool")):
        pytest.skip("promtool is not installed")
    text = service.ask("/metrics")[1]["text"]
    assert "groundwork_" in text
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


ENTITIES = """
import {
  DefaultNamespaceEntityPolicy, EntityPolicies, FieldFormatEntityPolicy, NoForeignRootFieldsEntityPolicy,
  SchemaValidEntityPolicy, componentEntityV1alpha1Validator, resourceEntityV1alpha1Validator,
  systemEntityV1alpha1Validator,
} from "@backstage/catalog-model";
import { readFileSync } from "node:fs";

const policy = EntityPolicies.allOf([
  new SchemaValidEntityPolicy(), new DefaultNamespaceEntityPolicy(), new NoForeignRootFieldsEntityPolicy(),
  new FieldFormatEntityPolicy(),
]);
const kinds = [componentEntityV1alpha1Validator, resourceEntityV1alpha1Validator, systemEntityV1alpha1Validator];
for (const entity of JSON.parse(readFileSync("entities.json", "utf8"))) {
  const sound = await policy.enforce(entity);
  const known = [];
  for (const kind of kinds) known.push(await kind.check(sound));
  console.log(sound.kind, known.filter(Boolean).length);
}
"""


def test_backstage_takes_the_catalogue(pilot: Pilot) -> None:
    folder = node_modules(*BACKSTAGE)
    entities = list(yaml.safe_load_all((pilot.settings.home / "catalog-info.yaml").read_text(encoding="utf-8")))
    (folder / "entities.json").write_text(json.dumps(entities), encoding="utf-8")
    (folder / "check.js").write_text(ENTITIES, encoding="utf-8")
    assert node_tool(folder, "node", "check.js").splitlines() == ["System 1", "Component 1", "Resource 1", "Resource 1"]
    entities[1]["spec"].pop("lifecycle")
    (folder / "entities.json").write_text(json.dumps(entities), encoding="utf-8")
    with pytest.raises(AssertionError, match="lifecycle"):
        node_tool(folder, "node", "check.js")


OWNERS = """
import json, sys
from codeowners import CodeOwners

owners = CodeOwners(open(sys.argv[1], encoding="utf-8").read())
print(json.dumps({path: [name for kind, name in owners.of(path)] for path in sys.argv[2:]}))
"""


def test_codeowners_are_read_as_they_are_meant(pilot: Pilot, tmp_path: Path) -> None:
    (tmp_path / "who.py").write_text(OWNERS, encoding="utf-8")
    meant = {
        "README.md": ["@ada"],
        "src/groundwork/cli/main.py": ["@ada"],
        "src/use_case/model.py": ["@emmy"],
        "src/use_case/source.py": ["@grace"],
        "contract.yaml": ["@grace"],
        "ops/prometheus/alerts.yml": ["@alan"],
    }
    said = python_tool(CODEOWNERS, "python", "who.py", pilot.settings.home / "CODEOWNERS", *meant, folder=tmp_path)
    assert json.loads(said) == meant


CASES = """
import json
from junitparser import Error, Failure, JUnitXml, Skipped

[suite] = JUnitXml.fromfile("scorecard.xml")
kinds = [type(result).__name__ for case in suite for result in case.result]
told = [suite.tests, suite.failures, suite.errors, suite.skipped]
suite.update_statistics()
print(json.dumps([told, [suite.tests, suite.failures, suite.errors, suite.skipped], len(list(suite)), kinds]))
"""


def test_the_junit_report_is_read_with_its_counts(pilot: Pilot, tmp_path: Path) -> None:
    with Store(pilot.settings.store) as store:
        card = assess(pilot, store, date.today())
    (tmp_path / "scorecard.xml").write_text(junit(card), encoding="utf-8")
    (tmp_path / "read.py").write_text(CASES, encoding="utf-8")
    told, counted, cases, kinds = json.loads(python_tool(JUNIT, "python", "read.py", folder=tmp_path))
    assert told == counted == [len(card.rows), *(kinds.count(kind) for kind in ("Failure", "Error", "Skipped"))]
    assert cases == len(card.rows)
    assert counted[2] > 0


def test_the_graph_that_is_served_passes_the_full_check(pilot: Pilot) -> None:
    import onnx

    [graph] = pilot.settings.champion_cache.rglob("model.onnx")
    onnx.checker.check_model(str(graph), full_check=True)


FRAMES = """
import json, sys
import polars

frame = polars.read_delta(sys.argv[1])
frame.write_parquet("polars.parquet")
print(json.dumps([frame.height, {name: str(kind) for name, kind in frame.schema.items()}]))
"""
KINDS = {"string": "String", "timestamp": "Datetime", "number": "Float64", "integer": "Int", "boolean": "Boolean"}


def test_other_readers_find_the_same_rows_in_a_snapshot(pilot: Pilot, tmp_path: Path) -> None:
    """Polars reads the table by its log; pyarrow reads the files that the log names."""
    [table] = {log.parent for log in pilot.settings.data_folder.rglob("_delta_log") if "snapshot" in str(log)}
    (tmp_path / "read.py").write_text(FRAMES, encoding="utf-8")
    height, schema = json.loads(python_tool(POLARS, "python", "read.py", table, folder=tmp_path))
    for column in pilot.contract.dataset.columns:
        assert schema[column.name].startswith(KINDS[column.logical_type])
    files = [pq.read_table(file.removeprefix("file://")) for file in DeltaTable(table).file_uris()]
    assert height == sum(file.num_rows for file in files) > 0
    names = [column.name for column in pilot.contract.dataset.columns]

    def rows(*tables: Any) -> list[tuple[Any, ...]]:
        columns = pa.concat_tables([table.select(names) for table in tables], promote_options="permissive")
        return sorted((tuple(row.values()) for row in columns.to_pylist()), key=lambda row: row[0])

    assert rows(pq.read_table(tmp_path / "polars.parquet")) == rows(*files)


def test_the_schemas_for_editors_are_valid_themselves(tmp_path: Path) -> None:
    schemas = sorted((ROOT / "template/src/groundwork/schemas").glob("*.json"))
    assert len(schemas) == 3
    python_tool(METASCHEMA, "check-jsonschema", "--check-metaschema", *schemas, folder=tmp_path)
