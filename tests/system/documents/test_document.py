"""The three documents load, and a mistake in one is refused in words that name the file, the place and the cure."""

import copy
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from groundwork.core.errors import DocumentError
from groundwork.documents.charter import Charter
from groundwork.documents.contract.contract import Contract
from groundwork.documents.document import Document, read_yaml, unanswered, write_yaml
from groundwork.documents.owners import Owners
from pilots import documents

KINDS: dict[str, type[Document]] = {"charter.yaml": Charter, "contract.yaml": Contract, "OWNERS": Owners}

CHARTER = """
apiVersion: groundwork/v1
kind: PilotCharter
metadata: {name: first-visits, title: First visits}
decision: {statement: "Whom do we call?", withoutModel: Nobody.}
value: {currency: EUR, unit: call, parameters: {benefitPerHit: 10.5, costPerAction: 1}}
gate: {metric: roc_auc, minimum: 0.6, minGainOverRule: 0, minGainOverChampion: 0, maxMetricLoss: 0.01, minRows: 100}
monitoring: {window: week, driftDistance: 0.1, maxDriftedShare: 0.2, minRows: 50}
readyToScale: {criteria: [{id: gain, question: "Enough?", measure: gain_per_1000, op: ">=", threshold: 5}]}
plan: {day0: 2026-11-23}
"""
CONTRACT = """
apiVersion: v3.1.0
kind: DataContract
id: visits
version: 1.0.0
status: active
schema:
  - name: visits
    properties:
      - {name: id, logicalType: string, primaryKey: true, description: Key., examples: [a]}
      - {name: at, logicalType: timestamp, tags: [event_time], description: When., examples: ["2013-01-01T00:00:00"]}
      - {name: age, logicalType: integer, tags: [feature], description: Age., examples: [40]}
      - {name: back, logicalType: boolean, tags: [outcome], description: Came back., examples: [true]}
      - name: city
        logicalType: string
        tags: [feature]
        description: City.
        examples: [Rome]
        quality: [{metric: invalidValues, arguments: {validValues: [Rome, Oslo]}, mustBe: 0}]
"""
OWNERS = """
approvers: [ada]
reviewers: [ada, grace]
accountable:
  decision: {name: Ada, handle: ada}
  data: {visits: {name: Grace, handle: grace}}
  model: {name: Emmy, handle: emmy}
  service: {name: Alan, handle: alan}
"""
TEXTS = {"charter.yaml": CHARTER, "contract.yaml": CONTRACT, "OWNERS": OWNERS}

STOP = {"id": "harm", "question": "Harm?", "measure": {"attestation": "harm"}, "op": ">", "threshold": 1}
SEAL = {"on": date(2026, 11, 23), "by": "ada", "reason": "locked", "sha256": "0" * 64}
REMOVE = object()
COLUMNS = "schema.0.properties"
OPTIONS = COLUMNS + ".{}.logicalTypeOptions"


def changed(content: Any, path: str, value: Any) -> Any:
    content = part = copy.deepcopy(content)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in steps:
        part = part[step]
    if value is REMOVE:
        del part[last]
    else:
        part[last] = value
    return content


def load(folder: Path, name: str, text: str) -> Document:
    (folder / name).write_text(text, encoding="utf-8")
    return KINDS[name].load(folder / name)


@pytest.mark.parametrize("name", KINDS)
def test_this_projects_own_documents_are_valid(name: str) -> None:
    KINDS[name].load(documents() / name)


@pytest.mark.parametrize("name", KINDS)
def test_editors_find_this_projects_own_documents_valid(name: str) -> None:
    """Each document names its schema in its first line, and fits it."""
    jsonschema = pytest.importorskip("jsonschema")
    text = (documents() / name).read_text(encoding="utf-8")
    schema = documents() / text.splitlines()[0].partition("$schema=")[2]
    # As an editor sees it: dates are texts.
    content = json.loads(json.dumps(yaml.safe_load(text), default=str))
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(content)] == []
    assert not validator.is_valid(content | {"surprise": 1})


@pytest.mark.parametrize("name", KINDS)
def test_a_sound_document_loads(name: str, tmp_path: Path) -> None:
    assert load(tmp_path, name, TEXTS[name])


