"""Finds the thresholds of the trees in an ONNX model, and makes rows on and beside them."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray

from groundwork.documents.contract.column import Column
from groundwork.models.serving.predictor import onnx_session
from groundwork.models.serving.term_weights import ModelInputs

_NODES = 4_000  # nodes whose thresholds are tried, of all trees together
_BISECTED = 500  # of those behind a scaler or the like, where the value has to be searched for
_COMPARE = {
    "BRANCH_LEQ": np.less_equal,
    "BRANCH_LT": np.less,
    "BRANCH_GTE": np.greater_equal,
    "BRANCH_GT": np.greater,
    "BRANCH_EQ": np.equal,
    "BRANCH_NEQ": np.not_equal,
}


class _Trees(NamedTuple):
    """The nodes of an ONNX tree ensemble, as arrays; children and roots are places in these arrays."""

    source: str  # the tensor that the trees read
    modes: NDArray
    features: NDArray
    values: NDArray
    missing_true: NDArray
    true: NDArray
    false: NDArray
    roots: NDArray


def rows_at_thresholds(graph: bytes, base: pd.DataFrame, features: Sequence[Column]) -> pd.DataFrame:
    """Return rows of `base` in which one number lies on the threshold of a tree's node that the row reaches, or beside.

    Beside means the next float32 on either side; for an integer column, the integers on either side. Nodes that read a
    text, or a mixture of features, are left out. The rows are few if the model has few trees.
    """
    model = onnx.load_from_string(graph)
    ensembles = list(_ensembles(model))
    if not ensembles:
        return base.head(0)
    tensors = _tensors(model, {trees.source for trees in ensembles})
    numbers = [column for column in features if column.logical_type in ("number", "integer")]
    before = tensors(base)
    drivers = _drivers(tensors, base, before, numbers)
    found = [base.head(0)]
    for trees in ensembles:
        read, column_of = before[trees.source], drivers[trees.source]
        nodes, rows = _reached(trees, read)
        usable = np.isin(trees.features[nodes], list(column_of))
        nodes, rows = _thinned(nodes[usable], rows[usable], max(1, _NODES // len(ensembles)))
        for feature in np.unique(trees.features[nodes]):
            column, here = column_of[feature], trees.features[nodes] == feature
            reached, wanted = base.iloc[rows[here]], trees.values[nodes[here]].astype(np.float32)
            if not np.array_equal(read[:, feature], base[column.name].to_numpy(), equal_nan=True):
                most = max(1, _BISECTED * int(here.sum()) // len(nodes) // len(ensembles))
                reached, wanted = reached.iloc[:most], wanted[:most]
                asked = partial(_asked, tensors, (trees.source, feature), reached, column.name)
                wanted = _searched(asked, base[column.name].to_numpy(), wanted)
            found += _beside(reached, wanted, column)
    return pd.concat(found, ignore_index=True)


def _beside(rows: pd.DataFrame, values: NDArray[np.float32], column: Column) -> Iterator[pd.DataFrame]:
    if column.logical_type == "integer":
        tried = [np.floor(values), np.floor(values) + 1]
    else:
        tried = [values, *(np.nextafter(values, np.float32(side)) for side in (-np.inf, np.inf))]
    for each in tried:
        allowed = np.isfinite(each) & within_limits(each, column)
        yield rows[allowed].assign(**{column.name: each[allowed].astype(np.float32)})


def within_limits(values: NDArray, column: Column) -> NDArray[np.bool_]:
    """Return, per number, whether it is within the contract's minimum and maximum of the column."""
    limits = column.logical_type_options
    low = -np.inf if limits.minimum is None else limits.minimum
    high = np.inf if limits.maximum is None else limits.maximum
    return np.asarray((values >= low) & (values <= high))


def _ensembles(model: onnx.ModelProto) -> Iterator[_Trees]:
    for node in model.graph.node:
        if node.op_type not in ("TreeEnsembleClassifier", "TreeEnsembleRegressor"):
            continue
        given: dict[str, Any] = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        keys = list(zip(given["nodes_treeids"], given["nodes_nodeids"], strict=True))
        place = {key: number for number, key in enumerate(keys)}
        inner = np.array([mode != b"LEAF" for mode in given["nodes_modes"]], dtype=bool)
        true, false = (
            np.array([place.get((tree, child), 0) for (tree, _), child in zip(keys, given[name], strict=True)])
            for name in ("nodes_truenodeids", "nodes_falsenodeids")
        )
        is_child = np.zeros(len(keys), dtype=bool)
        is_child[true[inner]] = is_child[false[inner]] = True
        values = given.get("nodes_values")
        if values is None:
            values = onnx.numpy_helper.to_array(given["nodes_values_as_tensor"])
        yield _Trees(
            source=node.input[0],
            modes=np.array([mode.decode() for mode in given["nodes_modes"]]),
            features=np.array(given["nodes_featureids"]),
            values=np.array(values),
            missing_true=np.array(given.get("nodes_missing_value_tracks_true") or np.zeros(len(keys))) == 1,
            true=true,
            false=false,
            roots=np.flatnonzero(~is_child),
        )


