"""Keeps the models that serve: fetched by alias in a child process, verified, then swapped in whole.

A dead, slow or lying registry blocks no request: the model that serves stays until a better one has been loaded and
checked. The last good champion is remembered on disk, so that the service starts from it when the registry is down. A
version that the promotion log puts in service is taken from the cache, if it is there, without asking the registry:
that is how a rollback takes seconds.
"""

import gc
import json
import logging
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from groundwork.errors import BundleError, StoreError
from groundwork.predictor import Predictor, bundle_folder, remember, remembered
from groundwork.service.metrics import Metrics
from groundwork.settings import Settings
from groundwork.store import Promotion, Store

PROMOTIONS_POLL_SECONDS = 1.0  # between two looks at the promotion log, which is one short query

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A version that is loaded and checked."""

    version: str
    sha256: str
    predictor: Predictor


class ModelLoader(threading.Thread):
    """Watches the aliases. `champion` is None, and `problem` says why, as long as nothing can be served."""

    def __init__(self, settings: Settings, metrics: Metrics, store: Store) -> None:
        super().__init__(name="model-loader", daemon=True)
        self.champion: Champion | None = None
        self.challenger: Champion | None = None
        self.problem = "the champion is being fetched from the registry"
        self.source = "none"
        self._settings = settings
        self._metrics = metrics
        self._store = store
        self._promotion: Promotion | None = None
        self._features = settings.contract.dataset.feature_names
        self._seen: object = None
        self._stopped = threading.Event()
        self._child: subprocess.Popen[str] | None = None

    def run(self) -> None:
        self._load_last_good()
        refresh_at = 0.0
        while not self._stopped.is_set():
            self._follow_promotions()
            if time.monotonic() >= refresh_at:
                try:
                    self._refresh()
                except Exception as error:  # whatever it is, what serves goes on serving
                    self._failed(error)
                refresh_at = time.monotonic() + self._seconds_to_the_next_refresh()
            self._stopped.wait(min(PROMOTIONS_POLL_SECONDS, max(refresh_at - time.monotonic(), 0)))

    def _seconds_to_the_next_refresh(self) -> float:
        settings = self._settings
        return settings.registry_retry_seconds if self.champion is None else settings.registry_poll_seconds

    def stop(self) -> None:
        self._stopped.set()
        if self._child is not None and self._child.poll() is None:
            self._child.kill()

    def _follow_promotions(self) -> None:
        """Serve what was promoted or rolled back last, if it is in the cache; the registry's alias follows later."""
        try:
            newest = self._store.latest_promotion(self._settings.charter.metadata.name)
        except StoreError:  # predictions cannot be logged either, and say so
            return
        if newest is None or newest == self._promotion:
            return
        self._promotion = newest
        folder = bundle_folder(self._settings.champion_cache, newest.to_version, newest.bundle_sha256)
        if not folder.is_dir():
            return
        found = {"version": newest.to_version, "sha256": newest.bundle_sha256, "folder": str(folder)}
        try:
            self._serve(self._loaded(found, self.champion), found)
        except BundleError as error:
            self._failed(error)

    def _serve(self, champion: Champion, found: dict[str, str]) -> None:
        if champion is not self.champion:
            log.info("champion loaded", extra={"model_version": champion.version})
            remember(self._settings.champion_cache, found)
        self.champion = champion
        self._tell()
        _freeze()

    def _failed(self, error: Exception) -> None:
        self._metrics.model_refresh_failures.inc()
        self.problem = str(error)
        log.error("models not refreshed", extra={"problem": self.problem})

    def _refresh(self) -> None:
        """Load what the aliases point to, if that changed.

        A bad champion changes nothing; a bad challenger is left out.
        """
        seen = self._glance()
        if seen is not None and seen == self._seen:
            return
        found = self._pull()
        present = self.champion
        if present and self._promotion and present.version == self._promotion.to_version:
            champion = present  # the alias is this one, or will be in a moment
        else:
            champion = self._loaded(found["champion"], present)
        challenger, trouble = None, None
        if found["challenger"]:
            try:
                challenger = self._loaded(found["challenger"], self.challenger)
            except BundleError as error:
                trouble = error
        self.challenger, self.source, self.problem, self._seen = challenger, "registry", "", seen
        self._serve(champion, found["champion"])
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
