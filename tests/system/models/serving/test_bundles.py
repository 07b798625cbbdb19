"""The cache of bundles: what is in it was signed, whole, and may be shared."""

import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from groundwork.core.errors import BundleError, OutdatedBundle, UntrustedBundle
from groundwork.documents.pilot import Pilot
from groundwork.models.packaging.pack import pack
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.bundles import BundleCache, SignedBundle
from groundwork.models.serving.predictor import FORMAT_VERSIONS
from groundwork.models.serving.signing import sign
from groundwork.models.training.history import read_history
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin


@pytest.fixture
def champion(pilot_copy: Pilot) -> Version:
    found = Registry(pilot_copy).champion()
    assert found is not None
    return found


@pytest.fixture
def files(pilot_copy: Pilot, champion: Version, tmp_path: Path) -> Path:
    """The champion's files. They are not in the cache any more."""
    shutil.copytree(Registry(pilot_copy).pull(champion).folder, tmp_path / "files")
    shutil.rmtree(pilot_copy.settings.champion_cache)
    return tmp_path / "files"


def copy_of(files: Path) -> Callable[[Path], Path]:
    return lambda folder: Path(shutil.copytree(files, folder / "copy"))


def test_what_is_not_whole_is_not_kept(pilot_copy: Pilot, champion: Version, files: Path) -> None:
    cache = BundleCache(pilot_copy)
    whole = (files / "model.onnx").read_bytes()
    (files / "model.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(BundleError, match="its digest differs"):
        cache.fetch("1", champion.tags["bundle_sha256"], copy_of(files))
    assert list((pilot_copy.settings.champion_cache / "1").iterdir()) == []
    (files / "model.onnx").write_bytes(whole)
    cache.fetch("1", champion.tags["bundle_sha256"], copy_of(files)).predictor(pilot_copy.contract.dataset)


def test_a_bundle_that_names_files_elsewhere_is_refused(pilot_copy: Pilot, champion: Version, files: Path) -> None:
    bundle = json.loads((files / "bundle.json").read_text())
    (files / "bundle.json").write_text(json.dumps(bundle | {"file": "/dev/zero"}))
    with pytest.raises(BundleError, match="a file outside of it"):
        BundleCache(pilot_copy).fetch("1", champion.tags["bundle_sha256"], copy_of(files))


@pytest.mark.parametrize(
    ("version", "error", "told"),
    [
        (2, BundleError, "has format version 2, but this code reads versions up to 1: update the pilot's code"),
        (0, OutdatedBundle, "has format version 0, but this code reads versions from 1: run `groundwork migrate`"),
    ],
)
def test_a_bundle_of_another_format_is_refused_in_one_sentence(
    version: int, error: type[BundleError], told: str, pilot_copy: Pilot, champion: Version, files: Path
) -> None:
    """Also if nothing else in it is known."""
    (files / "bundle.json").write_text(json.dumps({"format_version": version}))
    with pytest.raises(error) as refused:
        BundleCache(pilot_copy).fetch("1", champion.tags["bundle_sha256"], copy_of(files))
    assert str(refused.value).endswith(told)
    assert "\n" not in str(refused.value)


def test_a_bundle_of_the_first_release_has_no_version_and_the_same_digest(
    pilot_copy: Pilot, champion: Version, files: Path
) -> None:
    bundle = json.loads((files / "bundle.json").read_text())
    assert bundle.pop("format_version") == FORMAT_VERSIONS[-1] == 1
    (files / "bundle.json").write_text(json.dumps(bundle))
    found = BundleCache(pilot_copy).fetch("1", champion.tags["bundle_sha256"], copy_of(files))
    assert found.predictor(pilot_copy.contract.dataset).bundle.format_version == 1


def test_what_nobody_signed_is_not_kept(pilot_copy: Pilot, champion: Version, files: Path) -> None:
    (files / "bundle.sig").unlink()
    with pytest.raises(UntrustedBundle, match=r"version 7 of .* not signed: train again"):
        BundleCache(pilot_copy).fetch("7", champion.tags["bundle_sha256"], copy_of(files))
    assert list((pilot_copy.settings.champion_cache / "7").iterdir()) == []


@pytest.mark.parametrize(("version", "digest"), [("../7", "0" * 64), ("7", "../../../7"), ("7", "")])
def test_the_registry_chooses_no_path(version: str, digest: str, pilot_copy: Pilot) -> None:
    with pytest.raises(BundleError, match="has no serving bundle"):
        BundleCache(pilot_copy).fetch(version, digest, lambda _: pytest.fail("fetched"))


def test_a_note_is_not_believed_without_the_signature(pilot_copy: Pilot) -> None:
    cache = BundleCache(pilot_copy)
    note = pilot_copy.settings.champion_cache / "last-good.json"
    good = cache.remembered()
    assert good is not None
    assert good.to_version == "1"
    noted = json.loads(note.read_text())
    earlier_release = {"version": "1", "sha256": good.bundle_sha256}
    for other in (noted | {"bundle_sha256": "0" * 64}, noted | {"number": 2}, earlier_release, None, []):
        note.write_text(json.dumps(other))
        assert cache.remembered() is None
    note.write_text("{")
    assert cache.remembered() is None


class Trap(ClassifierMixin, BaseEstimator):
    """A model that does something when it is unpickled."""

    def __init__(self, sprung: Path) -> None:
        self.sprung = sprung

    def fit(self, X: Any, y: Any) -> "Trap":
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X: Any) -> NDArray:
        return np.full((len(X), 2), 0.5)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        Path(str(self.sprung)).touch()