@pytest.mark.parametrize(
    ("name", "path", "value", "expectation"),
    [
        ("charter.yaml", "metadata.name", REMOVE, "is missing"),
        ("charter.yaml", "metadata.name", "First Visits", "should match pattern"),
        ("charter.yaml", "metadata.name", "a", "should match pattern"),
        ("charter.yaml", "apiVersion", "groundwork/v2", "newer than groundwork/v1, which this code reads: update the"),
        ("charter.yaml", "apiVersion", "groundwork/v0", "older than groundwork/v1, which this code reads: run"),
        ("charter.yaml", "apiVersion", "v3.1.0", "'groundwork/v1', found 'v3.1.0'"),
        ("charter.yaml", "kind", "Charter", "'PilotCharter'"),
        ("charter.yaml", "decision.statment", "Whom?", "is not a known key here; remove it or correct its spelling"),
        ("charter.yaml", "decision.statement", 5, "valid string, found 5"),
        ("charter.yaml", "decision.statement", "", "at least 3 characters"),
        ("charter.yaml", "value.currency", "Euro", "should match pattern"),
        ("charter.yaml", "value.parameters.costPerAction", "120", "valid number, found '120'"),
        ("charter.yaml", "value.parameters.costPerAction", True, "valid number, found True"),
        ("charter.yaml", "value.parameters.costPerAction", float("nan"), "finite number"),
        ("charter.yaml", "gate.metric", "auc", "'roc_auc', 'average_precision'"),
        ("charter.yaml", "gate.minimum", 1.5, "less than or equal to 1"),
        ("charter.yaml", "gate.minRows", 0, "greater than 0"),
        ("charter.yaml", "gate.minRows", 10.5, "valid integer"),
        ("charter.yaml", "monitoring.window", "year", "'day', 'week' or 'month'"),
        ("charter.yaml", "monitoring.driftDistance", 0, "greater than 0"),
        ("charter.yaml", "readyToScale.criteria", [], "at least 1 item"),
        ("charter.yaml", "readyToScale.criteria.0.op", "=>", "'>=', '<='"),
        ("charter.yaml", "readyToScale.criteria.0.level", "should", "at least one criterion must have the level must"),
        ("charter.yaml", "readyToScale.criteria.0.level", "may", "'must' or 'should'"),
        ("charter.yaml", "readyToScale.criteria.0.threshold", "TBD", "valid number"),
        ("charter.yaml", "readyToScale.criteria.0.threshold", float("inf"), "finite number"),
        ("charter.yaml", "readyToScale.criteria.0.window", "a month", "should match pattern"),
        ("charter.yaml", "readyToScale.criteria.0.minSamples", 0, "greater than 0"),
        ("charter.yaml", "stopCriteria", [{"id": "harm"}], "is missing"),
        ("charter.yaml", "businessCase", {"horizonMonths": 0}, "greater than 0"),
        ("charter.yaml", "businessCase", {"valuePerUnit": {"low": 2, "base": 1}}, "in ascending order, found 2.0, 1.0"),
        ("charter.yaml", "businessCase", {"attribution": {"design": "by eye"}}, "'randomised', 'stepped-rollout'"),
        ("charter.yaml", "businessCase", {"return": 5000}, "is not a known key here"),
        ("charter.yaml", "decision.volumePerMonth", -1, "greater than 0"),
        ("charter.yaml", "plan.day90", [{"outcome": "decided"}], "is missing"),
        ("charter.yaml", "plan.deciders", "ada", "valid tuple"),
        ("charter.yaml", "seals", [{"on": "today"}], "valid date"),
        ("charter.yaml", "seals", [SEAL | {"sha256": "0"}], "should match pattern"),
        ("charter.yaml", "plan.day0", "next Monday", "must be a valid date as YYYY-MM-DD, or TBD"),
        ("contract.yaml", "apiVersion", "v2.0.0", "'v3.1.0'"),
        ("contract.yaml", "version", "1", "should match pattern"),
        ("contract.yaml", "schema", [], "at least 1 item"),
        ("contract.yaml", "schema.0.propertys", [], "is not a known key"),
        ("contract.yaml", f"{COLUMNS}.2.logicalType", "date", "'string', 'integer', 'number'"),
        ("contract.yaml", f"{COLUMNS}.2.examples", REMOVE, "is missing"),
        ("contract.yaml", f"{COLUMNS}.2.examples", [float("nan")], "examples: must be finite numbers"),
        ("contract.yaml", f"{COLUMNS}.2.required", "yes", "valid boolean"),
        ("contract.yaml", f"{COLUMNS}.2.tags", ["feature", "outcome"], "must have the tag outcome, found 2"),
        ("contract.yaml", f"{COLUMNS}.3.tags", [], "exactly one property must have the tag outcome, found 0"),
        ("contract.yaml", f"{COLUMNS}.1.tags", [], "exactly one property must have the tag event_time, found 0"),
        ("contract.yaml", f"{COLUMNS}.0.primaryKey", False, "exactly one property must have primaryKey: true, found 0"),
        ("contract.yaml", f"{COLUMNS}.2.name", "back", "the property back occurs twice"),
        ("contract.yaml", f"{COLUMNS}.2.name", "Age in years", "should match pattern"),
        ("contract.yaml", f"{COLUMNS}.1.logicalType", "string", "the event_time must be a timestamp, at is a string"),
        ("contract.yaml", f"{COLUMNS}.3.logicalType", "timestamp", "the outcome cannot be a timestamp, as back is"),
        ("contract.yaml", f"{COLUMNS}.3.logicalType", "string", "back is a string: list its classes with"),
        ("charter.yaml", "gate.metric", "mae", "mae requires a maximum and allows no minimum"),
        ("charter.yaml", "gate.maximum", 1, "roc_auc requires a minimum and allows no maximum"),
        ("charter.yaml", "gate.sliceMaximum", 1, "roc_auc requires a minimum and allows no maximum"),
        ("charter.yaml", "gate.minimum", REMOVE, "roc_auc requires a minimum and allows no maximum"),
        ("contract.yaml", f"{COLUMNS}.2.logicalType", "timestamp", "a timestamp cannot be a feature"),
        ("contract.yaml", OPTIONS.format(1), {"defaultTimezone": "CEST"}, "'CEST' is not a time zone"),
        ("contract.yaml", OPTIONS.format(2), {"defaultTimezone": "UTC"}, "Timezone does not apply to"),
        ("contract.yaml", OPTIONS.format(2), {"pattern": "^a"}, "pattern does not apply to"),
        ("contract.yaml", OPTIONS.format(2), {"minimum": 9, "maximum": 1}, "at least 9 and at most 1"),
        ("contract.yaml", OPTIONS.format(2), {"maximum": float("inf")}, "finite number"),
        ("contract.yaml", f"{COLUMNS}.4.logicalTypeOptions", {"pattern": "(["}, "is not a regular expression"),
        ("contract.yaml", f"{COLUMNS}.3.tags", ["outcome", "feature"], "back can have only one of the roles"),
        ("contract.yaml", f"{COLUMNS}.0.tags", ["feature"], "cannot be a feature"),
        ("contract.yaml", f"{COLUMNS}.0.tags", ["slice"], "cannot be a slice, because its values never repeat"),
        (
            "contract.yaml",
            f"{COLUMNS}.1.tags",
            ["event_time", "slice"],
            "at cannot be a slice: the gate judges each value of a slice, so it must be a string, an integer or a "
            "boolean, and at is a timestamp; derive such a column in source.py",
        ),
        ("contract.yaml", f"{COLUMNS}.4.logicalTypeOptions", {"minimum": 1}, "minimum does not apply to"),
        ("contract.yaml", f"{COLUMNS}.4.logicalTypeOptions", {"formats": "uuid"}, "is not a known key"),
        ("contract.yaml", f"{COLUMNS}.4.quality.0.metric", "rowCounts", "'invalidValues'"),
        (
            "contract.yaml",
            "schema.0.customProperties",
            [{"property": "maxQuarantinedShare", "value": True}],
            "maxQuarantinedShare must be between 0 and 1, found True",
        ),
        (
            "contract.yaml",
            "schema.0.customProperties",
            [{"property": "maxQuarantinedShare", "value": 5}],
            "maxQuarantinedShare must be between 0 and 1, found 5",
        ),
        (
            "contract.yaml",
            "schema.0.customProperties",
            [{"property": "maxDaysAhead", "value": "a week"}],
            "maxDaysAhead must be between 0 and 36,500, found 'a week'",
        ),
        ("OWNERS", "approvers", [], "at least 1 item"),
        ("OWNERS", "approvers", "ada", "valid tuple"),
        ("OWNERS", "approvers.0", "@ada", "should match pattern"),
        ("OWNERS", "reviewers", REMOVE, "is missing"),
        ("OWNERS", "accountable.model", [{"name": "Emmy", "handle": "emmy"}], "valid dictionary"),
        ("OWNERS", "accountable.model.name", "E", "at least 2 characters"),
        ("OWNERS", "accountable.model.until", "soon", "valid date"),
        ("OWNERS", "accountable.model.deputy", {"name": "Ada"}, "is missing"),
        ("OWNERS", "accountable.model.deputy", "ada", "found 'ada'"),
        ("OWNERS", "accountable.model.desk", "4", "is not a known key"),
        ("OWNERS", "accountable.model", REMOVE, "is missing"),
        ("OWNERS", "accountable.model", "emmy", "found 'emmy'"),
        ("OWNERS", "accountable.model.handle", "emmy noether", "should match pattern"),
        ("OWNERS", "accountable.data", {}, "at least 1 item"),
        ("OWNERS", "accountable.cloud", {"name": "Grace", "handle": "grace"}, "is not a known key"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_file_place_and_expectation(
    name: str, path: str, value: Any, expectation: str, tmp_path: Path
) -> None:
    content = changed(yaml.safe_load(TEXTS[name]), path, value)
    with pytest.raises(DocumentError) as refused:
        load(tmp_path, name, yaml.safe_dump(content, sort_keys=False))
    file, place, message = str(refused.value).splitlines()[0].split(": ", 2)
    assert file == name
    # What is wrong with a whole is said of the whole; of two ways to be right, both are named.
    assert path.startswith(place) or place.startswith(path)
    assert expectation in message


@pytest.mark.parametrize(
    ("path", "value", "expectation"),
    [
        ("readyToScale.criteria.0.measure", "gain", "'gain_per_1000'"),
        ("readyToScale.criteria.0.measure", {"promql": "up", "sql": "select 1, 1"}, "exactly one of promql, sql"),
        ("readyToScale.criteria.0.measure", {}, "exactly one of promql, sql, check and attestation"),
        ("readyToScale.criteria.0.measure", {"excel": "B7"}, "excel: is not a known key here"),
        ("stopCriteria", [STOP | {"id": "gain"}], "the criterion gain occurs twice"),
    ],
)
def test_a_line_that_nobody_could_measure_is_refused(path: str, value: Any, expectation: str, tmp_path: Path) -> None:
    """What is wrong may stand beside what would have been right in another way, or be said of the whole."""
    content = changed(yaml.safe_load(CHARTER), path, value)
    with pytest.raises(DocumentError) as refused:
        load(tmp_path, "charter.yaml", yaml.safe_dump(content, sort_keys=False))
    assert expectation in str(refused.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "charter.yaml: (the whole document): "),
        ("- a\n- b\n", "charter.yaml: (the whole document): "),
        ("a: [1", "charter.yaml: not valid YAML: "),
        (
            CHARTER + "kind: PilotCharter\n",
            "charter.yaml: not valid YAML: kind occurs twice in one mapping, on lines 3 and 11",
        ),
        (
            CHARTER.replace("unit: call", "unit: call, unit: visit"),
            "unit occurs twice in one mapping, on lines 6",
        ),
        (CHARTER + "when: !!python/object/apply:os.getcwd []\n", "charter.yaml: not valid YAML: "),
        (CHARTER + "? [a, b]\n: 1\n", "charter.yaml: "),
        (CHARTER + "day: &x 1\nmore: *y\n", "charter.yaml: not valid YAML: "),
        (CHARTER + f"day: {'1' * 5000}\n", "charter.yaml: not valid YAML: "),
        (CHARTER + "day: !!timestamp 2026-11-23\n", "charter.yaml: not valid YAML: could not determine a constructor"),
        (CHARTER + "1: one\n", "charter.yaml: 1: is a key that is not text; write it in quotes"),
    ],
)
def test_what_is_not_a_document_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DocumentError) as refused:
        load(tmp_path, "charter.yaml", text)
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("y", "y"),
        ("no", "no"),
        ("Off", "Off"),
        ("true", True),
        ("False", False),
        ("12:30", "12:30"),
        ("1:30.5", "1:30.5"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-3", -3),
        ("1_000", "1_000"),
        ("1e5", 100000.0),
        (".5", 0.5),
        ("3.", 3.0),
        ("+.inf", float("inf")),
        ("1.2.3", "1.2.3"),
        ("2026-11-20", "2026-11-20"),
        ("2026-11-20 10:00:00", "2026-11-20 10:00:00"),
        ("2013-12-24T18:25:00Z", "2013-12-24T18:25:00Z"),
        ("~", None),
        ("", None),
        ("=", "="),
        ('"1e5"', "1e5"),
    ],
)
def test_a_value_is_read_as_yaml_1_2_reads_it(text: str, value: Any) -> None:
    found = read_yaml(f"key: {text}")
    assert found == {"key": value}
    assert type(found["key"]) is type(value)
    assert read_yaml(f"{text or '~'}: 1") == {value: 1}


