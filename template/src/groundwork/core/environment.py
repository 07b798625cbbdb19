"""What the libraries are told through the environment, before they are imported.

They keep their files in the pilot's folder, say little, and send nothing to their makers.
"""

import os

from groundwork.core.settings import Settings

# MLflow takes only the word `true`, Prefect's server only its own variable, Evidently anything.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def prepare(settings: Settings) -> None:
    """Set the variables of every library; those that are set already, but for QUIET, stay as they are."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(QUIET)
    for name, value in {
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "PREFECT_HOME": str(settings.data_folder / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the caller prints once how a flow ended
        "OMP_WAIT_POLICY": "passive",  # threads that spin while they wait stall on a busy machine
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default of seven waits four minutes for a server that is down
    }.items():
        os.environ.setdefault(name, value)
