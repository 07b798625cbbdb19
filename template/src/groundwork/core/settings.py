"""The settings: every environment variable that the system reads."""

import os
from pathlib import Path
from typing import Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo

from groundwork.core.errors import DocumentError, SettingsError

PREFIX = "GROUNDWORK_"


def _find_home() -> Path:
    """Returns the nearest folder with a charter.yaml, from the current folder upwards."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "charter.yaml").is_file():
            return folder
    raise DocumentError(
        f"charter.yaml: not found in {here} or a parent folder; run this in the pilot's folder or set GROUNDWORK_HOME"
    )


class Settings(BaseModel):
    """The settings, read from the environment; the defaults run everything on one laptop, without servers.

    A field's variable is its alias, or GROUNDWORK_ and its name in capitals. pydantic-settings is not used, because its
    import takes longer than all other pydantic imports of `groundwork check` together.
    """

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    def __init__(self, **given: object) -> None:
        """Use the given values, and the environment for all other fields.

        Raises SettingsError, with one line per invalid variable.
        """
        variables = {name: _variables(name, field) for name, field in type(self).model_fields.items()}
        found = {name: os.environ[each] for name, names in variables.items() for each in names if each in os.environ}
        try:
            super().__init__(**(found | given))
        except ValidationError as error:
            raise SettingsError(
                "\n".join(
                    f"{variables[str(mistake['loc'][0])][0]}: {mistake['msg'].removeprefix('Value error, ')}, "
                    f"found {mistake['input']!r}"
                    for mistake in error.errors()
                )
            ) from None

    home: Path = Field(default_factory=_find_home, description="The pilot's folder.")
    data: Path = Field(default=Path("data"), description="Folder for all written files, relative to home.")
    source_url: str = Field(
        default="", description="Ibis URL of the operational system; Spark also needs SPARK_CONF_DIR."
    )
    snapshots_url: str = Field(
        default="",
        description="s3://BUCKET/PREFIX, or another address that deltalake supports. deltalake reads the variables "
        "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP.",
    )
    dask_scheduler: str = Field(
        default="",
        description="tcp://HOST:PORT of a Dask scheduler for batch scoring; if empty, score in this process.",
    )
    mlflow_tracking_uri: str = Field(default="", validation_alias="MLFLOW_TRACKING_URI")
    mlflow_tracking_username: str = Field(default="", validation_alias="MLFLOW_TRACKING_USERNAME")
    mlflow_tracking_password: str = Field(default="", validation_alias="MLFLOW_TRACKING_PASSWORD", repr=False)
    mlflow_tracking_token: str = Field(default="", validation_alias="MLFLOW_TRACKING_TOKEN", repr=False)
    mlflow_tracking_server_cert_path: str = Field(default="", validation_alias="MLFLOW_TRACKING_SERVER_CERT_PATH")
    signing_key: str = Field(default="", description="PEM file of the private key that signs models.")
    signing_command: str = Field(
        default="",
        description="Command that signs instead: reads bytes on standard input, prints their signature in base64.",
    )
    trusted_keys: str = Field(
        default="",
        description="Public keys whose signatures are accepted, separated by commas; some may end in ` until DATE`.",
    )
    host: str = "127.0.0.1"
    port: PositiveInt = 8000
    workers: PositiveInt = Field(
        default=1, validation_alias="WEB_CONCURRENCY", description="Number of service processes on the one port."
    )
    api_keys: str = Field(default="", description="Hashed API keys, name:scope+scope:sha256, separated by commas.")
    requests_per_second: NonNegativeInt = Field(
        default=0, description="Requests of one API key in one second, in each process; 0 for any number."
    )
    git_commit: str = Field(default="", description="Commit of the code that trains, where git is not available.")
    serve_mode: Literal["model", "no-model"] = Field(default="model", validation_alias="SERVE_MODE")
    otlp_endpoint: str = Field(
        default="",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        description="OpenTelemetry collector for traces.",
    )
    acknowledge: Literal["logged", "answered"] = Field(
        default="logged", description="When to answer: after the prediction log has committed, or before (best effort)."
    )
    canary_share: float = Field(default=0, ge=0, le=1, description="Share of entities that the challenger answers.")
    max_batch_records: PositiveInt = Field(default=2000, description="Maximum number of records in one model call.")
    batch_linger_seconds: NonNegativeFloat = Field(
        default=0.001, description="Seconds to wait for more requests; only if the last batch had several."
    )
    max_waiting: PositiveInt = Field(
        default=256, description="Maximum number of unanswered requests; further requests get status 503."
    )
    deadline_seconds: PositiveFloat = Field(default=5, description="Seconds in which a request must be answered.")
    hung_seconds: PositiveFloat = Field(
        default=60, description="Seconds after which a batch counts as hung, and the process as not live."
    )
    client_seconds: PositiveFloat = Field(default=5, description="Seconds in which a client must send its request.")
    # Two seconds less than Docker waits between `docker stop` and the kill.
    grace_seconds: PositiveInt = Field(
        default=8, description="Seconds to answer requests in flight, or to end runs, after a stop signal."
    )
    max_records: PositiveInt = Field(default=1000, description="Maximum number of records in one request.")
    max_body_bytes: PositiveInt = Field(default=1_000_000, description="Maximum size of one request, in bytes.")
    registry_timeout_seconds: PositiveFloat = Field(default=60, description="Seconds to fetch a model.")
    registry_retry_seconds: PositiveFloat = Field(default=10, description="Seconds between two attempts to fetch.")
    registry_poll_seconds: PositiveFloat = Field(default=15, description="Seconds between two reads of the aliases.")
    prefect_api_url: str = Field(
        default="",
        validation_alias="PREFECT_API_URL",
        description="API of a Prefect server; linked from the page at /.",
    )
    prefect_port: PositiveInt = Field(
        default=4200, validation_alias="PREFECT_SERVER_API_PORT", description="Port of the Prefect server of a worker."
    )
    prefect_flow_run: str = Field(
        default="",
        validation_alias="PREFECT__FLOW_RUN_ID",
        description="Id of the flow run, set by Prefect in each run.",
    )
    dashboards_url: str = Field(default="", description="Dashboards, such as Grafana; linked from the page at /.")
    prometheus_url: str = Field(default="", description="Prometheus server for criteria measured in PromQL.")
    store_url: str = Field(default="", description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.")

    erasure_key: str = Field(default="", repr=False, description="Secret key for the hashes of erased subjects.")

    @field_validator("home")
    @classmethod
    def _is_a_pilot(cls, home: Path) -> Path:
        if not (home / "charter.yaml").is_file():
            raise ValueError(f"there is no charter.yaml in {home}")
        return home.resolve()

    @property
    def on_schedule(self) -> bool:
        """Whether Prefect started this process on a schedule, and not a person at a terminal."""
        return bool(self.prefect_flow_run)

    @property
    def data_folder(self) -> Path:
        return self.home / self.data

    @property
    def source(self) -> str:
        return self.source_url or f"duckdb://{self.data_folder / 'operational.duckdb'}"

    @property
    def store(self) -> str:
        return self.store_url or f"sqlite:///{self.data_folder / 'groundwork.db'}"

    @property
    def reports(self) -> Path:
        return self.data_folder / "reports"

    @property
    def champion_cache(self) -> Path:
        return self.data_folder / "champion"

    @property
    def signing_key_file(self) -> Path:
        return Path(self.signing_key) if self.signing_key else self.data_folder / "signing-key.pem"

    @property
    def tracking_uri(self) -> str:
        return self.mlflow_tracking_uri or f"sqlite:///{self.data_folder / 'mlflow.db'}"


def _variables(name: str, field: FieldInfo) -> list[str]:
    """Returns the environment variables of a field; if several are set, the last one applies."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in reversed(alias.choices)]
    return [alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"]
