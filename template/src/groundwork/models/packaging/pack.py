"""Packs a model for serving: as ONNX if it is proven equal, else as the pipeline in skops, else as an MLflow model."""

import io
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import sklearn
import skops.io
from mlflow.types.schema import AnyType, ColSpec, Schema
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import is_regressor
from sklearn.preprocessing import MaxAbsScaler, RobustScaler, StandardScaler

from groundwork.core.errors import ModelMismatch
from groundwork.documents.contract.column import Column, Task
from groundwork.documents.contract.contract import Dataset
from groundwork.models.evaluation.performance import seconds_of_a_row
from groundwork.models.packaging import converters, text
from groundwork.models.packaging.parity import Decide, compare, prove_equal, summary
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.packaging.probes import probes
from groundwork.models.serving.predictor import (
    FORMAT_VERSIONS,
    TOLERANCE,
    Bundle,
    Predictor,
    Sample,
    bundle_digest,
    onnx_scores,
    pipeline_scores,
    score_method,
)

SAMPLE_ROWS = 20
TIMED_ROWS = 30  # rows that are timed, one by one


def pack(model: Any, windows: Mapping[str, pd.DataFrame], decide: Decide, folder: Path, dataset: Dataset) -> Bundle:
    """Write the serving bundle of `model`, a fitted pipeline or a Pretrained, into `folder`, and return it.

    `windows` holds rows by the name of their window, the evaluation window first; empty ones are ignored. The ONNX
    model is used only if its scores are within the tolerance of the pipeline's and lead to the same decisions, on all
    rows of the windows and on the other rows that `probes` makes from them and the contract. Otherwise the bundle holds
    the pipeline, as skops if skops trusts every type in it, else as an MLflow model, which runs its own code when it is
    loaded. `Bundle.reason` says why, what the service then needs, and what a row costs. Raises ModelMismatch if the
    scores of the first window are not finite, or not probabilities although the outcome is a class.
    """
    windows = {name: frame for name, frame in windows.items() if len(frame)}
    with converters.exact_arithmetic(model) as model:
        return _pack(model, windows, decide, folder, dataset)


def _pack(model: Any, windows: Mapping[str, pd.DataFrame], decide: Decide, folder: Path, dataset: Dataset) -> Bundle:
    task, frame = dataset.task, next(iter(windows.values()))
    scores = _scores(model, frame, task)
    scale = float(np.abs(scores).max()) if task.kind == "regression" else None
    names = [str(name) for name in frame]
    sample = Sample(
        features={name: _plain(frame[name].head(SAMPLE_ROWS)) for name in names},
        scores=scores[:SAMPLE_ROWS].astype(float).tolist(),
    )

    def write(form: Any, content: bytes, reason: str = "") -> Bundle:
        bundle = Bundle(
            format_version=FORMAT_VERSIONS[-1],
            format=form,
            reason=reason,
            file=f"model.{form}",
            sha256="",
            features=names,
            sample=sample,
            task=task,
            # float32 has seven digits, so the tolerance grows with the quantity.
            tolerance=TOLERANCE * max(1.0, scale or 0.0),
        )
        bundle.sha256 = bundle_digest(bundle, content)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / bundle.file).write_bytes(content)
        (folder / "bundle.json").write_text(bundle.model_dump_json(indent=1), encoding="utf-8")
        return bundle

    def load(form: Any, content: bytes) -> Predictor:
        return Predictor(folder, write(form, content).sha256, names, task)

    def served(form: Any, content: bytes, predictor: Predictor, how: str) -> Bundle:
        """Write the bundle with its reason, `how`, in which {cost} stands for the cost of a row."""
        return write(
            form,
            content,
            how.replace("{cost}", f"{seconds_of_a_row(predictor, _arrays(frame), TIMED_ROWS) * 1e6:,.0f} µs of CPU"),
        )

    def through_mlflow(saved: Path, why: str) -> Bundle:
        content = _archive(saved)
        return served("pyfunc", content, load("pyfunc", content), f"{THROUGH_MLFLOW}. {why}")

    if isinstance(model, Pretrained):
        return through_mlflow(model.folder, f"{model.address} holds no scikit-learn pipeline of these features")
    # If the conversion or the proof fails for any reason, the next format is tried.
    try:
        content = _to_onnx(model, frame)
        converted = onnx_scores(content, task)
        made = compare(
            probes(windows, dataset.features, content),
            lambda rows: pipeline_scores(model, rows, task),
            lambda rows: converted(_arrays(rows)),
            decide,
            scale,
        )
        proof = prove_equal(made)
        return served("onnx", content, load("onnx", content), f"{proof}; a row alone costs {{cost}}")
    except Exception as error:
        (folder / "model.onnx").unlink(missing_ok=True)
        why = f"Not as ONNX: {summary(error)}"
    try:
        content = skops.io.dumps(model)
        return served("skops", content, load("skops", content), f"{AS_SKOPS}. {why}")
    except Exception as error:
        (folder / "model.skops").unlink(missing_ok=True)
        why += f". Nor as skops: {summary(error)}"
    with tempfile.TemporaryDirectory() as temporary:
        saved = Path(temporary) / "model"
        exact_types = mlflow.models.infer_signature(frame.head(), scores[: len(frame.head())])
        mlflow.sklearn.save_model(
            model, str(saved), **mlflow_options(model, frame, dataset) | {"signature": exact_types}
        )
        return through_mlflow(saved, why)


