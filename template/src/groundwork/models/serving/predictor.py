"""Computes scores from a serving bundle: a model file, and `bundle.json`, which describes it.

A bundle is loaded only if it has the digest that was signed when the model was registered, and if the model gives the
recorded scores for the recorded sample.
"""

import hashlib
import io
import json
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError

from groundwork.core.errors import BundleError, FeatureMismatch, OutdatedBundle
from groundwork.core.quoting import listed
from groundwork.documents.contract.column import BINARY, Column, Task
from groundwork.models.serving.term_weights import ModelInputs
from groundwork.models.serving.trusted_types import TRUSTED_TYPES
from groundwork.store.columns import LoggedColumn

TOLERANCE = 1e-5  # largest difference between two computations of a probability; for quantities, times the largest one
FORMAT_VERSIONS = (1,)  # of the bundles that this code reads, those of all releases; it writes the last one
Arrays = Mapping[str, NDArray]


class Sample(BaseModel):
    """A few rows with the trained pipeline's scores; a missing value is null."""

    features: dict[str, list[str | float | None]]
    scores: list[float] | list[list[float]]


class _Versioned(BaseModel):
    """The part of `bundle.json` that every format has."""

    format_version: int = 1  # release 0.1.0 wrote none


class Bundle(_Versioned):
    """The content of `bundle.json`."""

    format: Literal["onnx", "skops", "pyfunc"]
    reason: str  # why this format: the proof of equality, or why safer formats failed
    file: str
    sha256: str
    features: list[str]
    sample: Sample
    task: Task = BINARY
    tolerance: float = TOLERANCE  # largest difference between two computations of a score


class Predictor:
    """A loaded model: one score per row, or one per class."""

    def __init__(self, folder: Path, sha256: str, features: Sequence[str], task: Task = BINARY) -> None:
        """Load the bundle in `folder`, whose digest must be `sha256`.

        Raises FeatureMismatch if the model takes other features or predicts another outcome, BundleError if the bundle
        cannot be loaded. Loading may run code of the bundle: call this only with the digest of a bundle that this
        process has just made, otherwise use `SignedBundle.predictor`.
        """
        self.bundle, content = read_bundle(folder, sha256)
        if self.bundle.features != list(features):
            raise FeatureMismatch(
                f"the model takes {', '.join(self.bundle.features)}, contract.yaml has {', '.join(features)}: "
                "train a model on the current contract"
            )
        if self.bundle.task != task:
            raise FeatureMismatch(
                f"the model predicts {_described(self.bundle.task)}, the outcome of contract.yaml is "
                f"{_described(task)}: train a model on the current contract"
            )
        try:
            self._score = {"onnx": onnx_scores, "skops": _skops, "pyfunc": _pyfunc}[self.bundle.format](content, task)
        except Exception as error:
            raise BundleError(f"{self.bundle.file} in {folder} cannot be loaded: {error}") from error
        self._check_sample()

    def scores(self, columns: Arrays) -> NDArray[np.float32]:
        """Return the scores for one array per feature, as `arrays` makes them.

        The shape is (rows,), or (rows, classes) for several classes.
        """
        return self._score({name: columns[name] for name in self.bundle.features})

    def _check_sample(self) -> None:
        recorded = self.bundle.sample
        try:
            answered = self.scores({name: _as_array(values) for name, values in recorded.features.items()})
            equal = np.allclose(answered, recorded.scores, rtol=0, atol=self.bundle.tolerance)
        except Exception as error:
            raise BundleError(f"the model cannot score the recorded sample: {error}") from error
        if not equal:
            raise BundleError("the model's scores for the recorded sample differ from those at registration")


