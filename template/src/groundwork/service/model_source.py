"""The source of the service's models: an MLflow server, or a registry that only MLflow itself can read."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from groundwork.core.errors import BundleError
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.bundles import CHALLENGER, CHAMPION, BundleCache, SignedBundle
from groundwork.service.mlflow_client import TrackingServer
from groundwork.store.promotion_log import Promotion


class Source(Protocol):
    """A registry. Each request ends within the setting `registry_timeout_seconds`."""

    ahead: float | None  # seconds by which this machine's clock was ahead of the registry's; None if that has none

    def glance(self) -> object:
        """Return a value that changes when an alias changes and is cheap to read; None if there is no such value."""

    def promotion(self) -> Promotion | None:
        """Return the entry of the promotion log beside the champion, which need not be genuine; None without one."""

    def bundles(self, number: str, sha256: str) -> Iterator[SignedBundle | None]:
        """Yield the bundle of the champion, the version with this number and digest, then the challenger's or None.

        Each is fetched when it is requested. Raises BundleError if it cannot be.
        """

    def stop(self) -> None:
        """End a running request."""


def source_of(pilot: Pilot) -> Source:
    """Return the registry of the pilot's tracking URI."""
    is_server = pilot.settings.tracking_uri.startswith(("http://", "https://"))
    return TrackingServer(pilot) if is_server else OtherRegistry(pilot)


class OtherRegistry:
    """A registry in a SQLite file, or another one that only MLflow can read; each request runs in a child process."""

    def __init__(self, pilot: Pilot) -> None:
        self.ahead: float | None = None
        self._uri = pilot.settings.tracking_uri
        self._seconds = pilot.settings.registry_timeout_seconds
        self._cache = BundleCache(pilot)
        self._child: subprocess.Popen[str] | None = None

    def glance(self) -> object:
        """Return the modification times of the SQLite files; None for other registries."""
        if not self._uri.startswith("sqlite:///"):
            return None
        database = Path(self._uri.removeprefix("sqlite:///"))
        files = (database, database.with_name(database.name + "-wal"))
        return [file.stat().st_mtime_ns for file in files if file.exists()]

    def promotion(self) -> Promotion | None:
        """Return None: a registry in a file belongs to a pilot whose store has the promotion log."""
        return None

    def bundles(self, number: str, sha256: str) -> Iterator[SignedBundle | None]:
        """Yield the champion's bundle, then the challenger's or None. Raises BundleError."""
        if importlib.util.find_spec("mlflow") is None:
            raise BundleError(
                "set MLFLOW_TRACKING_URI to an MLflow server, http:// or https://; a registry at "
                f"{self._uri.partition(':')[0]}: requires MLflow, which is not installed here"
            )
        found = json.loads(self.look_up(number, sha256).splitlines()[-1])
        yield self._cache.checked(number, sha256, found[CHAMPION]["folder"])
        if found["trouble"]:
            raise BundleError(found["trouble"])
        yield self._cache.checked(**found[CHALLENGER]) if found[CHALLENGER] else None

    def stop(self) -> None:
        """End the child process, if it runs."""
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def look_up(self, number: str, sha256: str) -> str:
        """Return the output of the child process: its last line is JSON, the bundles of champion and challenger.

        Raises BundleError if it fails or takes too long.
        """
        self._child = subprocess.Popen(
            [sys.executable, "-m", "groundwork.models.registry.registry", number, sha256],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said, complaint = self._child.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            raise BundleError(f"the registry did not answer within {self._seconds:g} s") from None
        if self._child.returncode != 0:
            lines = complaint.strip().splitlines() or [f"exit code {self._child.returncode}"]
            raise BundleError(f"the champion cannot be fetched: {lines[-1]}")
        return said
