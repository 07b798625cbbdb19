"""Keeps the models that serve: fetched by alias in a child process, verified, then swapped in whole.

A dead, slow or lying registry blocks no request: the model that serves stays until a better one has been loaded and
checked. The last good champion is remembered on disk, so that the service starts from it when the registry is down.
"""

import gc
import json
import logging
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundwork.errors import BundleError
from groundwork.predictor import Predictor, remember, remembered
from groundwork.service.metrics import Metrics
from groundwork.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A version that is loaded and checked."""

    version: str
    sha256: str
    predictor: Predictor


class ModelLoader(threading.Thread):
    """Watches the aliases. `champion` is None, and `problem` says why, as long as nothing can be served."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        super().__init__(name="model-loader", daemon=True)
        self.champion: Champion | None = None
        self.challenger: Champion | None = None
        self.problem = "the champion is being fetched from the registry"
        self.source = "none"
        self._settings = settings
        self._metrics = metrics
        self._features = settings.contract.dataset.feature_names
        self._seen: object = None
        self._stopped = threading.Event()
        self._child: subprocess.Popen[str] | None = None

    def run(self) -> None:
        self._load_last_good()
        while not self._stopped.is_set():
            try:
                self._refresh()
            except Exception as error:  # whatever it is, what serves goes on serving
                self._metrics.model_refresh_failures.inc()
                self.problem = str(error)
                log.error("models not refreshed", extra={"problem": self.problem})
            ready = self.champion is not None
            self._stopped.wait(self._settings.registry_poll_seconds if ready else self._settings.registry_retry_seconds)

    def stop(self) -> None:
        self._stopped.set()
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _refresh(self) -> None:
        """Load what the aliases point to, if that changed.

        A bad champion changes nothing; a bad challenger is left out.
        """
        seen = self._glance()
        if seen is not None and seen == self._seen:
            return
        found = self._pull()
        champion = self._loaded(found["champion"], self.champion)
        challenger, trouble = None, None
        if found["challenger"]:
            try:
                challenger = self._loaded(found["challenger"], self.challenger)
            except BundleError as error:
                trouble = error
        if champion is not self.champion:
            log.info("champion loaded", extra={"model_version": champion.version})
            remember(self._settings.champion_cache, found["champion"])
        self.champion, self.challenger, self.source, self.problem = champion, challenger, "registry", ""
        self._tell()
        self._seen = seen
        _freeze()
        if trouble:
            raise trouble

    def _loaded(self, found: dict[str, str], present: Champion | None) -> Champion:
        if present is not None and (present.version, present.sha256) == (found["version"], found["sha256"]):
            return present
        return Champion(
            found["version"], found["sha256"], Predictor(Path(found["folder"]), found["sha256"], self._features)
        )

    def _load_last_good(self) -> None:
        try:
            self.champion = self._loaded(remembered(self._settings.champion_cache), None)
        except FileNotFoundError:
            return
        except (BundleError, ValueError, KeyError, TypeError, OSError) as error:
            log.error("last good champion not loaded", extra={"problem": str(error)})
            return
        self.source = "cache"
        _freeze()
        self._tell()
        log.info("last good champion loaded", extra={"model_version": self.champion.version})

    def _tell(self) -> None:
        models = {"champion": self.champion, "challenger": self.challenger}
        loaded = {alias: (model.version, model.predictor.bundle.format) for alias, model in models.items() if model}
        self._metrics.models(self._settings.charter.metadata.name, loaded, self.source)

    def _glance(self) -> object:
        """Something cheap that changes when an alias does; None if only a full look can tell.

        A server is asked for the aliases; of a SQLite registry the file's time of change is enough.
        """
        uri = self._settings.tracking_uri
        if uri.startswith("sqlite:///"):
            database = Path(uri.removeprefix("sqlite:///"))
            files = (database, database.with_name(database.name + "-wal"))
            return [file.stat().st_mtime_ns for file in files if file.exists()]
        if uri.startswith(("http://", "https://")):
            name = urllib.parse.quote(self._settings.charter.metadata.name, safe="")
            query = f"{uri.rstrip('/')}/api/2.0/mlflow/registered-models/get?name={name}"
            try:
                with urllib.request.urlopen(query, timeout=self._settings.registry_timeout_seconds) as answer:
                    return json.load(answer)["registered_model"].get("aliases", [])
            except urllib.error.HTTPError:
                return None  # there is no such model, or it is not for us: the full look says which
        return None

    def _pull(self) -> dict[str, Any]:
        timeout = self._settings.registry_timeout_seconds
        self._child = subprocess.Popen(
            [sys.executable, "-m", "groundwork.registry"],
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
        return json.loads(said.splitlines()[-1])


def _freeze() -> None:
    """What a model consists of lives on: without this, each full collection walks it and stalls every request."""
    gc.collect()
    gc.freeze()
