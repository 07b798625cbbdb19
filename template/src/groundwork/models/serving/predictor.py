"""Answers from a serving bundle: the model file, and `bundle.json` that says what is in it.

A bundle is loaded only if it has the digest that was signed when the model was registered, and if the model answers the
recorded sample as it did then.
"""

import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from groundwork.core.errors import BundleError, FeatureMismatch
from groundwork.documents.contract.column import BINARY, Column, Task

TOLERANCE = 1e-5  # between two computations of one probability, or of the largest of quantities
# What a model in the skops format may hold beyond the types that skops itself trusts.
TRUSTED_TYPES = [
    "sklearn.compose._column_transformer.make_column_selector",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
]
Arrays = Mapping[str, NDArray]


class Sample(BaseModel):
    """A few rows with the scores that the trained pipeline gave them; null where a value is missing."""

    features: dict[str, list[str | float | None]]
    scores: list[float] | list[list[float]]


class Bundle(BaseModel):
    """`bundle.json`."""

    format: Literal["onnx", "skops", "pyfunc"]
    reason: str  # why this format: the proof of equality, or what spoke against the safer ones
    file: str
    sha256: str
    features: list[str]
    sample: Sample
    task: Task = BINARY
    tolerance: float = TOLERANCE  # between two computations of one score


class Predictor:
    """A loaded model: one score per row, or one per class."""

    def __init__(self, folder: Path, sha256: str, features: Sequence[str], task: Task = BINARY) -> None:
        """Load the bundle in `folder`, whose digest must be `sha256`.

        Its model must take these features, and predict this.

        Raises BundleError if anything is amiss. To load may be to execute: only who has just made the bundle calls this
        with its digest, everybody else goes through `SignedBundle.predictor`.
        """
        self.bundle, content = read_bundle(folder, sha256)
        if self.bundle.features != list(features):
            raise FeatureMismatch(
                f"the model takes {', '.join(self.bundle.features)}, contract.yaml has {', '.join(features)}: "
                "train a model on the present contract"
            )
        if self.bundle.task != task:
            raise FeatureMismatch(
                f"the model predicts {_described(self.bundle.task)}, the outcome of contract.yaml is "
                f"{_described(task)}: train a model on the present contract"
            )
        try:
            self._score = {"onnx": _onnx, "skops": _skops, "pyfunc": _pyfunc}[self.bundle.format](content, task)
        except Exception as error:
            raise BundleError(f"{self.bundle.file} in {folder} cannot be loaded: {error}") from error
        self._check_sample()

    def scores(self, columns: Arrays) -> NDArray[np.float32]:
        """One score per row, or one per row and class, for one array per feature as `arrays` makes them."""
        return self._score({name: columns[name] for name in self.bundle.features})

    def _check_sample(self) -> None:
        recorded = self.bundle.sample
        answered = self.scores({name: _as_array(values) for name, values in recorded.features.items()})
        if not np.allclose(answered, recorded.scores, rtol=0, atol=self.bundle.tolerance):
            raise BundleError("the model does not answer the recorded sample as it did when it was registered")


def read_bundle(folder: Path, sha256: str) -> tuple[Bundle, bytes]:
    """What `bundle.json` in `folder` says, and the model file. Raises BundleError unless its digest is `sha256`."""
    try:
        bundle = Bundle.model_validate_json((folder / "bundle.json").read_bytes())
        if Path(bundle.file).name != bundle.file:
            raise BundleError(f"the bundle in {folder} names a file outside of it: {bundle.file}")
        content = (folder / bundle.file).read_bytes()
    except (OSError, ValidationError) as error:
        raise BundleError(f"the bundle in {folder} cannot be read: {error}") from error
    if bundle_digest(bundle, content) != sha256:
        raise BundleError(f"the bundle in {folder} is not the one that was registered: its digest differs")
    return bundle, content


