"""Where the service's models come from: an MLflow server, or a registry that only MLflow itself can read."""

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


class Source(Protocol):
    """A registry. Whatever is asked of it ends within the settings' registry_timeout_seconds."""

    def glance(self) -> object:
        """Something cheap that changes when an alias does; None if only a full look can tell."""

    def bundles(self) -> Iterator[SignedBundle | None]:
        """The champion's bundle, then the challenger's or None, each fetched when it is asked for.

        Raises BundleError, at first also if there is no champion.
        """

    def stop(self) -> None:
        """End what is under way."""


def source_of(pilot: Pilot) -> Source:
    """The registry of these pilot."""
    is_server = pilot.settings.tracking_uri.startswith(("http://", "https://"))
    return TrackingServer(pilot) if is_server else OtherRegistry(pilot)


class OtherRegistry:
    """A registry in a SQLite file, or another for which MLflow knows the way: asked in a child process, which ends."""

    def __init__(self, pilot: Pilot) -> None:
        self._uri = pilot.settings.tracking_uri
        self._seconds = pilot.settings.registry_timeout_seconds
        self._cache = BundleCache(pilot)
        self._child: subprocess.Popen[str] | None = None

    def glance(self) -> object:
        if not self._uri.startswith("sqlite:///"):
            return None
        database = Path(self._uri.removeprefix("sqlite:///"))
        files = (database, database.with_name(database.name + "-wal"))
        return [file.stat().st_mtime_ns for file in files if file.exists()]

    def bundles(self) -> Iterator[SignedBundle | None]:
        if importlib.util.find_spec("mlflow") is None:
            raise BundleError(
                "set MLFLOW_TRACKING_URI to an MLflow server, http:// or https://; for "
                f"{self._uri.partition(':')[0]}: MLflow itself is needed, which is not installed here"
            )
        found = json.loads(self.look_up().splitlines()[-1])
        yield self._cache.checked(**found[CHAMPION])
        if found["trouble"]:
            raise BundleError(found["trouble"])
        yield self._cache.checked(**found[CHALLENGER]) if found[CHALLENGER] else None

    def stop(self) -> None:
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def look_up(self) -> str:
        """What the child process prints: the bundles of champion and challenger, fetched, as JSON in its last line."""
        self._child = subprocess.Popen(
            [sys.executable, "-m", "groundwork.models.registry.registry"],
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
