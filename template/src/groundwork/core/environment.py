"""Sets environment variables of the libraries, before they are imported.

The libraries then keep their files in the pilot's folder, log little, and send no telemetry.
"""

import os

from groundwork.core.settings import Settings

# MLflow accepts only the value `true`, and the Prefect server only its own variable.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def prepare(settings: Settings) -> None:
    """Create the data folder and set the libraries' variables; set variables are kept, except those in QUIET."""
    settings.data_folder.mkdir(parents=True, exist_ok=True)
    os.environ.update(QUIET)
    for name, value in {
        "MLFLOW_TRACKING_URI": settings.tracking_uri,
        "PREFECT_HOME": str(settings.data_folder / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",  # the caller prints the flow's result once
        "OMP_WAIT_POLICY": "passive",  # threads that spin while waiting stall on a busy machine
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default of 7 waits four minutes for a server that is down
    }.items():
        os.environ.setdefault(name, value)
