"""Keeps the champion: fetched by alias in a child process, so that a slow or dead registry blocks no request."""

import json
import logging
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from groundwork.errors import BundleError
from groundwork.predictor import Predictor
from groundwork.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """The version that serves."""

    version: str
    predictor: Predictor


class ChampionLoader(threading.Thread):
    """Tries until a champion is loaded; `champion` is None and `problem` says why as long as there is none."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(name="champion-loader", daemon=True)
        self.champion: Champion | None = None
        self.problem = "the champion is being fetched from the registry"
        self._settings = settings
        self._stop = threading.Event()
        self._child: subprocess.Popen[str] | None = None

    def run(self) -> None:
        while self.champion is None and not self._stop.is_set():
            try:
                self.champion = self._fetch()
                log.info("champion loaded", extra={"model_version": self.champion.version})
            except Exception as error:  # whatever it is, the service stays live, says so, and tries again
                self.problem = str(error)
                log.error("champion not loaded", extra={"problem": self.problem})
                self._stop.wait(self._settings.registry_retry_seconds)

    def stop(self) -> None:
        self._stop.set()
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _fetch(self) -> Champion:
        timeout = self._settings.registry_timeout_seconds
        features = self._settings.contract.dataset.feature_names
        self._child = subprocess.Popen(
            [sys.executable, "-m", "groundwork.registry", "pull"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said, complaint = self._child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.communicate()
            raise BundleError(f"the registry did not answer within {timeout:g} s") from None
        if self._child.returncode != 0:
            lines = complaint.strip().splitlines() or [f"exit code {self._child.returncode}"]
            raise BundleError(f"the champion cannot be fetched: {lines[-1]}")
        found = json.loads(said.splitlines()[-1])
        return Champion(found["version"], Predictor(Path(found["folder"]), found["sha256"], features))
