"""The serving bundles on this machine's disk: the signature is checked when one is stored and when one is read."""

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from groundwork.core.errors import BundleError
from groundwork.core.files import write_atomically
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.chain import is_genuine
from groundwork.models.serving.predictor import Predictor, read_bundle
from groundwork.models.serving.signing import check_signature
from groundwork.store.promotion_log import Promotion

CHAMPION = "champion"
CHALLENGER = "challenger"  # optional; scores the champion's requests as a shadow
PROMOTION = "promotion"  # the tag of the champion that holds its entry of the promotion log, for services without it
BUNDLE = "serving"  # the folder of the run's artefacts that holds the serving bundle
SIGNATURE = "bundle.sig"  # the signature of the bundle's digest, beside bundle.json


@dataclass(frozen=True)
class SignedBundle:
    """The serving bundle of a version in a folder, with a checked signature. Only `BundleCache` creates them."""

    version: str
    sha256: str
    folder: str

    def predictor(self, dataset: Dataset) -> Predictor:
        """Load the bundle. Raises BundleError if it does not fit the contract, or was altered after the check."""
        return Predictor(Path(self.folder), self.sha256, dataset.feature_names, dataset.task)


class BundleCache:
    """Bundles by version and digest, and a note of the last good champion. Several processes may share the cache."""

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._folder = pilot.settings.champion_cache

    def fetch(self, version: str, sha256: str, download: Callable[[Path], Path]) -> SignedBundle:
        """Return the bundle of a version, whose digest in the registry is `sha256`.

        If the bundle is not in the cache, `download` is called with a folder; it writes the files to a folder below and
        returns that. Raises BundleError as `checked` does, and then stores nothing.
        """
        found = self.cached(version, sha256)
        if found is not None:
            return found
        folder = self._place(version, sha256)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            fetched = download(Path(temporary))
            self.checked(version, sha256, str(fetched))
            try:
                fetched.rename(folder)
            except OSError:
                if not folder.is_dir():  # if it exists, another process was faster
                    raise
        return self.checked(version, sha256, str(folder))

    def cached(self, version: str, sha256: str) -> SignedBundle | None:
        """Return the bundle of a version; None if it is not in the cache. Raises BundleError as `checked` does."""
        folder = self._place(version, sha256)
        return self.checked(version, sha256, str(folder)) if folder.is_dir() else None

    def checked(self, version: str, sha256: str, folder: str) -> SignedBundle:
        """Return the bundle in this folder.

        Raises BundleError if its digest is not `sha256`, UntrustedBundle if no trusted key has signed the digest.
        """
        try:
            read_bundle(Path(folder), sha256)
            check_signature(self._pilot, sha256, Path(folder) / SIGNATURE)
        except BundleError as error:
            raise type(error)(f"version {version} of {self._pilot.name}: {error}") from None
        return SignedBundle(version, sha256, folder)

    def remember(self, entry: Promotion) -> None:
        """Note the entry of the champion that serves as the last good one. A service can start from it."""
        write_atomically({self._folder / "last-good.json": entry.as_json()})

    def remembered(self) -> Promotion | None:
        """Return the last good entry; None if there is none, or none that a trusted key has signed."""
        try:
            noted = (self._folder / "last-good.json").read_text(encoding="utf-8")
        except (OSError, ValueError):
            return None
        entry = Promotion.from_json(noted)  # earlier releases noted the version alone
        return entry if entry and is_genuine(self._pilot, entry) else None

    def _place(self, version: str, sha256: str) -> Path:
        if not version.isdecimal() or not re.fullmatch("[0-9a-f]{64}", sha256):  # the registry must not choose the path
            raise BundleError(f"version {version!r} of the registry has no serving bundle")
        return self._folder / version / sha256[:16]
