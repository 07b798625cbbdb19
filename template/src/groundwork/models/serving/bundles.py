"""The serving bundles on this machine's disk: without a trusted signature none gets there, and none is taken there."""

import json
import re
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from groundwork.core.errors import BundleError
from groundwork.core.files import write_atomically
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.predictor import Predictor, read_bundle
from groundwork.models.serving.signing import check_signature

CHAMPION = "champion"
CHALLENGER = "challenger"  # if there is one, it is scored in the shadow of the champion
BUNDLE = "serving"  # the folder of the run's artefacts that holds the serving bundle
SIGNATURE = "bundle.sig"  # of its digest, beside bundle.json


@dataclass(frozen=True)
class SignedBundle:
    """The serving bundle of a version, in a folder; its digest is signed. Only `BundleCache` makes them."""

    version: str
    sha256: str
    folder: str

    def predictor(self, dataset: Dataset) -> Predictor:
        """The bundle, loaded. Raises BundleError if it does not fit the contract, or has been altered since."""
        return Predictor(Path(self.folder), self.sha256, dataset.feature_names, dataset.task)


class BundleCache:
    """Bundles by version and digest, and a note of the champion that was good last. Several processes may share it."""

    def __init__(self, pilot: Pilot) -> None:
        self._pilot = pilot
        self._folder = pilot.settings.champion_cache

    def fetch(self, version: str, sha256: str, download: Callable[[Path], Path]) -> SignedBundle:
        """The bundle of a version, of which the registry says that this is the digest.

        If it is not here, `download` puts its files into a folder below the one it is given, and returns that. Raises
        BundleError as `checked` does, and then keeps nothing.
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
                if not folder.is_dir():  # else another process was quicker
                    raise
        return self.checked(version, sha256, str(folder))

    def cached(self, version: str, sha256: str) -> SignedBundle | None:
        """The bundle of a version, if it is here. Raises BundleError as `checked` does."""
        folder = self._place(version, sha256)
        return self.checked(version, sha256, str(folder)) if folder.is_dir() else None

    def checked(self, version: str, sha256: str, folder: str) -> SignedBundle:
        """The bundle in this folder.

        Raises BundleError if its digest is another, and UntrustedBundle if no trusted key has signed that.
        """
        try:
            read_bundle(Path(folder), sha256)
            check_signature(self._pilot, sha256, Path(folder) / SIGNATURE)
        except BundleError as error:
            raise type(error)(f"version {version} of {self._pilot.name}: {error}") from None
        return SignedBundle(version, sha256, folder)

    def remember(self, champion: SignedBundle) -> None:
        """Note it as good. A service starts from it, registry or not."""
        write_atomically({self._folder / "last-good.json": json.dumps(asdict(champion))})

    def remembered(self) -> SignedBundle:
        """What was noted last. Raises FileNotFoundError if nothing was, BundleError as `checked` does."""
        return self.checked(**json.loads((self._folder / "last-good.json").read_text(encoding="utf-8")))

    def _place(self, version: str, sha256: str) -> Path:
        if not version.isdecimal() or not re.fullmatch("[0-9a-f]{64}", sha256):  # no path of the registry's choice
            raise BundleError(f"version {version!r} of the registry has no serving bundle")
        return self._folder / version / sha256[:16]
