"""What a contract says of itself, its people and its servers: held against the standard, and left alone."""

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from groundwork.documents.contract.standard import (
    Context,
    CustomProperties,
    Definitions,
    Identifier,
    Labelled,
    StandardPart,
    Texts,
)


class About(StandardPart):
    """What the contract is for."""

    model_config = ConfigDict(extra="allow")
    reads = "purpose usage limitations"

    purpose: str | None = None
    usage: str | None = None
    limitations: str | None = None
    authoritative_definitions: Definitions = ()
    custom_properties: CustomProperties = ()


class Role(StandardPart):
    id: Identifier | None = None
    role: str
    description: str | None = None
    access: str | None = None
    first_level_approvers: str | None = None
    second_level_approvers: str | None = None
    custom_properties: CustomProperties = ()


class TeamMember(Labelled):
    username: str
    name: str | None = None
    description: str | None = None
    role: str | None = None
    date_in: str | None = None
    date_out: str | None = None
    replaced_by_username: str | None = None


class Team(Labelled):
    name: str | None = None
    description: str | None = None
    members: tuple[TeamMember, ...] = Field(default=(), strict=False)


class Channel(StandardPart):
    """Where people ask for help (`support`)."""

    id: Identifier | None = None
    channel: str
    url: str | None = None
    description: str | None = None
    tool: str | None = None
    scope: str | None = None
    invitation_url: str | None = None
    custom_properties: CustomProperties = ()


class Price(StandardPart):
    id: Identifier | None = None
    price_amount: float | None = None
    price_currency: str | None = None
    price_unit: str | None = None


class DataServer(StandardPart):
    """Where the data is, for other tools: Groundwork reads it where `use_case/source.py` and the settings say."""

    id: Identifier | None = None
    server: str
    type: str
    description: str | None = None
    environment: str | None = None
    roles: tuple[Role, ...] = Field(default=(), strict=False)
    custom_properties: CustomProperties = ()
    account: str | None = None
    catalog: str | None = None
    catalog_url: str | None = None
    database: str | None = None
    dataset: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    endpoint_url: str | None = None
    format: str | None = None
    host: str | None = None
    location: str | None = None
    namespace: str | None = None
    path: str | None = None
    port: int | str | None = None
    project: str | None = None
    region: str | None = None
    region_name: str | None = None
    schema_: str | None = Field(default=None, alias="schema")
    service_name: str | None = None
    staging_dir: str | None = None
    stream: str | None = None
    warehouse: str | None = None
    workgroup: str | None = None

    @model_validator(mode="after")
    def _has_the_keys_of_its_type(self) -> Self:
        if self.type not in _SERVERS:
            raise ValueError(f"type must be one of {', '.join(sorted(_SERVERS))}, found {self.type!r}")
        needed, optional = (set(keys.split()) for keys in _SERVERS[self.type])
        fields = type(self).model_fields
        given = {str(fields[name].alias) for name in self.model_fields_set} - _OF_ALL_SERVERS
        if missing := sorted(needed - given):
            raise ValueError(f"a server of the type {self.type} needs {', '.join(missing)}")
        if stray := sorted(given - needed - optional):
            raise ValueError(f"{', '.join(stray)} is not a key of a server of the type {self.type}")
        if self.type == "sftp" and not str(self.location).startswith("sftp://"):
            raise ValueError(f"the location must start with sftp://, found {self.location!r}")
        return self


_OF_ALL_SERVERS = {"id", "server", "type", "description", "environment", "roles", "customProperties"}
_ANY = (
    "account catalog database dataset delimiter endpointUrl format encoding host location path port project region "
    "regionName schema serviceName stagingDir warehouse stream"
)
_SERVERS = {  # the keys that a type needs, and those that it may have
    "api": ("location", ""),
    "athena": ("schema", "stagingDir catalog regionName workgroup"),
    "azure": ("location format", "encoding delimiter"),
    "bigquery": ("project dataset", ""),
    "custom": ("", _ANY),
    "databricks": ("catalog schema", "host"),
    "db2": ("host port database", "schema"),
    "denodo": ("host port", "database"),
    "dremio": ("host port", "schema"),
    "duckdb": ("database", "schema"),
    "exasol": ("host", "port schema"),
    "glue": ("account database", "location format encoding"),
    "hana": ("host", "port database schema"),
    "iceberg": ("catalog catalogUrl", "namespace warehouse"),
    "kafka": ("host", "format encoding"),
    "kinesis": ("", "region format encoding"),
    "local": ("path format", "encoding"),
    "oracle": ("host port serviceName", ""),
    "presto": ("host", "catalog schema"),
    "pubsub": ("project", ""),
    "redshift": ("database schema", "host region account"),
    "s3": ("location", "endpointUrl format encoding delimiter"),
    "sftp": ("location", "format encoding delimiter"),
    "snowflake": ("account database schema", "host port warehouse"),
    "sqlserver": ("host database schema", "port"),
    "teradata": ("host", "port database"),
    "trino": ("host port catalog schema", ""),
    **dict.fromkeys(("clickhouse", "mysql", "synapse"), ("host port database", "")),
    **dict.fromkeys(("cloudsql", "postgres", "postgresql", "vertica"), ("host port database schema", "")),
    **dict.fromkeys(("btrieve", "hive", "impala", "informix", "zen"), ("host database", "port")),
    **dict.fromkeys(("ingres", "vectorwise"), ("host database", "port")),
    **dict.fromkeys(("fastobjects", "poet", "versant"), ("database", "host port")),
}


class Fundamentals(StandardPart):
    """The keys of a whole contract that carry no rule."""

    newer = frozenset({"context"})

    name: str | None = None
    description: About = Field(default_factory=About)
    status: str = "active"
    tenant: str | None = None
    domain: str | None = None
    data_product: str | None = None
    contract_created_ts: str | None = None
    tags: Texts = ()
    servers: tuple[DataServer, ...] = Field(default=(), strict=False)
    team: Team | Annotated[tuple[TeamMember, ...], Field(strict=False)] | None = None
    roles: tuple[Role, ...] = Field(default=(), strict=False)
    support: tuple[Channel, ...] = Field(default=(), strict=False)
    price: Price | None = None
    sla_default_element: str | None = None
    context: str | Context | None = None
    authoritative_definitions: Definitions = ()
    custom_properties: CustomProperties = ()
