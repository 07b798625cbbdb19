"""Contracts in the words of the Open Data Contract Standard: what it allows is read, what it refuses is refused."""

import copy
import json
from typing import Any

import pytest
import yaml
from groundwork.core.errors import DocumentError
from groundwork.documents.contract.contract import Contract
from pilots import ROOT
from validators import installed

BASE: dict[str, Any] = yaml.safe_load((ROOT / "tests/orders/contract.yaml").read_text(encoding="utf-8"))
BASE |= {"apiVersion": "v3.2.0", "status": "active"}
DATA, COUNTRY, AMOUNT = "schema.0", "schema.0.properties.3", "schema.0.properties.4"
TIME, CUSTOMER = "schema.0.properties.2", "schema.0.properties.1"
LINK = {"url": "https://example.org/terms", "type": "businessDefinition"}
OWN = {"property": "colour", "value": {"hue": [1, None]}}
MEMBER = {"username": "ada", "role": "owner", "dateIn": "2024-01-01", "customProperties": [OWN]}
RULE = {"type": "sql", "query": "SELECT COUNT(*) FROM ${object} WHERE amount > 1000"}
Changes = dict[str, Any]


def server(kind: str, **keys: Any) -> Changes:
    return {"servers": [{"server": "production", "type": kind} | keys]}


def quality(*rules: Changes, place: str = DATA) -> Changes:
    return {f"{place}.quality": list(rules)}


