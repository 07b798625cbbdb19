"""Converters of trees that equal scikit-learn and LightGBM in every branch, in place of those of skl2onnx.

In those of skl2onnx 1.20 and onnxmltools 1.16, trees and forests send every missing value to the right, thresholds of
histogram gradient boosting and LightGBM are rounded to the nearest float32, so that a value on one may take the other
branch, and the inverse link of poisson and gamma is left out.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto
from skl2onnx import update_registered_converter
from skl2onnx.common._registration import get_converter, get_shape_calculator
from skl2onnx.common.shape_calculator import (
    calculate_linear_classifier_output_shapes,
    calculate_linear_regressor_output_shapes,
)
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

Convert = Callable[[Any, Any, Any], None]

_CLASSIFIERS = (DecisionTreeClassifier, ExtraTreeClassifier, RandomForestClassifier, ExtraTreesClassifier)
_REGRESSORS = (DecisionTreeRegressor, ExtraTreeRegressor, RandomForestRegressor, ExtraTreesRegressor)
ZIPMAP = {"zipmap": [True, False, "columns"], "nocl": [True, False]}
_SEVERAL = "Groundwork converts trees with one outcome only"


def register() -> None:
    """Register the converters of scikit-learn's trees, forests and histogram gradient boosting."""
    if getattr(get_converter("SklearnRandomForestClassifier"), "_fct", None) is _convert_forest:
        return
    for kind in _CLASSIFIERS:
        shapes = calculate_linear_classifier_output_shapes
        update_registered_converter(kind, f"Sklearn{kind.__name__}", shapes, _convert_forest, options=ZIPMAP)
    for kind in _REGRESSORS:
        shapes = calculate_linear_regressor_output_shapes
        update_registered_converter(kind, f"Sklearn{kind.__name__}", shapes, _convert_forest)
    for kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor):
        name = f"Sklearn{kind.__name__}"
        replaced = get_converter(name)
        update_registered_converter(
            kind,
            name,
            get_shape_calculator(name),
            with_exact_thresholds(replaced, _thresholds_of_boosting),
            options=replaced.get_allowed_options(),
        )


def with_exact_thresholds(convert: Convert, thresholds: Callable[[Any], NDArray] | None = None) -> Convert:
    """Return the converter, with each threshold rounded down to a float32: then x <= threshold holds for the same x.

    The thresholds are taken from the model by `thresholds`, in the order of the nodes, if `convert` has rounded them.
    """

    def exactly(scope: Any, operator: Any, container: Any) -> None:
        model, add = operator.raw_operator, container.add_node

        def adding(op_type: str, inputs: Any, outputs: Any, **attributes: Any) -> None:
            if not op_type.startswith("TreeEnsemble"):
                return add(op_type, inputs, outputs, **attributes)
            values = attributes["nodes_values"] if thresholds is None else thresholds(model)
            rounded_down = np.array([mode == "BRANCH_LEQ" for mode in attributes["nodes_modes"]])
            attributes["nodes_values"] = np.where(rounded_down, _below(values), np.float32(values))
            tracks = attributes["nodes_missing_value_tracks_true"]
            attributes["nodes_missing_value_tracks_true"] = np.asarray(tracks, dtype=np.int64)
            if type(getattr(model, "_loss", None)).__name__ in ("HalfPoissonLoss", "HalfGammaLoss"):
                raw = scope.get_unique_variable_name("raw")
                add(op_type, inputs, [raw], **attributes)
                return add("Exp", [raw], outputs, name=scope.get_unique_operator_name("inverse_link"))
            return add(op_type, inputs, outputs, **attributes)

        container.add_node = adding
        try:
            convert(scope, operator, container)
        finally:
            container.add_node = add

    return exactly


def _below(values: Any) -> NDArray[np.float32]:
    """Return, per number, the largest float32 that is not greater."""
    exact = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore"):
        nearest = exact.astype(np.float32)
    return np.where(nearest > exact, np.nextafter(nearest, np.float32(-np.inf)), nearest)


def _thresholds_of_boosting(model: Any) -> NDArray:
    nodes = np.concatenate([tree.nodes for trees in model._predictors for tree in trees])
    return np.where(nodes["is_leaf"], 0.0, nodes["num_threshold"])


