"""Registers converters with skl2onnx: for scikit-learn, LightGBM, XGBoost, and PyTorch through skorch."""

import copy
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from skl2onnx import update_registered_converter
from skl2onnx.common.shape_calculator import calculate_linear_classifier_output_shapes as _shapes_of_classifier
from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes as _shapes_of_regressor
from sklearn.base import BaseEstimator

from groundwork.models.packaging import sklearn_converters, text, tree_converters


def register() -> None:
    """Register the converters of scikit-learn's models, and of the libraries that this process has imported."""
    text.register()
    tree_converters.register()
    sklearn_converters.register()
    if "lightgbm" in sys.modules:
        _register_lightgbm()
    if "xgboost" in sys.modules:
        _register_xgboost()
    if "skorch" in sys.modules:
        _register_skorch()


@contextmanager
def exact_arithmetic(model: Any) -> Iterator[Any]:
    """Yield the model as it computes on the CPU in float32, which is how it is served.

    PyTorch networks in it that are elsewhere, or in another precision, are copied. On other processors, and under
    autocast, PyTorch rounds to fewer digits by default, so their scores are no reference.
    """
    torch = sys.modules.get("torch")
    if torch is None or "skorch" not in sys.modules:
        yield model
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast("cpu", enabled=False):
            yield _on_cpu(model)
    finally:
        torch.set_float32_matmul_precision(before)


def _on_cpu(model: Any) -> Any:
    def as_served(net: Any) -> bool:
        tensors = [*net.module_.parameters(), *net.module_.buffers()]
        return net.device == "cpu" and all(
            each.device.type == "cpu" and (not each.is_floating_point() or each.element_size() == 4) for each in tensors
        )

    if all(map(as_served, _networks(model))):
        return model
    copied = copy.deepcopy(model)
    for net in _networks(copied):
        net.device = "cpu"
        net.module_ = net.module_.cpu().float()
    return copied


def _networks(part: Any) -> Iterator[Any]:
    """Yield the fitted skorch networks in an estimator."""
    from skorch import NeuralNet

    if isinstance(part, NeuralNet):
        if hasattr(part, "module_"):
            yield part
    elif isinstance(part, (list, tuple)):
        for each in part:
            yield from _networks(each)
    elif isinstance(part, BaseEstimator):
        yield from _networks(list(vars(part).values()))


def _register_lightgbm() -> None:
    from lightgbm import LGBMClassifier, LGBMRegressor
    from onnxmltools.convert.lightgbm.operator_converters.LightGbm import convert_lightgbm

    _register_classifier(
        LGBMClassifier, "LightGbmLGBMClassifier", tree_converters.with_exact_thresholds(convert_lightgbm)
    )
    _register_regressor(LGBMRegressor, "LightGbmLGBMRegressor", tree_converters.with_exact_thresholds(convert_lightgbm))


def _register_xgboost() -> None:
    from onnxmltools.convert.xgboost.operator_converters.XGBoost import convert_xgboost
    from xgboost import XGBClassifier, XGBRegressor

    _register_classifier(XGBClassifier, "XGBoostXGBClassifier", convert_xgboost)
    _register_regressor(XGBRegressor, "XGBoostXGBRegressor", convert_xgboost)


def _register_skorch() -> None:
    """Register each subclass too: skl2onnx looks models up by their exact class, and a team may have its own."""
    from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor

    for kind in (*_with_subclasses(NeuralNetClassifier), *_with_subclasses(NeuralNetBinaryClassifier)):
        _register_classifier(kind, f"Skorch{kind.__name__}{id(kind)}", _convert_skorch)
    for kind in _with_subclasses(NeuralNetRegressor):
        _register_regressor(kind, f"Skorch{kind.__name__}{id(kind)}", _convert_skorch)


def _register_classifier(kind: Any, name: str, convert: Any) -> None:
    update_registered_converter(kind, name, _shapes_of_classifier, convert, options=tree_converters.ZIPMAP)


def _register_regressor(kind: Any, name: str, convert: Any) -> None:
    update_registered_converter(kind, name, _shapes_of_regressor, convert)


def _with_subclasses(kind: Any) -> list[Any]:
    return [kind, *(each for subclass in kind.__subclasses__() for each in _with_subclasses(subclass))]


def _convert_skorch(scope: Any, operator: Any, container: Any) -> None:
    """Add the PyTorch module, with skorch's conversion to probabilities, to the ONNX graph of the pipeline."""
    import torch
    from skl2onnx.helpers import add_onnx_graph
    from skorch import NeuralNetBinaryClassifier, NeuralNetRegressor

    net = operator.raw_operator

    class Answer(torch.nn.Module):
        """Returns the class and the probabilities, as `predict` and `predict_proba` do, or the quantity."""

        def __init__(self) -> None:
            super().__init__()
            self.module = copy.deepcopy(net.module_).cpu().float()
            self.to_probabilities = net._get_predict_nonlinearity()

        def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, ...]:
            answer = self.module(rows)
            answer = answer[0] if isinstance(answer, tuple) else answer
            if isinstance(net, NeuralNetRegressor):
                return (answer.reshape(-1, 1),)
            if isinstance(net, NeuralNetBinaryClassifier):
                answer = answer.reshape(-1)
            probabilities = self.to_probabilities(answer)
            return probabilities.argmax(1), probabilities

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # hide its notes about optional packages
    [rows] = operator.inputs
    exported = torch.onnx.export(
        Answer().eval(),
        (torch.zeros(2, rows.type.shape[1]),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        opset_version=container.target_opset,
        verbose=False,
    )
    add_onnx_graph(scope, operator, container, exported.model_proto)
