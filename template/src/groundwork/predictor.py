"""Answers from a serving bundle: the model file, and `bundle.json` that says what is in it.

A bundle is loaded only if its file has the digest that was recorded when the model was registered, and if the model
answers the recorded sample as it did then.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from groundwork.errors import BundleError, FeatureMismatch

TOLERANCE = 1e-5  # between two computations of one score; scores are probabilities

# What a model in the skops format may hold beyond the types that skops itself trusts.
TRUSTED_TYPES = [
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]

Arrays = Mapping[str, NDArray]


class Sample(BaseModel):
    """A few rows with the scores that the trained pipeline gave them; null where a value is missing."""

    features: dict[str, list[str | float | None]]
    scores: list[float]


class Bundle(BaseModel):
    """`bundle.json`."""

    format: Literal["onnx", "skops"]
    reason: str  # why this format: the proof of equality, or what spoke against ONNX
    file: str
    sha256: str
    features: list[str]
    sample: Sample


class Predictor:
    """A loaded model: one score per row."""

    def __init__(self, folder: Path, sha256: str, features: Sequence[str]) -> None:
        """Load the bundle in `folder`, whose digest must be `sha256` and whose model must take these features.

        Raises BundleError if anything is amiss.
        """
        try:
            self.bundle = Bundle.model_validate_json((folder / "bundle.json").read_bytes())
            content = (folder / self.bundle.file).read_bytes()
        except (OSError, ValidationError) as error:
            raise BundleError(f"the bundle in {folder} cannot be read: {error}") from error
        if bundle_digest(self.bundle, content) != sha256:
            raise BundleError(f"the bundle in {folder} is not the one that was registered: its digest differs")
        if self.bundle.features != list(features):
            raise FeatureMismatch(
                f"the model takes {', '.join(self.bundle.features)}, contract.yaml has {', '.join(features)}: "
                "train a model on the present contract"
            )
        try:
            self._score = _onnx(content) if self.bundle.format == "onnx" else _skops(content)
        except Exception as error:
            raise BundleError(f"{self.bundle.file} in {folder} cannot be loaded: {error}") from error
        self._check_sample()

    def scores(self, columns: Arrays) -> NDArray[np.float32]:
        """One score per row, for one array per feature as `features.arrays` makes them."""
        return self._score({name: columns[name] for name in self.bundle.features})

    def _check_sample(self) -> None:
        recorded = self.bundle.sample
        answered = self.scores({name: _as_array(values) for name, values in recorded.features.items()})
        if not np.allclose(answered, recorded.scores, rtol=0, atol=TOLERANCE):
            raise BundleError("the model does not answer the recorded sample as it did when it was registered")


def bundle_folder(cache: Path, version: str, sha256: str) -> Path:
    """Where the cache keeps the serving bundle of a version."""
    return cache / version / sha256[:16]


def remember(cache: Path, found: Mapping[str, str]) -> None:
    """Note the champion in the cache: its version, sha256 and folder. A service starts from it, registry or not."""
    temporary = cache / f"last-good.{os.getpid()}.tmp"  # each of several processes its own
    temporary.write_text(json.dumps(found), encoding="utf-8")
    temporary.replace(cache / "last-good.json")


def remembered(cache: Path) -> dict[str, str]:
    """What was noted last. Raises FileNotFoundError if nothing was."""
    found: dict[str, str] = json.loads((cache / "last-good.json").read_text(encoding="utf-8"))
    return found


def bundle_digest(bundle: Bundle, content: bytes) -> str:
    """SHA-256 over the model file and everything that `bundle.json` says but the digest itself."""
    description = bundle.model_dump(mode="json", exclude={"sha256"})
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode() + content).hexdigest()


def _onnx(content: bytes) -> Callable[[Arrays], NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads cost more than they bring on small batches
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def score(columns: Arrays) -> NDArray[np.float32]:
        rows = {name: values.reshape(-1, 1) for name, values in columns.items()}
        return session.run(["probabilities"], rows)[0][:, 1]

    return score


def _skops(content: bytes) -> Callable[[Arrays], NDArray[np.float32]]:
    try:
        import pandas as pd
        import skops.io
    except ImportError as error:
        raise BundleError(
            f"this model is served by scikit-learn, which is not installed here ({error.name} is missing): "
            "install the dependency group `pipeline` beside `serve`"
        ) from error
    unknown = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES)
    if unknown:
        raise BundleError(f"the model holds types that are not trusted: {', '.join(sorted(unknown))}")
    model = skops.io.loads(content, trusted=TRUSTED_TYPES)

    def score(columns: Arrays) -> NDArray[np.float32]:
        return model.predict_proba(pd.DataFrame(columns))[:, 1].astype(np.float32)

    return score


def _as_array(values: list[Any]) -> NDArray:
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)