def test_a_model_that_runs_code_is_not_opened_unless_it_was_signed(pilot_copy: Pilot, tmp_path: Path) -> None:
    sprung, files, cache = tmp_path / "sprung", tmp_path / "files", BundleCache(pilot_copy)
    rows = read_history(pilot_copy).evaluation
    trap, windows = Trap(sprung).fit(rows.frame, rows.outcomes), {"the newest window": rows.frame}
    bundle = pack(trap, windows, lambda scores, _: scores > 0.3, files, pilot_copy.contract.dataset)
    assert bundle.format == "pyfunc"
    assert sprung.exists()  # whoever has just made it may open it
    sprung.unlink()
    with pytest.raises(UntrustedBundle):
        cache.fetch("7", bundle.sha256, copy_of(files))
    (files / "bundle.sig").write_text(sign(pilot_copy, "0" * 64))
    with pytest.raises(UntrustedBundle):
        cache.fetch("7", bundle.sha256, copy_of(files))
    (files / "bundle.sig").write_text(sign(pilot_copy, bundle.sha256))
    signed = cache.fetch("7", bundle.sha256, copy_of(files))
    kept = Path(signed.folder) / bundle.file
    whole = kept.read_bytes()
    kept.write_bytes(whole + b"more")
    with pytest.raises(BundleError, match="its digest differs"):
        signed.predictor(pilot_copy.contract.dataset)
    assert not sprung.exists()
    kept.write_bytes(whole)
    signed.predictor(pilot_copy.contract.dataset)
    assert sprung.exists()


def test_two_that_fetch_the_same_version_at_once_both_have_it(
    pilot_copy: Pilot, champion: Version, files: Path
) -> None:
    both_fetched = threading.Barrier(2)
    had: list[SignedBundle] = []

    def fetch() -> None:
        def download(folder: Path) -> Path:
            copied = copy_of(files)(folder)
            both_fetched.wait(60)
            return copied

        had.append(BundleCache(pilot_copy).fetch("1", champion.tags["bundle_sha256"], download))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(had) == 2
    assert had[0] == had[1]
    had[0].predictor(pilot_copy.contract.dataset)
    assert len(list((pilot_copy.settings.champion_cache / "1").iterdir())) == 1


def test_a_note_is_whole_whoever_else_writes_it(pilot_copy: Pilot) -> None:
    entry = BundleCache(pilot_copy).remembered()
    assert entry is not None
    failed: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(100):
                BundleCache(pilot_copy).remember(entry)
                assert BundleCache(pilot_copy).remembered() == entry
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_a_version_that_may_not_be_served_is_trained_again(pilot_copy: Pilot, champion: Version) -> None:
    registry = Registry(pilot_copy)
    found = registry.find(champion.tags["lineage"])
    assert found is not None
    assert found.number == champion.number
    pilot_copy.settings.signing_key_file.unlink()
    sign(pilot_copy, "0" * 64)  # with a new key
    assert registry.find(champion.tags["lineage"]) is None
