"""Converters of soft voting, infrequent categories and indicators of missing numbers.

skl2onnx 1.20 refuses soft voting, leaves the indicators out, and does not know an unseen category as an infrequent one.
"""

import copy
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx import update_registered_converter
from skl2onnx._supported_operators import get_model_alias
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from skl2onnx.operator_converters.common import concatenate_variables
from skl2onnx.operator_converters.imputer_op import convert_sklearn_imputer
from skl2onnx.operator_converters.one_hot_encoder import convert_sklearn_one_hot_encoder
from skl2onnx.shape_calculators.imputer import calculate_sklearn_imputer_output_shapes
from skl2onnx.shape_calculators.one_hot_encoder import calculate_sklearn_one_hot_encoder_output_shapes
from skl2onnx.shape_calculators.voting_classifier import voting_classifier_shape_calculator
from sklearn.ensemble import VotingClassifier
from sklearn.impute import MissingIndicator, SimpleImputer
from sklearn.preprocessing import OneHotEncoder

from groundwork.models.packaging.tree_converters import ZIPMAP, add, add_labels, constant


def register() -> None:
    """Register the converters of VotingClassifier, OneHotEncoder, SimpleImputer and MissingIndicator."""
    shapes = voting_classifier_shape_calculator
    update_registered_converter(VotingClassifier, "SklearnVotingClassifier", shapes, _convert_voting, options=ZIPMAP)
    update_registered_converter(OneHotEncoder, "SklearnOneHotEncoder", _shapes_of_encoder, _convert_encoder)
    update_registered_converter(SimpleImputer, "SklearnSimpleImputer", _shapes_of_imputer, _convert_imputer)
    update_registered_converter(
        MissingIndicator, "GroundworkMissingIndicator", _shapes_of_indicator, _convert_indicator
    )


def _convert_voting(scope: Any, operator: Any, container: Any) -> None:
    """Add the mean of the voters' probabilities to the graph: their sum, divided at the end, as scikit-learn does."""
    model = operator.raw_operator
    if model.voting != "soft":
        raise NotImplementedError("VotingClassifier: hard voting gives no probabilities")
    weights = model._weights_not_none or [1.0] * len(model.estimators_)
    voted = []
    for voter, weight in zip(model.estimators_, weights, strict=True):
        probabilities = _part(scope, operator, voter, Int64TensorType(), FloatTensorType())
        factor = constant(scope, container, TensorProto.FLOAT, [float(weight)])
        voted.append(add(scope, container, "Mul", [probabilities, factor]))
    label, mean = (output.full_name for output in operator.outputs)
    total = constant(scope, container, TensorProto.FLOAT, [float(sum(weights))])
    add(scope, container, "Div", [add(scope, container, "Sum", voted), total], mean)
    add_labels(scope, container, mean, label, model.classes_)


def _part(scope: Any, operator: Any, model: Any, *types: Any) -> str:
    """Add a model that reads the inputs of `operator` to the graph, and return the name of its last output."""
    part = scope.declare_local_operator(get_model_alias(type(model)), model)
    part.inputs = operator.inputs
    for kind in types:
        part.outputs.append(scope.declare_local_variable("part", kind))
    return str(part.outputs[-1].full_name)


def _shapes_of_encoder(operator: Any) -> None:
    calculate_sklearn_one_hot_encoder_output_shapes(operator)
    operator.outputs[0].type.shape[1] = sum(operator.raw_operator._n_features_outs)


def _convert_encoder(scope: Any, operator: Any, container: Any) -> None:
    """Add a OneHotEncoder to the graph, also one that puts infrequent categories together."""
    encoder = operator.raw_operator
    if not encoder._infrequent_enabled:
        return convert_sklearn_one_hot_encoder(scope, operator, container)
    encoded = []
    columns = [(each, place) for each in operator.inputs for place in range(each.type.shape[1])]
    for number, (variable, place) in enumerate(columns):
        groups, unknown, kept = _groups(encoder, number)
        keys = "keys_strings" if isinstance(variable.type, StringTensorType) else "keys_floats"
        label: dict[str, Any] = {keys: list(groups), "values_int64s": list(groups.values()), "default_int64": unknown}
        here, wanted = (constant(scope, container, TensorProto.INT64, each) for each in ([place], kept))
        column = add(scope, container, "Gather", [variable.full_name, here], axis=1)
        group = add(scope, container, "LabelEncoder", [column], op_domain="ai.onnx.ml", op_version=2, **label)
        encoded.append(add(scope, container, "Equal", [group, wanted]))
    [output] = operator.outputs
    together = add(scope, container, "Concat", encoded, axis=1)
    kind = TensorProto.INT64 if isinstance(output.type, Int64TensorType) else TensorProto.FLOAT
    add(scope, container, "Cast", [together], output.full_name, to=kind)


def _groups(encoder: Any, number: int) -> tuple[dict[Any, int], int, list[int]]:
    """Return the group of each category of a column, the group of unknown ones, and the groups that get a column."""
    categories, groups = encoder.categories_[number], encoder._default_to_infrequent_mappings[number]
    unknown = -1
    if groups is None:
        groups = np.arange(len(categories))
    elif encoder.handle_unknown in ("infrequent_if_exist", "warn"):
        unknown = int(groups.max())  # the infrequent categories are the last group
    dropped = None if encoder._drop_idx_after_grouping is None else encoder._drop_idx_after_grouping[number]
    kept = [group for group in range(groups.max() + 1) if group != dropped]
    return dict(zip(categories.tolist(), groups.tolist(), strict=True)), unknown, kept


def _shapes_of_imputer(operator: Any) -> None:
    calculate_sklearn_imputer_output_shapes(operator)
    if operator.raw_operator.add_indicator:
        operator.outputs[0].type.shape[1] += len(operator.raw_operator.indicator_.features_)


def _convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """Add a SimpleImputer to the graph, also one that adds columns which say what was missing."""
    imputer = operator.raw_operator
    if not imputer.add_indicator:
        return convert_sklearn_imputer(scope, operator, container)
    alone = copy.copy(imputer)
    alone.add_indicator = False
    parts = [_part(scope, operator, each, FloatTensorType()) for each in (alone, imputer.indicator_)]
    add(scope, container, "Concat", parts, operator.outputs[0].full_name, axis=1)


def _shapes_of_indicator(operator: Any) -> None:
    operator.outputs[0].type = FloatTensorType([None, len(operator.raw_operator.features_)])


def _convert_indicator(scope: Any, operator: Any, container: Any) -> None:
    """Add columns that are 1 where a number is missing, and 0 elsewhere, to the graph."""
    indicator = operator.raw_operator
    numbers = all(isinstance(each.type, FloatTensorType) for each in operator.inputs)
    if not numbers or not np.isnan(indicator.missing_values):
        raise NotImplementedError("MissingIndicator: only missing numbers (NaN) can be converted")
    rows = concatenate_variables(scope, operator.inputs, container)
    wanted = constant(scope, container, TensorProto.INT64, indicator.features_.tolist())
    missing = add(scope, container, "Gather", [add(scope, container, "IsNaN", [rows]), wanted], axis=1)
    add(scope, container, "Cast", [missing], operator.outputs[0].full_name, to=TensorProto.FLOAT)
