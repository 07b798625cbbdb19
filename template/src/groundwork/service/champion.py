"""Loads the champion and the challenger: fetches them by alias, checks them, then replaces the old ones.

A registry that is down, slow or wrong blocks no request: a model serves until another one has been loaded and checked.
The last good champion is stored on disk, so that the service can start without the registry. A version that the
promotion log names is loaded from the cache without asking the registry, so a rollback takes seconds.
"""

import gc
import logging
import threading
import time
from dataclasses import dataclass

from groundwork.core.errors import BundleError, StoreError
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.bundles import BundleCache, SignedBundle
from groundwork.models.serving.predictor import Predictor
from groundwork.service.metrics import Metrics
from groundwork.service.model_source import source_of
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion

PROMOTIONS_POLL_SECONDS = 1.0  # between two reads of the promotion log; each is one short query

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A version, champion or challenger, that is loaded and checked."""

    version: str
    sha256: str
    predictor: Predictor


class ModelLoader(threading.Thread):
    """A thread that follows the promotion log and the registry's aliases.

    While no model can serve, `champion` is None and `problem` says why.
    """

    def __init__(self, pilot: Pilot, metrics: Metrics, store: Store) -> None:
        super().__init__(name="model-loader", daemon=True)
        self.champion: Champion | None = None
        self.challenger: Champion | None = None
        self.problem = "the champion is being fetched from the registry"
        self.source = "none"
        self._pilot = pilot
        self._metrics = metrics
        self._store = store
        self._promotion: Promotion | None = None
        self._source = source_of(pilot)
        self._cache = BundleCache(pilot)
        self._dataset = pilot.contract.dataset
        self._seen: object = None
        self._stopped = threading.Event()
        self.looked_in_cache = threading.Event()
        self.looked_in_registry = threading.Event()  # set after the first attempt, even if it failed

    def run(self) -> None:
        """Load the last good champion, then follow promotion log and registry until stopped."""
        try:
            self._load_last_good()
        finally:
            self.looked_in_cache.set()
        refresh_at = 0.0
        while not self._stopped.is_set():
            self._follow_promotions()
            if time.monotonic() >= refresh_at:
                try:
                    self._refresh()
                except Exception as error:  # the loaded model goes on serving
                    if not self._stopped.is_set():  # stop() kills the process that asks the registry
                        self._failed(error)
                self.looked_in_registry.set()
                refresh_at = time.monotonic() + self._seconds_to_the_next_refresh()
            self._stopped.wait(min(PROMOTIONS_POLL_SECONDS, max(refresh_at - time.monotonic(), 0)))

    def _seconds_to_the_next_refresh(self) -> float:
        pilot = self._pilot
        return pilot.settings.registry_retry_seconds if self.champion is None else pilot.settings.registry_poll_seconds

    def stop(self) -> None:
        """End the thread and the running request to the registry."""
        self._stopped.set()
        self._source.stop()

    def _follow_promotions(self) -> None:
        """Load the newest version of the promotion log if it is in the cache; the registry's alias follows later."""
        try:
            newest = self._store.promotions.latest(self._pilot.name)
        except StoreError:  # the prediction log fails too and reports it
            return
        if newest is None or newest == self._promotion:
            return
        self._promotion = newest
        if not newest.to_version:
            self.champion, self.source = None, "none"
            self.problem, self._seen = "no version is champion: run `groundwork train`", None
            self._tell()
            return
        try:
            signed = self._cache.cached(newest.to_version, newest.bundle_sha256)
            if signed is not None:
                self._serve(signed, self.source if self.champion else "cache")
        except BundleError as error:
            self._failed(error)

    def _serve(self, signed: SignedBundle, source: str) -> None:
        champion = self._loaded(signed, self.champion)
        if champion is not self.champion:
            log.info("champion loaded", extra={"model_version": champion.version})
            self._cache.remember(signed)
        self.source, self.champion = source, champion
        self._tell()
        _freeze()

    def _failed(self, error: Exception) -> None:
        self._metrics.model_refresh_failures.inc()
        self.problem = str(error)
        log.error("models not refreshed", extra={"problem": self.problem})

    def _refresh(self) -> None:
        """Load the versions that the aliases point to, if an alias changed.

        If the new champion cannot be loaded, nothing changes. A challenger that cannot be loaded is left out and tried
        again.
        """
        if self._promotion is not None and not self._promotion.to_version:
            return
        seen = self._source.glance()
        if seen is not None and seen == self._seen:
            return
        bundles = self._source.bundles()
        signed = next(bundles)
        assert signed is not None  # without a champion, bundles() raises
        present = self.champion
        # If the newest promotion is loaded already, the alias points to it, or soon will.
        if present is None or self._promotion is None or present.version != self._promotion.to_version:
            self._serve(signed, "registry")
        self.source, self.problem = "registry", ""
        challenger, trouble = None, None
        try:
            signed = next(bundles)
            challenger = self._loaded(signed, self.challenger) if signed else None
        except Exception as error:  # the champion serves all the same
            trouble = error
        self.challenger, self._seen = challenger, None if trouble else seen
        self._tell()
        _freeze()
        if trouble:
            raise trouble

    def _loaded(self, signed: SignedBundle, present: Champion | None) -> Champion:
        if present is not None and (present.version, present.sha256) == (signed.version, signed.sha256):
            return present
        return Champion(signed.version, signed.sha256, signed.predictor(self._dataset))

    def _load_last_good(self) -> None:
        try:
            champion = self._loaded(self._cache.remembered(), None)
        except FileNotFoundError:
            return
        except (BundleError, ValueError, KeyError, TypeError, OSError) as error:
            log.error("last good champion not loaded", extra={"problem": str(error)})
            return
        self.source, self.champion = "cache", champion
        _freeze()
        self._tell()
        log.info("last good champion loaded", extra={"model_version": champion.version})

    def _tell(self) -> None:
        models = {"champion": self.champion, "challenger": self.challenger}
        loaded = {alias: (model.version, model.predictor.bundle.format) for alias, model in models.items() if model}
        self._metrics.models(self._pilot.name, loaded, self.source)


def _freeze() -> None:
    """Exclude the model's objects from garbage collection: each full collection would visit them and delay requests."""
    gc.collect()
    gc.freeze()