ALLOWED: list[Changes] = [
    {"apiVersion": "v3.1.0"},
    {"status": "being discussed"},
    {"tenant": "shop", "domain": "sales", "dataProduct": "orders", "contractCreatedTs": "2024-01-01T00:00:00Z"},
    {"tags": ["sales"], "authoritativeDefinitions": [LINK | {"id": "terms", "description": "Terms."}]},
    {"customProperties": [OWN, {"property": "empty", "value": None, "description": "Nothing."}]},
    {"customProperties": [OWN | {"id": "colour", "vendor": "acme"}]},
    {"description": {"usage": "Daily.", "authoritativeDefinitions": [LINK], "customProperties": []}},
    {"description": {"purpose": "To know.", "history": ["made by hand"]}},
    {"team": {"name": "Sales", "description": "Sells.", "members": [MEMBER], "tags": ["a"]}},
    {"team": [MEMBER, {"username": "grace", "dateOut": "2025-01-01", "replacedByUsername": "ada"}]},
    {"roles": [{"role": "reader", "access": "read", "firstLevelApprovers": "ada", "secondLevelApprovers": "grace"}]},
    {"support": [{"channel": "#help", "url": "https://example.org", "tool": "slack", "scope": "issues"}]},
    {"support": [{"channel": "mail", "invitationUrl": "https://example.org/join", "customProperties": [OWN]}]},
    {"price": {"priceAmount": 9.95, "priceCurrency": "EUR", "priceUnit": "megabyte", "id": "price"}},
    {"price": {"priceAmount": 9}},
    {"slaDefaultElement": "orders.ordered_at"},
    {"slaProperties": [{"property": "latency", "value": 4, "unit": "d", "element": "orders.ordered_at"}]},
    {"slaProperties": [{"property": "retention", "value": 3, "unit": "y", "valueExt": None, "driver": "regulatory"}]},
    {"slaProperties": [{"property": "generalAvailability", "value": "2022-05-12T09:30:10-08:00", "id": "start"}]},
    {"slaProperties": [{"property": "frequency", "value": "daily", "scheduler": "cron", "schedule": "0 20 * * *"}]},
    {"slaProperties": [{"property": "support", "value": None, "description": "None yet."}]},
    {"slaProperties": [{"property": "freshness", "value": 30, "unit": "minutes"}]},
    {"slaProperties": [{"property": "freshness", "value": "soon"}]},
    {"slaProperties": [{"property": "latency", "value": True, "customProperties": [OWN]}]},
    {"context": "Orders of a shop."},
    {"context": {"instructions": "Sum.", "constraints": [{"constraint": "None."}]}},
    {"context": {"verifiedStatements": [{"question": "How many?", "answer": "Two."}]}, f"{DATA}.context": "One row."},
    server("postgres", host="db", port=5432, database="shop", schema="public"),
    server("postgres", host="db", port="${PORT}", database="shop", schema="public"),
    server("duckdb", database="shop.duckdb", environment="dev", description="Here.", roles=[{"role": "reader"}]),
    server("local", path="./data/*.parquet", format="parquet"),
    server("s3", location="s3://shop/orders/*.json", endpointUrl="https://s3.example.org", format="json"),
    server("snowflake", account="a", database="b", schema="c", warehouse="d"),
    server("kafka", host="broker", format="avro"),
    server("bigquery", project="p", dataset="d", customProperties=[OWN]),
    server("databricks", catalog="c", schema="s"),
    server("iceberg", catalog="c", catalogUrl="https://example.org", namespace="n"),
    server("custom", host="h", port=1, stream="s"),
    server("sftp", location="sftp://example.org/orders.csv", delimiter=","),
    {f"{DATA}.physicalName": "orders_v1", f"{DATA}.physicalType": "view", f"{DATA}.businessName": "Orders"},
    {f"{DATA}.dataGranularityDescription": "One per order.", f"{DATA}.tags": ["sales"], f"{DATA}.id": "orders"},
    {f"{DATA}.deprecated": False, f"{DATA}.synonyms": [{"synonym": "purchases", "locale": "en"}]},
    {f"{DATA}.relationships": [{"from": "orders.customer", "to": "customers.id", "type": "foreignKey"}]},
    {f"{DATA}.relationships": [{"from": ["orders.customer"], "to": ["customers.id"], "customProperties": [OWN]}]},
    {f"{COUNTRY}.relationships": [{"to": "countries.code"}]},
    {f"{COUNTRY}.relationships": [{"to": "other.yaml#schema/countries/properties/code", "type": "foreignKey"}]},
    {f"{COUNTRY}.partitioned": False, f"{COUNTRY}.partitionKeyPosition": -1},
    {f"{COUNTRY}.partitioned": True, f"{COUNTRY}.partitionKeyPosition": 1, f"{COUNTRY}.primaryKeyPosition": -1},
    {f"{COUNTRY}.criticalDataElement": True, f"{COUNTRY}.encryptedName": "country_x", f"{COUNTRY}.unique": False},
    {f"{COUNTRY}.transformSourceObjects": ["raw"], f"{COUNTRY}.transformLogic": "x"},
    {f"{COUNTRY}.transformDescription": "Upper case."},
    {f"{COUNTRY}.semanticType": "dimension", f"{COUNTRY}.physicalType": "VARCHAR(2)", f"{COUNTRY}.physicalName": "c"},
    {f"{COUNTRY}.enum": [{"value": "DE", "label": "Germany"}, {"value": "FR"}]},
    {f"{CUSTOMER}.enum": [{"value": 12}, {"value": None, "description": "Not known."}]},
    {f"{COUNTRY}.logicalTypeOptions": {"minLength": 2, "maxLength": 2, "pattern": "^[A-Z]+$", "format": "code"}},
    {f"{AMOUNT}.logicalTypeOptions": {"exclusiveMinimum": 0, "exclusiveMaximum": 1e6}},
    {f"{AMOUNT}.logicalTypeOptions": {"multipleOf": 0.01, "format": "f64"}},
    {f"{CUSTOMER}.logicalTypeOptions": {"format": "i64", "multipleOf": 1}},
    {f"{TIME}.logicalTypeOptions": {"minimum": "2020-01-01T00:00:00Z", "exclusiveMaximum": "2100-01-01"}},
    {f"{TIME}.logicalTypeOptions": {"maximum": "2100-01-01", "format": "yyyy-MM-dd"}},
    {f"{TIME}.logicalTypeOptions": {"timezone": False, "defaultTimezone": "Etc/UTC"}},
    {f"{AMOUNT}.examples": [12.5, None, "x"]},
    quality({"type": "text", "description": "The amount is in euros.", "dimension": "conformity"}),
    quality({"description": "Complete."}),
    quality({}),
    quality({"type": "custom", "engine": "soda", "implementation": "- row_count > 0"}),
    quality({"type": "custom", "engine": "greatExpectations", "implementation": {"type": "expect", "kwargs": {}}}),
    quality(RULE | {"mustBe": 0, "unit": "rows", "method": "reconciliation"}),
    quality(RULE | {"mustBe": 0, "schedule": "0 20 * * *", "scheduler": "cron"}),
    quality(RULE | {"mustNotBe": 5, "id": "five", "severity": "error", "businessImpact": "operational", "tags": ["a"]}),
    quality(RULE | {"mustNotBeBetween": [5, 9], "authoritativeDefinitions": [LINK], "customProperties": [OWN]}),
    quality(RULE | {"mustBeGreaterThan": 1}, RULE | {"mustBeLessOrEqualTo": 5}, RULE | {"mustBeLessThan": 5}),
    quality({"type": "sql", "query": "SELECT COUNT(*) FROM ${object} WHERE soundex(country) = 'D'", "mustBe": 0}),
    quality({"type": "sql", "query": "SELECT COUNT(*) FROM ${object} o JOIN x USING (id)", "mustBe": 0}),
    quality({"type": "sql", "query": "SELECT COUNT(*) FROM ${object} WHERE ordered_at < '2020-01-01'", "mustBe": 0}),
    quality(RULE | {"mustBe": "none"}),
    quality({"type": "library", "metric": "rowCount", "mustBeBetween": [10, 20], "unit": "rows"}),
    quality({"metric": "rowCount", "mustBeGreaterOrEqualTo": 10, "rule": "rowCount"}),
    quality({"metric": "duplicateValues", "mustBeLessThan": 1, "unit": "percent", "arguments": {"properties": ["a"]}}),
    quality({"metric": "nullValues", "mustBe": 0}, place=COUNTRY),
    quality({"metric": "missingValues", "mustBe": 0, "arguments": {"missingValues": [""]}}, place=COUNTRY),
    quality({"metric": "invalidValues", "arguments": {"validValues": ["DE"]}, "mustBeLessThan": 5}, place=COUNTRY),
    quality({"metric": "invalidValues", "arguments": {"pattern": "^[A-Z]{2}$"}, "mustBe": 0}, place=COUNTRY),
    quality({"metric": "invalidValues", "arguments": {"validValues": [1, 2]}, "mustBe": 0}, place=CUSTOMER),
    quality({"metric": "rowCount", "mustBeGreaterThan": 5}, place=COUNTRY),
]  # fmt: skip
REFUSED: list[tuple[Changes, str]] = [
    ({"apiVersion": "v9.0.0"}, "apiVersion: Input should be 'v3.1.0' or 'v3.2.0'"),
    ({"kind": "Contract"}, "kind: Input should be 'DataContract'"),
    ({"tenant": None}, "tenant has no value: give it one, or remove the key"),
    ({"tenant": 5}, "tenant: Input should be a valid string, found 5"),
    ({"description": "To know."}, "description: "),
    ({"owner": "ada"}, "owner: is not a known key here"),
    ({"tags": "sales"}, "tags: "),
    ({"authoritativeDefinitions": [{"url": "https://example.org"}]}, "authoritativeDefinitions.0.type: is missing"),
    ({"customProperties": [{"property": "colour"}]}, "customProperties.0.value: is missing"),
    ({"customProperties": {"colour": "red"}}, "customProperties: "),
    ({"team": {"members": [{"name": "Ada"}]}}, "username: is missing"),
    ({"team": {"colour": "red"}}, "colour: is not a known key here"),
    ({"roles": [{"access": "read"}]}, "roles.0.role: is missing"),
    ({"support": [{"url": "https://example.org"}]}, "support.0.channel: is missing"),
    ({"price": {"priceAmount": "free"}}, "price.priceAmount: "),
    ({"price": {"amount": 5}}, "price.amount: is not a known key here"),
    ({"slaProperties": [{"value": 5}]}, "slaProperties.0.property: is missing"),
    ({"slaProperties": [{"property": "latency", "value": [5]}]}, "slaProperties.0.value"),
    ({"context": {"instruction": "Sum."}}, "instruction: is not a known key here"),
    ({"apiVersion": "v3.1.0", "context": "Orders."}, "context needs version 3.2.0 of the standard"),
    ({"apiVersion": "v3.1.0", f"{COUNTRY}.enum": [{"value": "DE"}]}, "enum needs version 3.2.0 of the standard"),
    ({"servers": [{"server": "here"}]}, "servers.0.type: is missing"),
    (server("oracel", host="h"), "type must be one of api, athena, "),
    (server("postgres", host="db", database="shop"), "a server of the type postgres needs port, schema"),
    (server("duckdb", database="d", host="h"), "host is not a key of a server of the type duckdb"),
    (server("mysql", host="h", port=True, database="d"), "servers.0.port"),
    (server("sftp", location="https://example.org"), "the location must start with sftp://"),
    ({f"{DATA}.relationships": [{"to": "customers.id"}]}, "relationships.0.from: is missing"),
    ({f"{DATA}.relationships": [{"from": "orders.customer", "to": ["customers.id"]}]}, "two texts or two lists"),
    ({f"{COUNTRY}.relationships": [{"from": "orders.country", "to": "countries.code"}]}, "from: is not a known key"),
    ({f"{COUNTRY}.relationships": [{"to": "countries"}]}, "relationships.0.to"),
    ({f"{COUNTRY}.relationships": [{"to": "countries.code", "type": "oneToMany"}]}, "relationships.0.type"),
    ({f"{COUNTRY}.partitioned": "no"}, "partitioned: Input should be a valid boolean, found 'no'"),
    ({f"{COUNTRY}.items": {"logicalType": "string"}}, "items: is not a known key here"),
    ({f"{COUNTRY}.logicalTypeOptions": {"minimum": 2}}, "minimum does not apply to the type string"),
    ({f"{AMOUNT}.logicalTypeOptions": {"minLength": 2}}, "minLength does not apply to the type number"),
    ({f"{AMOUNT}.logicalTypeOptions": {"minimum": "2"}}, "minimum does not apply to the type number"),
    ({f"{AMOUNT}.logicalTypeOptions": {"exclusiveMinimum": "2"}}, "cannot be '2'"),
    ({f"{AMOUNT}.logicalTypeOptions": {"multipleOf": 0}}, "multipleOf: Input should be greater than 0"),
    ({f"{AMOUNT}.logicalTypeOptions": {"format": "i64"}}, "the format must be one of f32, f64, found 'i64'"),
    ({f"{TIME}.logicalTypeOptions": {"minimum": 2020}}, "minimum does not apply to the type timestamp"),
    ({f"{TIME}.logicalTypeOptions": {"earliest": "2020-01-01"}}, "earliest is not a known key here"),
    ({f"{COUNTRY}.enum": [{"label": "Germany"}]}, "enum.0.value: is missing"),
    ({f"{COUNTRY}.semanticType": "key"}, "semanticType"),
    (quality({"type": "text", "mustBe": 0}), "mustBe does not belong to this rule"),
    (quality({"type": "soda"}), "quality.0.type"),
    (quality({"type": "library", "mustBe": 0}), "a rule of the type library needs metric"),
    (quality({"metric": "freshness", "mustBe": 0}), "quality.0.metric"),
    (quality({"metric": "rowCount"}), "a rule needs exactly one bound, such as mustBe or mustBeBetween, found 0"),
    (quality(RULE | {"mustBeGreaterThan": 1, "mustBeLessThan": 9}), "exactly one bound"),
    (quality(RULE | {"mustBeLessThan": "9"}), "mustBeLessThan: Input should be a valid number, found '9'"),
    (quality(RULE | {"mustBeBetween": [1]}), "mustBeBetween"),
    (quality(RULE | {"mustBeBetween": [1, 1]}), "need their lower bound first"),
    (quality({"type": "sql", "mustBe": 0}), "a rule of the type sql needs query"),
    (quality({"type": "custom", "engine": "soda"}), "a rule of the type custom needs implementation"),
    (quality({"metric": "rowCount", "query": "SELECT 1", "mustBe": 0}), "query does not belong to this rule"),
    (quality(RULE | {"mustBe": 0, "dimension": "beauty"}), "quality.0.dimension"),
    (quality(RULE | {"mustBe": 0, "severity": 3}), "quality.0.severity"),
    (quality(RULE | {"mustBe": 0, "id": "a rule"}), "quality.0.id"),
]  # fmt: skip
# The standard allows these, and Groundwork does not: docs/reference/documents.md says which and why.
OURS: list[tuple[Changes, str]] = [
    ({"apiVersion": "v3.0.2"}, "apiVersion: Input should be 'v3.1.0' or 'v3.2.0'"),
    ({"version": "1"}, "version: String should match pattern"),
    ({"schema": [BASE["schema"][0], BASE["schema"][0] | {"name": "b"}]}, "schema: Tuple should have at most 1 item"),
    ({f"{DATA}.logicalType": "blob"}, "logicalType: Input should be 'object'"),
    ({f"{DATA}.name": "Orders"}, "name: String should match pattern"),
    ({f"{COUNTRY}.name": "Country code"}, "name: String should match pattern"),
    ({f"{COUNTRY}.logicalType": "date"}, "logicalType: Input should be 'string', 'integer', 'number'"),
    ({f"{COUNTRY}.examples": []}, "examples: Tuple should have at least 1 item"),
    ({f"{COUNTRY}.description": ...}, "description: is missing"),
    (quality(RULE | {"query": "SELECT SUM(amuont) FROM ${object}", "mustBe": 0}), "no column amuont"),
    (quality({"type": "sql", "query": "how many?", "mustBe": 0}), "the query is not SQL"),
    (quality(RULE | {"mustBeBetween": [9, 1]}), "need their lower bound first"),
]  # fmt: skip