def read_bundle(folder: Path, sha256: str) -> tuple[Bundle, bytes]:
    """Return `bundle.json` and the model file in `folder`. Raises BundleError unless their digest is `sha256`.

    Raises OutdatedBundle if it has an older format than this code reads.
    """
    try:
        description = (folder / "bundle.json").read_bytes()
        _check_version(folder, _Versioned.model_validate_json(description).format_version)
        bundle = Bundle.model_validate_json(description)
        if Path(bundle.file).name != bundle.file:
            raise BundleError(f"the bundle in {folder} names a file outside of it: {bundle.file}")
        content = (folder / bundle.file).read_bytes()
    except (OSError, ValidationError) as error:
        raise BundleError(f"the bundle in {folder} cannot be read: {error}") from error
    if bundle_digest(bundle, content) != sha256:
        raise BundleError(f"the bundle in {folder} is not the one that was registered: its digest differs")
    return bundle, content


def _check_version(folder: Path, found: int) -> None:
    if found > FORMAT_VERSIONS[-1]:
        raise BundleError(
            f"the bundle in {folder} has format version {found}, but this code reads versions up to "
            f"{FORMAT_VERSIONS[-1]}: update the pilot's code"
        )
    if found not in FORMAT_VERSIONS:
        raise OutdatedBundle(
            f"the bundle in {folder} has format version {found}, but this code reads versions from "
            f"{FORMAT_VERSIONS[0]}: run `groundwork migrate`"
        )


def bundle_digest(bundle: Bundle, content: bytes) -> str:
    """Return the SHA-256 digest of the model file and all fields of `bundle.json` except the digest."""
    description = bundle.model_dump(mode="json", exclude={"sha256"}, exclude_defaults=True)
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode() + content).hexdigest()


def onnx_session(content: bytes) -> onnxruntime.InferenceSession:
    """Return the ONNX model, loaded to run on one thread of the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # on small batches, more threads are slower
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # an error is raised; ONNX Runtime would print it as well
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def onnx_scores(content: bytes, task: Task) -> Callable[[Arrays], NDArray[np.float32]]:
    """Return a function that computes the scores of an ONNX model for one array per feature, as `arrays` makes them."""
    session = onnx_session(content)
    answer = session.get_outputs()[-1].name  # of a classifier, the probabilities come after the labels
    inputs = ModelInputs(session)

    def score(columns: Arrays) -> NDArray[np.float32]:
        scores = [session.run([answer], part)[0] for part in inputs.parts(columns)]
        return _as_scores(scores[0] if len(scores) == 1 else np.concatenate(scores), task)

    return score


def _skops(content: bytes, task: Task) -> Callable[[Arrays], NDArray[np.float32]]:
    try:
        import pandas as pd
        import skops.io
    except ImportError as error:
        raise BundleError(
            f"this model needs scikit-learn, which is not installed here ({error.name} is missing): "
            "install the dependency group `pipeline` in addition to `serve`"
        ) from error
    unknown = set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED_TYPES)
    if unknown:
        raise BundleError(f"the model holds types that are not trusted: {', '.join(sorted(unknown))}")
    model = skops.io.loads(content, trusted=TRUSTED_TYPES)

    def score(columns: Arrays) -> NDArray[np.float32]:
        return pipeline_scores(model, pd.DataFrame(columns), task).astype(np.float32)

    return score


def _pyfunc(content: bytes, task: Task) -> Callable[[Arrays], NDArray[np.float32]]:
    """Load an MLflow model folder from a ZIP archive, which runs the code in it."""
    try:
        from mlflow.pyfunc import load_model
    except ImportError as error:
        raise BundleError(
            f"this model needs MLflow, which is not installed here ({error.name} is missing): "
            "install the dependency group `pipeline` in addition to `serve`"
        ) from error
    folder = tempfile.TemporaryDirectory(prefix="groundwork-model-")  # must live as long as the model, which reads it
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        archive.extractall(folder.name)
    try:
        model = load_model(folder.name)
    except ImportError as error:
        raise BundleError(
            f"{error}: install the packages of the model's requirements.txt in every environment"
        ) from error

    def score(columns: Arrays, _folder: object = folder) -> NDArray[np.float32]:
        return pyfunc_scores(model, columns, task)

    return score


def score_method(task: Task) -> str:
    """Return the name of the method of a scikit-learn pipeline that gives the scores."""
    return "predict" if task.kind == "regression" else "predict_proba"


def pipeline_scores(model: Any, frame: Any, task: Task) -> NDArray:
    """Return the scores of a scikit-learn pipeline for a DataFrame: shape (rows,), or (rows, classes)."""
    return _as_scores(getattr(model, score_method(task))(frame), task)


def pyfunc_scores(model: Any, columns: Arrays, task: Task) -> NDArray[np.float32]:
    """Return the scores of an MLflow model for arrays as `arrays` makes them, in the types of its signature."""
    import pandas as pd

    inputs = model.metadata.get_input_schema().inputs
    types = {each.name: each.type.to_pandas() if hasattr(each.type, "to_pandas") else object for each in inputs}
    frame = pd.DataFrame(
        {name: values if types[name] is object else values.astype(types[name]) for name, values in columns.items()}
    )
    return _as_scores(np.asarray(model.predict(frame)), task).astype(np.float32)


def _as_scores(answered: NDArray, task: Task) -> NDArray:
    """Return a model's answer as one score per row, or per row and class. Raises BundleError if it cannot be one."""
    rows = len(answered)
    found = answered
    if found.ndim == 2 and task.kind != "multiclass":
        width = found.shape[1]
        found = found[:, -1] if width == 1 or (width == 2 and task.kind == "binary") else found
    # Integers from a classifier are labels, not probabilities.
    if found.shape != task.shape(rows) or found.dtype.kind not in ("fiu" if task.kind == "regression" else "f"):
        wanted = {
            "binary": "a probability per row, or one per row and class",
            "multiclass": f"a probability per row for each of {', '.join(listed(task.classes))}",
            "regression": "a number per row",
        }[task.kind]
        raise BundleError(
            f"the model returns {answered.dtype} of the shape {answered.shape} for {rows:,} rows; required: {wanted}"
        )
    return found


