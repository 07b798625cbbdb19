"""Packs a trained pipeline for serving: as ONNX where that is proven equal, as the pipeline itself where it is not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType

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
    converted = to_onnx(model, initial_types=inputs, options={id(model): {"zipmap": False}})
    return converted.SerializeToString()


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