def changed(changes: Changes) -> dict[str, Any]:
    """The contract of orders with these values at these dotted paths; `...` takes a key away."""
    content = copy.deepcopy(BASE)
    for path, value in changes.items():
        part: Any = content
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        for step in steps:
            part = part[step]
        if value is ...:
            del part[last]
        else:
            part[last] = copy.deepcopy(value)
    return content


def read(changes: Changes) -> Contract:
    return Contract.parse(yaml.safe_dump(changed(changes), sort_keys=False), "contract.yaml")


@pytest.mark.parametrize("changes", ALLOWED, ids=str)
def test_what_the_standard_allows_is_read(changes: Changes) -> None:
    assert read(changes).dataset.name == "orders"


@pytest.mark.parametrize(("changes", "message"), [*REFUSED, *OURS], ids=str)
def test_a_mistake_is_refused_with_its_place(changes: Changes, message: str) -> None:
    with pytest.raises(DocumentError) as refused:
        read(changes)
    assert message in str(refused.value)


@pytest.mark.slow
def test_the_standards_own_schema_judges_alike() -> None:
    """By the JSON Schemas of versions 3.1.0 and 3.2.0 that datacontract-cli brings."""
    jsonschema = pytest.importorskip("jsonschema")
    folder = installed("datacontract-cli==1.2.8") / "datacontract/schemas"
    validators = {
        f"v{version}": jsonschema.Draft201909Validator(json.loads((folder / f"odcs-{version}.schema.json").read_text()))
        for version in ("3.1.0", "3.2.0")
    }
    wrong = []
    cases = (
        [(each, True) for each in ALLOWED] + [(each, False) for each, _ in REFUSED] + [(each, True) for each, _ in OURS]
    )
    for changes, expected in cases:
        content = changed(changes)
        validator = validators.get(content["apiVersion"], validators["v3.1.0"])
        if validator.is_valid(content) != expected:
            wrong.append((changes, [error.message[:200] for error in validator.iter_errors(content)]))
    assert wrong == []