@pytest.mark.parametrize("text", ["on", "no", "12:30", "010", "0o17", "1e5", "1_000", "2026-11-20", "~", "true", "="])
def test_a_text_is_written_so_that_every_reader_reads_a_text(text: str) -> None:
    written = write_yaml({"why": text, text: [text]})
    assert read_yaml(written) == yaml.safe_load(written) == {"why": text, text: [text]}


def test_a_date_may_be_quoted_or_not(tmp_path: Path) -> None:
    quoted = load(tmp_path, "charter.yaml", CHARTER.replace("2026-11-23", '"2026-11-23"'))
    assert quoted == load(tmp_path, "charter.yaml", CHARTER)
    assert isinstance(quoted, Charter)
    assert quoted.plan.day0 == date(2026, 11, 23)
    for wrong in ("2026-11-23 10:00:00", "20261123", "2026-02-30", "2026-W48-1"):
        with pytest.raises(DocumentError, match=r"plan\.day0"):
            load(tmp_path, "charter.yaml", CHARTER.replace("2026-11-23", wrong))


def test_a_date_where_a_text_is_expected_is_a_text(tmp_path: Path) -> None:
    found = load(tmp_path, "charter.yaml", CHARTER.replace("title: First visits", "title: 2026-11-23"))
    assert isinstance(found, Charter)
    assert found.metadata.title == "2026-11-23"