AS_SKOPS = (
    "served as the scikit-learn pipeline itself (skops): a row alone costs {cost}, and the service needs the "
    "dependency group `pipeline`, and `use-case` if the model's library is in it"
)
THROUGH_MLFLOW = (
    "served through MLflow, which runs code when it is loaded: a row alone costs {cost}, and the service needs the "
    "dependency groups `pipeline` and `use-case`"
)


def mlflow_options(model: Any, frame: pd.DataFrame, dataset: Dataset) -> dict[str, Any]:
    """Return the arguments of `mlflow.sklearn.log_model` for a pipeline: as skops if possible, else as cloudpickle.

    The signature accepts the rows that the snapshots hold.
    """
    answer = score_method(dataset.task)
    answered = mlflow.models.infer_signature(None, getattr(model, answer)(frame.head()))
    asked = Schema([ColSpec(_mlflow_type(column), column.name) for column in dataset.features])
    options = {
        "pyfunc_predict_fn": answer,
        "signature": mlflow.models.ModelSignature(asked, answered.outputs),
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


_ANY: Any = AnyType()  # type: ignore[no-untyped-call]


def _mlflow_type(column: Column) -> Any:
    """Return the MLflow type that accepts the column as pandas reads it from the snapshots.

    There, integers and booleans have another type in a batch that lacks one, and MLflow converts neither.
    """
    if column.logical_type in ("integer", "boolean"):
        return {"integer": "long", "boolean": "boolean"}[column.logical_type] if column.needed else _ANY
    return {"string": "string", "number": "double"}[column.logical_type]


def _scores(model: Any, frame: pd.DataFrame, task: Task) -> NDArray:
    scores = model.scores(frame) if isinstance(model, Pretrained) else pipeline_scores(model, frame, task)
    if not np.isfinite(scores).all():
        raise ModelMismatch("the model's scores are not all finite numbers")
    if task.kind != "regression" and not ((scores >= 0) & (scores <= 1)).all():
        raise ModelMismatch("the model's scores are not probabilities: they are not all between 0 and 1")
    return scores


# As scikit-learn does: a product with the reciprocal is another float32, which matters to a tree behind it.
_DIVIDE = {scaler: {"div": "div"} for scaler in (StandardScaler, RobustScaler, MaxAbsScaler)}


def _to_onnx(model: Any, frame: pd.DataFrame) -> bytes:
    inputs = [
        (name, (FloatTensorType if is_numeric_dtype(frame[name]) else StringTensorType)([None, 1])) for name in frame
    ]
    converters.register()
    converted = to_onnx(
        model,
        initial_types=inputs,
        options=({} if is_regressor(model) else {id(model): {"zipmap": False}}) | _DIVIDE,
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


def _arrays(frame: pd.DataFrame) -> dict[str, NDArray]:
    return {str(name): frame[name].to_numpy() for name in frame}


def _plain(values: pd.Series) -> list[Any]:
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]