def _described(task: Task) -> str:
    return {
        "binary": "a boolean",
        "multiclass": f"one of {', '.join(listed(task.classes))}",
        "regression": "a number",
    }[task.kind]


def _as_array(values: list[Any]) -> NDArray:
    if any(isinstance(value, str) for value in values):
        return np.array(values, dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


MISSING_TEXT = ""


def arrays(columns: Mapping[str, Any], features: Iterable[Column]) -> dict[str, NDArray]:
    """Return one array per feature from raw values, in lists, in Arrow columns, or in columns of the prediction log.

    Text becomes an object array in which a missing value is the empty string. All other types become float32, in which
    a missing value is NaN: ONNX models compute in float32, so training must see the same numbers.
    """
    return {feature.name: _array(columns[feature.name], feature.logical_type) for feature in features}


def _array(values: Any, logical_type: str) -> NDArray:
    if hasattr(values, "combine_chunks"):
        return _array_of_arrow(values, logical_type)
    if isinstance(values, LoggedColumn):
        if logical_type != "string":
            return values.floats().astype(np.float32)
        values = values.tolist()
    if logical_type == "string":
        return np.array([MISSING_TEXT if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)


def _array_of_arrow(values: Any, logical_type: str) -> NDArray:
    """Return the array of an Arrow column, without a Python object per value; pyarrow is missing in the service."""
    if logical_type == "string":
        encoded = values.combine_chunks().fill_null(MISSING_TEXT).dictionary_encode()
        texts = np.array(encoded.dictionary.to_pylist(), dtype=object)  # each distinct text once
        return texts[encoded.indices.to_numpy()] if len(encoded) else np.array([], dtype=object)
    return values.cast("double", safe=False).to_numpy().astype(np.float32)
