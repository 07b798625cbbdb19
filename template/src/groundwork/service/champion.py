"""Loads the champion that the promotion log names, and the challenger, checks them, then replaces the old ones.

The newest entry of the log that a trusted key has signed decides; files are fetched from the registry. One that is
down, slow or wrong blocks no request, no rollback and no switch: a model serves until another one has been loaded and
checked, and what is in the cache is loaded without asking the registry.
"""

import gc
import logging
import threading
import time
from dataclasses import dataclass

from groundwork.core.errors import StoreError
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.bundles import BundleCache, SignedBundle
from groundwork.models.serving.chain import Chain, is_genuine, read_chain
from groundwork.models.serving.predictor import Predictor
from groundwork.models.serving.signing import UNTRUSTED, trusted_keys
from groundwork.service.metrics import Metrics
from groundwork.service.model_source import source_of
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion

PROMOTIONS_POLL_SECONDS = 1.0  # between two reads of the promotion log; each is one short query
VERIFY_SECONDS = 30.0  # after which the whole log is verified again, though its newest entry is the same

NO_CHAMPION = "no version is champion: run `groundwork train`"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Champion:
    """A version, champion or challenger, that is loaded and checked."""

    version: str
    sha256: str
    predictor: Predictor


class ModelLoader(threading.Thread):
    """A thread that follows the promotion log, beside another that fetches models and may wait for the registry.

    While no model can serve, `champion` is None and `problem` says why. `no_model` says whether the log has put today's
    rule in service. `broken` says what is wrong with the promotion log; it is empty if nothing is.
    """

    def __init__(self, pilot: Pilot, metrics: Metrics, store: Store) -> None:
        super().__init__(name="model-loader", daemon=True)
        self.champion: Champion | None = None
        self.challenger: Champion | None = None
        self.no_model = pilot.settings.serve_mode == "no-model"
        self.problem = "the champion is being fetched from the registry"
        self.broken = ""
        self.source = "none"
        self.entry: Promotion | None = None  # of the log, which decides what serves
        self._pilot = pilot
        self._metrics = metrics
        self._store = store
        self._source = source_of(pilot)
        self._cache = BundleCache(pilot)
        self._dataset = pilot.contract.dataset
        self._read: Promotion | None = None  # the newest row of the log when it was last verified
        self._verify_at = 0.0
        self._log_seen = False  # the store of a service may be its own, without the promotion log
        self._seen: object = None
        self._swap = threading.RLock()  # held while a model is put in place of another
        self._stopped = threading.Event()
        self._wanted = threading.Event()  # a model that is not in the cache
        self._fetcher = threading.Thread(target=self._keep_fetching, name="model-fetcher", daemon=True)
        self.looked_in_cache = threading.Event()
        self.looked_in_registry = threading.Event()  # set after the first attempt, even if it failed

    def run(self) -> None:
        """Load the champion of the promotion log, or else the last good one, then follow the log until stopped."""
        self._follow_promotions()
        if self.champion is None:
            self._load_last_good()
        self.looked_in_cache.set()
        self._fetcher.start()
        while not self._stopped.wait(PROMOTIONS_POLL_SECONDS):
            self._follow_promotions()

    def _keep_fetching(self) -> None:
        while not self._stopped.is_set():
            self._wanted.clear()
            try:
                self._refresh()
            except Exception as error:  # the loaded model goes on serving
                if not self._stopped.is_set():  # stop() kills the process that asks the registry
                    self._failed(error)
            self.looked_in_registry.set()
            self._wanted.wait(self._seconds_to_the_next_refresh())

    def _seconds_to_the_next_refresh(self) -> float:
        pilot = self._pilot
        return pilot.settings.registry_retry_seconds if self.champion is None else pilot.settings.registry_poll_seconds

    def seconds_ahead(self) -> float | None:
        """Return how far this machine's clock was ahead of the registry's; None if that has none."""
        return self._source.ahead

    def stop(self) -> None:
        """End the threads and the running request to the registry."""
        self._stopped.set()
        self._wanted.set()
        self._source.stop()

    def _follow_promotions(self) -> None:
        """Do what the newest signed entry of the promotion log says; the registry is not asked."""
        try:
            self._follow_newest()
        except Exception as error:  # the thread goes on, and so does the loaded model
            self._failed(error)

    def _follow_newest(self) -> None:
        try:
            newest = self._store.promotions.latest(self._pilot.name)
            if newest == self._read and time.monotonic() < self._verify_at:
                return
            chain = read_chain(self._pilot, self._store)
        except StoreError:  # the prediction log fails too and reports it
            return
        self._log_seen = self._log_seen or newest is not None
        self._read, self._verify_at = newest, time.monotonic() + VERIFY_SECONDS
        entry, breaks = self._not_before_the_last_good(chain)
        self._tell_of("; ".join(breaks))
        if entry is None and self.champion is None:
            self.problem = self.broken or self.problem
        if entry is not None and entry != self.entry:
            self._obey(entry)

    def _not_before_the_last_good(self, chain: Chain) -> tuple[Promotion | None, list[str]]:
        """Return the entry that decides, and what is wrong with the log: it must not end before what served here."""
        newest, followed = chain.deciding, self.entry or self._cache.remembered()
        if not self._log_seen:
            return followed, []
        if followed is None or followed in chain.entries or (newest and newest.promoted_at > followed.promoted_at):
            return newest, list(chain.breaks)
        return followed, [*chain.breaks, f"entry {followed.number}, which this service has followed, is gone"]

    def _obey(self, entry: Promotion) -> None:
        self.no_model = entry.serves == "no-model" or self._pilot.settings.serve_mode == "no-model"
        self.entry = entry
        if not entry.to_version:
            with self._swap:
                self.champion, self.source = None, "none"
                self.problem, self._seen = NO_CHAMPION, None
                self._tell()
            return
        self._wanted.set()
        signed = self._cache.cached(entry.to_version, entry.bundle_sha256)
        if signed is not None:
            self._serve(signed, entry, self.source if self.champion else "cache")

    def _serve(self, signed: SignedBundle, entry: Promotion, source: str) -> None:
        with self._swap:
            if entry != self.entry:  # another entry decided while the registry was asked
                return
            champion = self._loaded(signed, self.champion)
            if champion is not self.champion:
                log.info("champion loaded", extra={"model_version": champion.version})
            self._cache.remember(entry)
            self.source, self.champion = source, champion
            self._tell()
            _freeze()

    def _failed(self, error: Exception) -> None:
        self._metrics.model_refresh_failures.inc()
        self.problem = str(error)
        log.error("models not refreshed", extra={"problem": self.problem})

    def _tell_of(self, broken: str) -> None:
        if broken and broken != self.broken:
            log.error("promotion log broken", extra={"problem": broken})
        if self.broken and not broken:
            log.info("promotion log whole again")
        self.broken = broken

    def _refresh(self) -> None:
        """Fetch the version of the entry that decides, and the challenger, if one of them changed.

        If the champion cannot be loaded, nothing changes. A challenger that cannot be loaded is left out and tried
        again.
        """
        if not self._log_seen:
            self._follow_registry()
        entry = self.entry
        if entry is None or not entry.to_version:
            return
        glance = self._source.glance()
        seen = None if glance is None else (entry, glance)
        if seen is not None and seen == self._seen:
            return
        bundles = self._source.bundles(entry.to_version, entry.bundle_sha256)
        signed = next(bundles)
        assert signed is not None  # the champion's
        self._serve(signed, entry, "registry")
        self.problem = ""
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

    def _follow_registry(self) -> None:
        """Do what the signed entry beside the champion says: the store of this service has no promotion log."""
        entry = self._source.promotion()
        if entry and is_genuine(self._pilot, entry) and (self.entry is None or entry.number > self.entry.number):
            self._obey(entry)
        elif self.entry is None:
            self.problem = self._why_not(entry)

    def _why_not(self, entry: Promotion | None) -> str:
        if entry is None:
            return (
                f"the registry has no signed champion of {self._pilot.name}: where the signing key is, run "
                "`groundwork train`, or after an update `groundwork migrate`"
            )
        return "the champion in the registry is not signed by a trusted key" if trusted_keys(self._pilot) else UNTRUSTED

    def _loaded(self, signed: SignedBundle, present: Champion | None) -> Champion:
        if present is not None and (present.version, present.sha256) == (signed.version, signed.sha256):
            return present
        return Champion(signed.version, signed.sha256, signed.predictor(self._dataset))

    def _load_last_good(self) -> None:
        """Load the champion that served here last: that of the log is not in the cache, or is not as it was signed."""
        entry = self._cache.remembered()
        if entry is None or not entry.to_version or (self.entry is not None and not self.entry.to_version):
            return
        try:
            signed = self._cache.cached(entry.to_version, entry.bundle_sha256)
            if signed is None:
                return
            champion = self._loaded(signed, None)
        except Exception as error:
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