def test_bytes_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "OWNERS").write_bytes(b"approvers: [\xff]")
    with pytest.raises(DocumentError, match="OWNERS: not valid YAML"):
        Owners.load(tmp_path / "OWNERS")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "charter.yaml").mkdir()
    with pytest.raises(DocumentError, match=r"charter\.yaml: cannot be read: Is a directory"):
        Charter.load(tmp_path / "charter.yaml")
    with pytest.raises(DocumentError, match=r"OWNERS: not found in .*"):
        Owners.load(tmp_path / "OWNERS")


def test_every_mistake_has_its_line(tmp_path: Path) -> None:
    text = CHARTER.replace("EUR", "euro").replace("minRows: 100", "minRows: none")
    with pytest.raises(DocumentError) as refused:
        load(tmp_path, "charter.yaml", text)
    assert [line.split(": ")[1] for line in str(refused.value).splitlines()] == ["value.currency", "gate.minRows"]


def test_keys_of_the_standard_that_carry_no_rule_are_left_alone(tmp_path: Path) -> None:
    content = yaml.safe_load(CONTRACT)
    content |= {"tenant": "us", "team": [{"username": "ada"}], "slaProperties": [], "tags": ["pilot"]}
    content["schema"][0] |= {"physicalName": "t_visits", "businessName": "Visits"}
    content["schema"][0]["properties"][2] |= {"physicalType": "int4", "transformLogic": "now() - born"}
    described, plain = (load(tmp_path, "contract.yaml", text) for text in (yaml.safe_dump(content), CONTRACT))
    assert isinstance(described, Contract)
    assert described.left_alone == []
    assert (
        described.dataset.columns[2].model_copy(update={"physical_type": None, "transform_logic": None})
        == (plain.dataset.columns[2])
    )


def test_texts_that_are_still_open_are_found_by_their_path(tmp_path: Path) -> None:
    text = CHARTER.replace("Whom do we call?", "TBD: whom?").replace("First visits", "TBD").replace("2026-11-23", "TBD")
    still_open = unanswered(load(tmp_path, "charter.yaml", text))
    assert {"metadata.title", "decision.statement", "plan.day0"} < set(still_open)
    assert "businessCase.baseline.value" in still_open  # what was left out was not answered either
    owners = load(
        tmp_path, "OWNERS", OWNERS.replace("approvers: [ada]", "approvers: [ada, TBD]").replace("Emmy", "TBD")
    )
    assert unanswered(owners) == ["approvers.1", "accountable.model.name"]
