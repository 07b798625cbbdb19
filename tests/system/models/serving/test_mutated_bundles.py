"""A garbled bundle is refused in words, also if whoever garbled it could sign it."""

import json
import random
import shutil
import time
from contextlib import suppress
from pathlib import Path

import pytest
from groundwork.core.errors import BundleError
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.predictor import Bundle, Predictor, bundle_digest
from mutations import of_bytes, of_tree
from pydantic import ValidationError

LONGEST = 10.0  # seconds for one bundle


def load_all(pilot: Pilot, folder: Path, number: int) -> None:
    registry = Registry(pilot)
    version = registry.required_champion()
    good = Path(registry.pull(version).folder)
    dataset, dice, refused = pilot.contract.dataset, random.Random(1), 0
    described = json.loads((good / "bundle.json").read_text())
    model = (good / described["file"]).read_bytes()
    garbled = Path(shutil.copytree(good, folder / "garbled"))
    for turn in range(number):
        description, content = (of_tree(described, dice), model) if turn % 2 else (described, of_bytes(model, dice))
        (garbled / "bundle.json").write_text(json.dumps(description))
        (garbled / described["file"]).write_bytes(content)
        digests = {version.bundle_sha256}
        with suppress(ValidationError):
            digests.add(bundle_digest(Bundle.model_validate(description), content))
        for sha256 in digests:
            began = time.monotonic()
            try:
                Predictor(garbled, sha256, dataset.feature_names, dataset.task)
            except BundleError:
                refused += 1
            assert time.monotonic() - began < LONGEST, (turn, description)
    print(f"{refused:,} loads of {number:,} garbled bundles refused, the others scored the recorded sample as recorded")
    assert refused > number / 2


def test_a_garbled_bundle_is_refused_in_words(pilot: Pilot, tmp_path: Path) -> None:
    load_all(pilot, tmp_path, 200)


@pytest.mark.soak
@pytest.mark.night
def test_ten_thousand_garbled_bundles_are_refused_in_words(pilot: Pilot, tmp_path: Path) -> None:
    load_all(pilot, tmp_path, 10_000)
