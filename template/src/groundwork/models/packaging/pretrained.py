"""A model that was trained elsewhere; `use_case/model.py` gives its MLflow address."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo
from numpy.typing import NDArray
from sklearn.base import is_regressor

from groundwork.core.errors import ModelMismatch
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Dataset
from groundwork.models.serving.predictor import pyfunc_scores

# A version or a model id, but no alias: an alias may point to another model later.
_ADDRESS = re.compile(r"models:/(m-[0-9a-z]+|[^/@]+/[1-9][0-9]*)")

# The MLflow types that can hold all values of a type of the contract, and those that cannot hold a missing value.
_TYPES = {
    "string": ("string",),
    "number": ("double", "float"),
    "integer": ("double", "float", "long", "integer"),
    "boolean": ("double", "float", "long", "integer", "boolean"),
}
_NEVER_MISSING = ("long", "integer", "boolean")


class Pretrained:
    """An MLflow model whose signature fits the contract."""

    def __init__(self, address: str, dataset: Dataset) -> None:
        """Fetch the model at `models:/NAME/VERSION`.

        Raises ModelMismatch if there is no such model, if its signature does not fit the contract, or if it cannot be
        loaded.
        """
        if not _ADDRESS.fullmatch(address):
            raise ModelMismatch(
                f"use_case/model.py: {address!r} is not the address of a model version, such as models:/NAME/3"
            )
        self.address = address
        self._dataset = dataset
        try:
            self.info: ModelInfo = mlflow.models.get_model_info(address)
            self.folder = Path(mlflow.artifacts.download_artifacts(address))
        except MlflowException as error:
            raise ModelMismatch(f"use_case/model.py: {address} cannot be fetched from the registry: {error}") from error
        mistakes = _mistakes(self.info.signature, dataset.features)
        if mistakes:
            raise ModelMismatch(f"{address} does not fit contract.yaml:\n" + "\n".join(mistakes))
        try:
            self._model = mlflow.pyfunc.load_model(str(self.folder))
        except ImportError as error:
            raise ModelMismatch(f"{address} cannot be loaded: {error}; install the packages that it needs") from error

    def scores(self, frame: pd.DataFrame) -> NDArray:
        """Return the scores: shape (rows,), or (rows, classes) for several classes."""
        return pyfunc_scores(self._model, {str(name): frame[name].to_numpy() for name in frame}, self._dataset.task)

    def pipeline(self) -> Any:
        """Return the scikit-learn compatible model inside, which can be converted to ONNX; None if there is none.

        Raises ModelMismatch if its classes are not those of the contract.
        """
        try:
            inside = self._model.get_raw_model()
        except NotImplementedError:
            return None
        if self.info.signature.inputs.input_names() != self._dataset.feature_names:
            return None
        task = self._dataset.task
        if task.kind == "regression":
            return inside if is_regressor(inside) else None
        if not hasattr(inside, "predict_proba"):
            return None
        classes = list(task.classes or (False, True))
        if list(inside.classes_) not in (classes, list(range(len(classes)))):
            raise ModelMismatch(
                f"{self.address} knows the classes {list(inside.classes_)}, contract.yaml has {classes}"
            )
        return inside


def _mistakes(signature: Any, features: Sequence[Column]) -> list[str]:
    """Return where the MLflow signature does not fit the contract's features, one line per mismatch."""
    if signature is None or signature.inputs is None or signature.inputs.is_tensor_spec():
        return ["it has no signature with names and types: log the model with one (mlflow.models.infer_signature)"]
    asked = {column.name: column for column in signature.inputs.inputs}
    given = {feature.name for feature in features}
    mistakes = [
        f"{name}: the model requires it, contract.yaml lacks this feature" for name in asked if name not in given
    ]
    for feature in features:
        column = asked.get(feature.name)
        kind = getattr(getattr(column, "type", None), "name", "any")
        if column is None:
            mistakes.append(f"{feature.name}: a feature of the contract that the model does not take")
        elif kind != "any" and kind not in _TYPES[feature.logical_type]:
            mistakes.append(f"{feature.name}: the contract says {feature.logical_type}, the model requires {kind}")
        elif kind in _NEVER_MISSING and not feature.needed:
            mistakes.append(f"{feature.name}: the contract allows missing values, the model's type {kind} does not")
    return mistakes
