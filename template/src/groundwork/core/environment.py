"""Sets environment variables of the libraries, before they are imported.

The libraries then keep their files in the pilot's folder, log little, and send no telemetry.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # `groundwork` imports this module first; it must cost nothing
    from groundwork.core.settings import Settings

# Evidently, Prefect's client and Hugging Face's libraries read DO_NOT_TRACK; MLflow accepts only the value `true`. The
# Prefect server, and ONNX Runtime, which sends by default, read only their own variables.
QUIET = {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "ORT_DISABLE_TELEMETRY": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
}


def silence() -> None:
    """Set the variables in QUIET, whatever they were set to. Importing `groundwork` does so, in every process."""
    os.environ.update(QUIET)


def prepare(settings: Settings) -> None:
    """Create the data folder and set the libraries' other variables; variables that are set already are kept."""
    settings.data_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Records, logs and the signing key lie in it, and the libraries write their files for everybody to read. A group
    # that may write has been let in on purpose.
    mode = settings.data_folder.stat().st_mode
    with suppress(PermissionError):  # another user's folder, such as a container's volume
        settings.data_folder.chmod(mode & (~0o007 if mode & 0o020 else ~0o077))
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