def bundle_digest(bundle: Bundle, content: bytes) -> str:
    """SHA-256 over the model file and everything that `bundle.json` says but the digest itself."""
    description = bundle.model_dump(mode="json", exclude={"sha256"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode() + content).hexdigest()


def _onnx(content: bytes, task: Task) -> Callable[[Arrays], NDArray[np.float32]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more threads cost more than they bring on small batches
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    answer = session.get_outputs()[-1].name  # of a classifier, the probabilities come after the labels

    def score(columns: Arrays) -> NDArray[np.float32]:
        rows = {name: values.reshape(-1, 1) for name, values in columns.items()}
        return _as_scores(session.run([answer], rows)[0], task)

    return score


def _skops(content: bytes, task: Task) -> Callable[[Arrays], NDArray[np.float32]]:
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
        return pipeline_scores(model, pd.DataFrame(columns), task).astype(np.float32)

    return score


def _pyfunc(content: bytes, task: Task) -> Callable[[Arrays], NDArray[np.float32]]:
    """An MLflow model folder, as a ZIP archive. To load one is to run whatever code it holds."""
    from groundwork.core.environment import QUIET

    os.environ.update(QUIET)  # before the import: the service starts without MLflow
    try:
        from mlflow.pyfunc import load_model
    except ImportError as error:
        raise BundleError(
            f"this model is served through MLflow, which is not installed here ({error.name} is missing): "
            "install the dependency group `pipeline` beside `serve`"
        ) from error
    folder = tempfile.TemporaryDirectory(prefix="groundwork-model-")  # lives as long as the model, which may read it
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder.name)
    try:
        model = load_model(folder.name)
    except ImportError as error:
        raise BundleError(
            f"{error}: install what the model's requirements.txt names, into every environment"
        ) from error

    def score(columns: Arrays, _folder: object = folder) -> NDArray[np.float32]:
        return pyfunc_scores(model, columns, task)

    return score


def pipeline_scores(model: Any, frame: Any, task: Task) -> NDArray:
    """The scores of a scikit-learn pipeline for a DataFrame."""
    return _as_scores(model.predict(frame) if task.kind == "regression" else model.predict_proba(frame), task)


def pyfunc_scores(model: Any, columns: Arrays, task: Task) -> NDArray[np.float32]:
    """The scores of an MLflow model for arrays as `arrays` makes them, in the types that it asks for."""
    import pandas as pd

    types = {column.name: column.type.to_pandas() for column in model.metadata.get_input_schema().inputs}
    frame = pd.DataFrame(
        {name: values if types[name] is object else values.astype(types[name]) for name, values in columns.items()}
    )
    return _as_scores(np.asarray(model.predict(frame)), task).astype(np.float32)


def _as_scores(answered: NDArray, task: Task) -> NDArray:
    """What a model answered, as one score per row, or per row and class. Raises BundleError where it is none."""
    rows = len(answered)
    found = answered
    if found.ndim == 2 and task.kind != "multiclass":
        width = found.shape[1]
        found = found[:, -1] if width == 1 or (width == 2 and task.kind == "binary") else found
    # A classifier that answers with integers answers with labels.
    if found.shape != task.shape(rows) or found.dtype.kind not in ("fiu" if task.kind == "regression" else "f"):
        wanted = {
            "binary": "a probability per row, or one for each of both classes",
            "multiclass": f"a probability per row for each of {', '.join(task.classes)}",
            "regression": "a number per row",
        }[task.kind]
        raise BundleError(
            f"the model answers {rows:,} rows with {answered.dtype} of the shape {answered.shape}; wanted is {wanted}"
        )
    return found


def _described(task: Task) -> str:
    return {
        "binary": "a boolean",
        "multiclass": f"one of {', '.join(task.classes)}",
        "regression": "a number",
    }[task.kind]


def _as_array(values: list[Any]) -> NDArray:
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


MISSING_TEXT = ""


def arrays(columns: Mapping[str, Any], features: Iterable[Column]) -> dict[str, NDArray]:
    """Turn raw values, in lists or in whole Arrow columns, into one array per feature.

    Text becomes an object array in which a missing value is the empty string. Everything else becomes float32 with
    NaN for a missing value: float32 is what ONNX models compute with, so training must see the same numbers.
    """
    return {feature.name: _array(columns[feature.name], feature.logical_type) for feature in features}


def arrays_of_log(records: Iterable[str], features: Sequence[Column]) -> dict[str, NDArray]:
    """The same of records as the prediction log holds them; a feature that was added since is missing."""
    rows = [msgspec.json.decode(record) for record in records]
    return arrays({feature.name: [row.get(feature.name) for row in rows] for feature in features}, features)


def _array(values: Any, logical_type: str) -> NDArray:
    if hasattr(values, "combine_chunks"):
        return _array_of_arrow(values, logical_type)
    if logical_type == "string":
        return np.array([MISSING_TEXT if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


def _array_of_arrow(values: Any, logical_type: str) -> NDArray:
    """The same without a Python object for each value. The service has no pyarrow, so it is not imported here."""
    if logical_type == "string":
        encoded = values.combine_chunks().fill_null(MISSING_TEXT).dictionary_encode()
        texts = np.array(encoded.dictionary.to_pylist(), dtype=object)  # each text once, however often it occurs
        return texts[encoded.indices.to_numpy()] if len(encoded) else np.array([], dtype=object)
    return values.cast("double", safe=False).to_numpy().astype(np.float32)
