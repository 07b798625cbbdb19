"""Packs a trained pipeline for serving: as ONNX where that is proven equal, as the pipeline itself where it is not."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from skl2onnx import to_onnx, update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes as _output_shapes

from groundwork.predictor import TOLERANCE, Bundle, Predictor, Sample, bundle_digest

SAMPLE_ROWS = 20

Decide = Callable[[NDArray[np.float32]], NDArray[np.str_]]


def pack(model: Any, frame: pd.DataFrame, decide: Decide, folder: Path) -> Bundle:
    """Write the serving bundle of `model` into `folder`.

    The ONNX model is taken only if it answers every row of `frame` (the evaluation window) within TOLERANCE of the
    pipeline and with the same decision; otherwise the bundle holds the pipeline and says why.
    """
    names = [str(name) for name in frame]
    scores = model.predict_proba(frame)[:, 1]
    sample = Sample(
        features={name: _plain(frame[name].head(SAMPLE_ROWS)) for name in names},
        scores=[float(score) for score in scores[:SAMPLE_ROWS]],
    )

    def write(form: Any, content: bytes, reason: str) -> Predictor:
        bundle = Bundle(format=form, reason=reason, file=f"model.{form}", sha256="", features=names, sample=sample)
        bundle.sha256 = bundle_digest(bundle, content)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / bundle.file).write_bytes(content)
        (folder / "bundle.json").write_text(bundle.model_dump_json(indent=1), encoding="utf-8")
        return Predictor(folder, bundle.sha256, names)

    try:
        content = _to_onnx(model, frame)
        reason = _proof(write("onnx", content, "to be proven").scores(_arrays(frame)), scores, decide)
        return write("onnx", content, reason).bundle
    except Exception as error:  # whatever the converter or the proof stumbles over, the pipeline itself can be served
        (folder / "model.onnx").unlink(missing_ok=True)
        summary = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return write("skops", skops.io.dumps(model), f"not served as ONNX: {summary}").bundle


class NotEqual(Exception):
    """The converted model answers otherwise than the pipeline."""


def _to_onnx(model: Any, frame: pd.DataFrame) -> bytes:
    inputs = [
        (name, (FloatTensorType if is_numeric_dtype(frame[name]) else StringTensorType)([None, 1])) for name in frame
    ]
    _register_boosting_converters()
    converted = to_onnx(
        model,
        initial_types=inputs,
        options={id(model): {"zipmap": False}},
        target_opset={"": 19, "ai.onnx.ml": 3},  # the newest that the converters of all libraries agree on
    )
    return converted.SerializeToString()


def _register_boosting_converters() -> None:
    """Teach skl2onnx the models of LightGBM and XGBoost, where they are in use (dependency group `boosting`)."""
    options = {"nocl": [True, False], "zipmap": [True, False, "columns"]}
    if "lightgbm" in sys.modules:
        from lightgbm import LGBMClassifier
        from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

        update_registered_converter(
            LGBMClassifier, "LightGbmLGBMClassifier", _output_shapes, convert_lightgbm, options=options
        )
    if "xgboost" in sys.modules:
        from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
        from xgboost import XGBClassifier

        update_registered_converter(
            XGBClassifier, "XGBoostXGBClassifier", _output_shapes, convert_xgboost, options=options
        )


def _proof(converted: NDArray, original: NDArray, decide: Decide) -> str:
    difference = float(np.abs(converted - original).max())
    changed = int((decide(converted) != decide(original)).sum())
    said = f"largest difference {difference:.1e}, {changed} decisions differ, on {len(original):,} rows"
    if changed or not difference <= TOLERANCE:
        raise NotEqual(said)
    return f"proven equal to the pipeline: {said}"


def _arrays(frame: pd.DataFrame) -> dict[str, NDArray]:
    return {str(name): frame[name].to_numpy() for name in frame}


def _plain(values: pd.Series) -> list[Any]:
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values.tolist()]