def _convert_forest(scope: Any, operator: Any, container: Any) -> None:
    """Add a tree, or the mean of a forest's trees, to the graph.

    The trees are added up first and divided at the end, as scikit-learn does. So a share of trees such as 30 of 100 is
    the same number in both, also where a decision begins at 0.3.
    """
    model = operator.raw_operator
    trees = [each.tree_ for each in getattr(model, "estimators_", [model])]
    if model.n_outputs_ != 1:
        raise NotImplementedError(_SEVERAL)
    classes = getattr(model, "classes_", None)
    sizes = [tree.node_count for tree in trees]
    number, node = np.repeat(np.arange(len(trees)), sizes), np.concatenate([np.arange(size) for size in sizes])
    left, right, feature, threshold, to_left = (
        np.concatenate([getattr(tree, name) for tree in trees])
        for name in ("children_left", "children_right", "feature", "threshold", "missing_go_to_left")
    )
    inner = left >= 0
    weights = np.concatenate([tree.value[:, 0, :] for tree in trees])[~inner]
    if classes is not None and len(classes) == 2:
        weights = weights[:, 1:]  # the other probability is the rest
    width = weights.shape[1]
    [rows] = operator.inputs
    total = add(
        scope,
        container,
        "TreeEnsembleRegressor",
        [add(scope, container, "Cast", [rows.full_name], to=TensorProto.FLOAT)],
        op_domain="ai.onnx.ml",
        op_version=1,
        n_targets=width,
        nodes_treeids=number,
        nodes_nodeids=node,
        nodes_featureids=np.where(inner, feature, 0),
        nodes_modes=np.where(inner, "BRANCH_LEQ", "LEAF").tolist(),
        nodes_values=np.where(inner, _below(threshold), np.float32(0)),
        nodes_truenodeids=np.where(inner, left, 0),
        nodes_falsenodeids=np.where(inner, right, 0),
        nodes_missing_value_tracks_true=np.where(inner, to_left, 0).astype(np.int64),
        nodes_hitrates=np.ones(len(node), dtype=np.float32),
        target_treeids=np.repeat(number[~inner], width),
        target_nodeids=np.repeat(node[~inner], width),
        target_ids=np.tile(np.arange(width), int((~inner).sum())),
        target_weights=weights.astype(np.float32).ravel(),
    )
    count = constant(scope, container, TensorProto.FLOAT, [float(len(trees))])
    if classes is None:
        add(scope, container, "Div", [total, count], operator.outputs[0].full_name)
        return
    label, probabilities = (output.full_name for output in operator.outputs)
    if width == len(classes):
        add(scope, container, "Div", [total, count], probabilities)
    else:
        one = constant(scope, container, TensorProto.FLOAT, [1.0])
        mean = add(scope, container, "Div", [total, count])
        add(scope, container, "Concat", [add(scope, container, "Sub", [one, mean]), mean], probabilities, axis=1)
    add_labels(scope, container, probabilities, label, classes)


def add_labels(scope: Any, container: Any, probabilities: str, label: str, classes: Any) -> None:
    """Add the likeliest class of each row, under the name `label`, to the graph."""
    texts = all(isinstance(each, str) for each in classes)
    kind, known = (TensorProto.STRING, list(classes)) if texts else (TensorProto.INT64, [int(each) for each in classes])
    likeliest = add(scope, container, "ArgMax", [probabilities], axis=1, keepdims=0)
    add(scope, container, "Gather", [constant(scope, container, kind, known), likeliest], label)


def add(scope: Any, container: Any, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
    """Add a node with one output to the graph, and return the output's name: `output`, or else a new one."""
    output = output or str(scope.get_unique_variable_name(kind.lower()))
    container.add_node(kind, inputs, [output], name=scope.get_unique_operator_name(kind), **attributes)
    return output


def constant(scope: Any, container: Any, kind: int, values: list[Any]) -> str:
    """Add a constant of one dimension to the graph, and return its name."""
    name = str(scope.get_unique_variable_name("constant"))
    container.add_initializer(name, kind, [len(values)], values)
    return name
