"""Packs a model for serving: as ONNX if it is proven equal, else as the pipeline in skops, else as an MLflow model."""

import io
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import sklearn
import skops.io
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import is_regressor

from groundwork.core.errors import ModelMismatch
from groundwork.documents.contract.column import BINARY, Task
from groundwork.models.packaging import converters, text
from groundwork.models.packaging.parity import Decide, prove_equal
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.serving.predictor import TOLERANCE, Bundle, Predictor, Sample, bundle_digest, pipeline_scores

SAMPLE_ROWS = 20


def pack(model: Any, frame: pd.DataFrame, decide: Decide, folder: Path, task: Task = BINARY) -> Bundle:
    """Write the serving bundle of `model`, a fitted pipeline or a Pretrained, into `folder`, and return it.

    The ONNX model is used only if its scores for every row of `frame` (the evaluation window) are within TOLERANCE of
    the pipeline's and lead to the same decisions. Otherwise the bundle holds the pipeline, as skops if skops trusts
    every type in it, else as an MLflow model, which runs its own code when it is loaded. `Bundle.reason` says why.
    Raises ModelMismatch if the scores are not finite, or not probabilities although the outcome is a class.
    """
    names = [str(name) for name in frame]
    scores = _scores(model, frame, task)
    sample = Sample(
        features={name: _plain(frame[name].head(SAMPLE_ROWS)) for name in names},
        scores=scores[:SAMPLE_ROWS].astype(float).tolist(),
    )
    # float32 has seven digits, so the tolerance grows with the quantity.
    tolerance = TOLERANCE * max(1.0, float(np.abs(scores).max())) if task.kind == "regression" else TOLERANCE

    def write(form: Any, content: bytes, reason: str) -> Predictor:
        bundle = Bundle(
            format=form,
            reason=reason,
            file=f"model.{form}",
            sha256="",
            features=names,
            sample=sample,
            task=task,
            tolerance=tolerance,
        )
        bundle.sha256 = bundle_digest(bundle, content)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / bundle.file).write_bytes(content)
        (folder / "bundle.json").write_text(bundle.model_dump_json(indent=1), encoding="utf-8")
        return Predictor(folder, bundle.sha256, names, task)

    if isinstance(model, Pretrained):
        reason = f"served through MLflow: {model.address} holds no scikit-learn pipeline of these features"
        return write("pyfunc", _archive(model.folder), reason).bundle
    # If the conversion or the proof fails for any reason, the next format is tried.
    try:
        content = _to_onnx(model, frame)
        converted = write("onnx", content, "to be proven").scores(_arrays(frame))
        reason = prove_equal(converted, scores, decide, tolerance)
        return write("onnx", content, reason).bundle
    except Exception as error:
        (folder / "model.onnx").unlink(missing_ok=True)
        reason = f"not served as ONNX: {_summary(error)}"
    try:
        return write("skops", skops.io.dumps(model), reason).bundle
    except Exception as error:
        (folder / "model.skops").unlink(missing_ok=True)
        reason += f"; nor as skops, but through MLflow, which runs code when it is loaded: {_summary(error)}"
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model"
        mlflow.sklearn.save_model(model, str(saved), **mlflow_options(model, frame, task))
        return write("pyfunc", _archive(saved), reason).bundle


def mlflow_options(model: Any, frame: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Return the arguments of `mlflow.sklearn.log_model` for a pipeline: as skops if possible, else as cloudpickle."""
    answer = "predict" if task.kind == "regression" else "predict_proba"
    options = {
        "pyfunc_predict_fn": answer,
        "signature": mlflow.models.infer_signature(frame.head(), getattr(model, answer)(frame.head())),
        "pip_requirements": [f"scikit-learn=={sklearn.__version__}", f"skops=={skops.__version__}", "pandas"],
    }
    try:
        content = skops.io.dumps(model)
        # This process has just written the content. Another process that loads it decides which types to trust.
        types = skops.io.get_untrusted_types(data=content)
        skops.io.loads(content, trusted=types)
    except Exception:  # skops cannot write the pipeline, or cannot read it again
        return options | {"serialization_format": mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE}
    return options | {"skops_trusted_types": types}


def _scores(model: Any, frame: pd.DataFrame, task: Task) -> NDArray:
    scores = model.scores(frame) if isinstance(model, Pretrained) else pipeline_scores(model, frame, task)
    if not np.isfinite(scores).all():
        raise ModelMismatch("the model's scores are not all finite numbers")
    if task.kind != "regression" and not ((scores >= 0) & (scores <= 1)).all():
        raise ModelMismatch("the model's scores are not probabilities: they are not all between 0 and 1")
    return scores


def _to_onnx(model: Any, frame: pd.DataFrame) -> bytes:
    inputs = [
        (name, (FloatTensorType if is_numeric_dtype(frame[name]) else StringTensorType)([None, 1])) for name in frame
    ]
    converters.register()
    converted = to_onnx(
        model,
        initial_types=inputs,
        options=None if is_regressor(model) else {id(model): {"zipmap": False}},
        target_opset={"": 19, "ai.onnx.ml": 3},  # the newest versions that the converters of all libraries support
    )
    text.take_texts_out(converted)
    return converted.SerializeToString()


def _archive(folder: Path) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(file, file.relative_to(folder))
    return content.getvalue()


def _summary(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _arrays(frame: pd.DataFrame) -> dict[str, NDArray]:
    return {str(name): frame[name].to_numpy() for name in frame}


def _plain(values: pd.Series) -> list[Any]:
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]
