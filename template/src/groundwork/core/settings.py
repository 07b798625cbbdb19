"""Every environment variable that the system reads, in one place."""

import os
from pathlib import Path
from typing import Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)
from pydantic.fields import FieldInfo

from groundwork.core.errors import DocumentError, SettingsError

PREFIX = "GROUNDWORK_"


def _find_home() -> Path:
    """The nearest folder upwards that holds a charter."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "charter.yaml").is_file():
            return folder
    raise DocumentError(
        f"charter.yaml: not found in {here} or above it; run this inside the pilot's folder or set GROUNDWORK_HOME"
    )


class Settings(BaseModel):
    """Read from the environment; the defaults run everything on one laptop, with nothing to install.

    A field's variable is its alias, or its name in capitals after GROUNDWORK_. (pydantic-settings reads them as well,
    and takes longer to import than everything else that `groundwork check` needs of pydantic.)
    """

    model_config = ConfigDict(frozen=True, validate_by_name=True)

    def __init__(self, **given: object) -> None:
        """Take what is given, and the environment for the rest. Raises SettingsError, which names the variables."""
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
    data: Path = Field(default=Path("data"), description="Everything that is written, relative to home.")
    source_url: str = Field(default="", description="The operational system, as an Ibis URL; Spark: SPARK_CONF_DIR.")
    snapshots_url: str = Field(
        default="",
        description="s3://BUCKET/PREFIX, or another address that deltalake speaks to, with the variables that it "
        "reads: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, AWS_ALLOW_HTTP.",
    )
    dask_scheduler: str = Field(default="", description="tcp://HOST:PORT, for batch scoring; without one, in process.")
    mlflow_tracking_uri: str = Field(default="", validation_alias="MLFLOW_TRACKING_URI")
    mlflow_tracking_username: str = Field(default="", validation_alias="MLFLOW_TRACKING_USERNAME")
    mlflow_tracking_password: str = Field(default="", validation_alias="MLFLOW_TRACKING_PASSWORD", repr=False)
    mlflow_tracking_token: str = Field(default="", validation_alias="MLFLOW_TRACKING_TOKEN", repr=False)
    mlflow_tracking_server_cert_path: str = Field(default="", validation_alias="MLFLOW_TRACKING_SERVER_CERT_PATH")
    signing_key: str = Field(default="", description="The PEM file of the key that signs models.")
    trusted_keys: str = Field(default="", description="Public keys of those who sign models, separated by commas.")
    host: str = "127.0.0.1"
    port: PositiveInt = 8000
    workers: PositiveInt = Field(
        default=1, validation_alias="WEB_CONCURRENCY", description="Processes that answer on the one port."
    )
    api_keys: str = Field(default="", description="Hashed keys: name:scope+scope:sha256, separated by commas.")
    git_commit: str = Field(default="", description="What a model was trained from, where there is no git to be asked.")
    serve_mode: Literal["model", "no-model"] = Field(default="model", validation_alias="SERVE_MODE")
    otlp_endpoint: str = Field(
        default="",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
        description="A collector for traces.",
    )
    acknowledge: Literal["logged", "answered"] = Field(
        default="logged", description="Answer once the prediction log has committed, or before (best effort)."
    )
    canary_share: float = Field(default=0, ge=0, le=1, description="Share of the entities the challenger answers.")
    max_batch_records: PositiveInt = Field(default=2000, description="Records in one model call.")
    batch_linger_seconds: NonNegativeFloat = Field(default=0.001, description="Wait for company, under load only.")
    max_waiting: PositiveInt = Field(default=256, description="Requests without an answer; more get 503.")
    deadline_seconds: PositiveFloat = Field(default=5, description="For one answer.")
    hung_seconds: PositiveFloat = Field(default=60, description="One batch that takes longer: the process is not live.")
    client_seconds: PositiveFloat = Field(default=5, description="For a client to send its request.")
    # Two seconds less than Docker leaves between `docker stop` and the kill.
    grace_seconds: PositiveInt = Field(default=8, description="For requests in flight once it is told to end.")
    max_records: PositiveInt = Field(default=1000, description="Records in one request.")
    max_body_bytes: PositiveInt = Field(default=1_000_000, description="Size of one request.")
    registry_timeout_seconds: PositiveFloat = Field(default=60, description="For fetching a model.")
    registry_retry_seconds: PositiveFloat = Field(default=10, description="Between two attempts.")
    registry_poll_seconds: PositiveFloat = Field(default=15, description="Between two looks at the aliases.")
    prefect_api_url: str = Field(
        default="", validation_alias="PREFECT_API_URL", description="Linked from the page at /."
    )
    prefect_port: PositiveInt = Field(
        default=4200, validation_alias="PREFECT_SERVER_API_PORT", description="Where a worker shows Prefect's pages."
    )
    prefect_flow_run: str = Field(
        default="", validation_alias="PREFECT__FLOW_RUN_ID", description="Set by a worker for the run that it starts."
    )
    dashboards_url: str = Field(default="", description="Linked from the page at /, such as Grafana.")
    prometheus_url: str = Field(default="", description="Where criteria that are PromQL are asked.")
    store_url: str = Field(default="", description="sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME.")

    erasure_key: str = Field(
        default="", repr=False, description="The key of the hashes by which erased subjects are kept out."
    )

    @field_validator("home")
    @classmethod
    def _is_a_pilot(cls, home: Path) -> Path:
        if not (home / "charter.yaml").is_file():
            raise ValueError(f"there is no charter.yaml in {home}")
        return home.resolve()

    @property
    def on_schedule(self) -> bool:
        """Whether a worker started this process, and not a person."""
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
    """The environment variables of a field; the last one that is set wins."""
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in reversed(alias.choices)]
    return [alias if isinstance(alias, str) else f"{PREFIX}{name.upper()}"]