def _tensors(model: onnx.ModelProto, names: set[str]) -> Any:
    """Return a function that gives the values of these tensors of the model for a DataFrame of its inputs."""
    for name in names:
        model.graph.node.append(onnx.helper.make_node("Identity", [name], [f"{name}_seen"]))
        model.graph.output.append(onnx.ValueInfoProto(name=f"{name}_seen"))
    session = onnx_session(model.SerializeToString())
    inputs = ModelInputs(session)

    def run(frame: pd.DataFrame) -> dict[str, NDArray]:
        columns = {str(name): frame[name].to_numpy() for name in frame}
        answered = [session.run([f"{name}_seen" for name in names], part) for part in inputs.parts(columns)]
        return {name: np.concatenate(parts) for name, parts in zip(names, zip(*answered, strict=True), strict=True)}

    return run


def _drivers(
    tensors: Any, base: pd.DataFrame, before: dict[str, NDArray], numbers: Sequence[Column]
) -> dict[str, dict[int, Column]]:
    """Return, per tensor, the number that each of its columns depends on, for columns that depend on nothing else.

    `before` holds the tensors for the rows of `base`.
    """
    moved_by: dict[tuple[str, int], list[str]] = {}
    for name in base:
        for source, after in tensors(base.assign(**{str(name): base[name].to_numpy()[::-1]})).items():
            changed = (after != before[source]) & ~(np.isnan(after) & np.isnan(before[source]))
            for place in np.flatnonzero(changed.any(0)).tolist():
                moved_by.setdefault((source, place), []).append(str(name))
    known = {column.name: column for column in numbers}
    found: dict[str, dict[int, Column]] = {source: {} for source in before}
    for (source, place), names in moved_by.items():
        if len(names) == 1 and names[0] in known:
            found[source][place] = known[names[0]]
    return found


def _reached(trees: _Trees, read: NDArray) -> tuple[NDArray, NDArray]:
    """Return the inner nodes that rows reach, and one such row for each."""
    rows = np.arange(len(read))[:, None]
    at = np.tile(trees.roots, (len(read), 1))
    by = np.full(len(trees.modes), -1)
    inner = trees.modes != "LEAF"
    used = set(np.unique(trees.modes)) - {"LEAF"}
    while inner[at].any():
        by[at] = np.where(inner[at], rows, by[at])
        seen = read[rows, trees.features[at]]
        goes = np.isnan(seen) & trees.missing_true[at]
        for mode in used:
            goes |= (trees.modes[at] == mode) & _COMPARE[mode](seen, trees.values[at])
        at = np.where(inner[at], np.where(goes, trees.true[at], trees.false[at]), at)
    nodes = np.flatnonzero(by >= 0)
    return nodes, by[nodes]


def _thinned(nodes: NDArray, rows: NDArray, most: int) -> tuple[NDArray, NDArray]:
    kept = np.unique(np.linspace(0, len(nodes) - 1, min(most, len(nodes))).astype(int))
    return nodes[kept], rows[kept]


def _asked(tensors: Any, place: tuple[str, int], rows: pd.DataFrame, name: str, values: NDArray) -> NDArray:
    """Return the column of a tensor at `place`, for the rows with these values in the column `name`."""
    source, feature = place
    column: NDArray = tensors(rows.assign(**{name: values}))[source][:, feature]
    return column


def _searched(
    tensor: Callable[[NDArray[np.float32]], NDArray], known: NDArray, wanted: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return, per row, the number between the least and the largest known one at which `tensor` passes `wanted`.

    `tensor` gives the tensor's values for a number per row. NaN if they never pass it.
    """
    known = known[np.isfinite(known)]
    if not len(known):
        return np.full(len(wanted), np.nan, dtype=np.float32)

    def above(places: NDArray[np.int64]) -> NDArray[np.bool_]:
        return np.asarray(tensor(_number(places)) > wanted)

    low, high = (np.full(len(wanted), _place(np.float32(each))) for each in (known.min(), known.max()))
    at_low, at_high = above(low), above(high)
    while (high - low > 1).any():
        middle = (low + high) // 2
        same = above(middle) == at_low
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return np.where(at_low != at_high, _number(low), np.float32(np.nan))


def _place(value: np.float32) -> int:
    """Return the place of a float32 among all of them, so that neighbours differ by 1."""
    bits = int(value.view(np.int32))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFF)


def _number(places: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.where(places >= 0, places, -places | 0x80000000).astype(np.uint32).view(np.float32)
