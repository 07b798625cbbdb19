"""Makes rows that the contract lets in, for the proof that a converted model equals the pipeline."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundwork.documents.contract.column import LONGEST_TEXT, Column
from groundwork.models.evaluation.estimates import SEED
from groundwork.models.packaging.text import hostile_texts
from groundwork.models.packaging.thresholds import rows_at_thresholds, within_limits
from groundwork.models.serving.predictor import MISSING_TEXT

LARGEST_WINDOW = 50_000  # rows of a window other than the newest; more are thinned out evenly
_BASE_ROWS = 1_000  # rows of both windows, in which single values are replaced
_ROWS_PER_KIND = 20_000  # rows that missing values, or numbers, may come to in all; at least 20 a feature
_CATEGORIES = 1_000  # values of a text feature, the rarest first
_MIXED_ROWS = 2_000
_FAR = (10.0, 1e3, 1e6, 1e30)  # times the largest value seen, where the contract has no limit


class Probe(NamedTuple):
    """Rows of one kind, and the kind in words."""

    kind: str
    frame: pd.DataFrame


def probes(
    windows: Mapping[str, pd.DataFrame], features: Sequence[Column], graph: bytes | None
) -> Iterator[list[Probe]]:
    """Yield rows that the contract lets in, in groups that can be scored in one call.

    These are the rows of the windows, by their names; rows in which features that may be missing are, one by one and
    all together; categories that are rare or unseen; the contract's limits, or values far beyond those seen; the values
    of booleans; values mixed from different rows; and values on and beside the thresholds of the trees in the ONNX
    model `graph`.
    """
    for number, (name, frame) in enumerate(windows.items()):
        if len(frame):
            yield [Probe(name, _spread(frame, LARGEST_WINDOW) if number else frame)]
    rows = pd.concat(list(windows.values()), ignore_index=True)
    base = _spread(rows, _BASE_ROWS)
    few = _spread(base, max(20, _ROWS_PER_KIND // max(1, len(features))))
    yield from _grouped(_missing(few, features))
    yield from _grouped(_categories(rows, base, features))
    yield from _grouped(_numbers(rows, few, features))
    yield [Probe("values mixed from different rows", _mixed(rows, features))]
    if graph is not None:
        beside = rows_at_thresholds(graph, base, features)
        if len(beside):
            yield [Probe("values on and beside the thresholds of trees", beside)]


def _grouped(found: Iterator[Probe]) -> Iterator[list[Probe]]:
    group = list(found)
    if group:
        yield group


def _missing(few: pd.DataFrame, features: Sequence[Column]) -> Iterator[Probe]:
    optional = [column for column in features if not column.needed]
    for column in optional:
        yield Probe(f"{column.name} missing", few.assign(**{column.name: missing(column)}))
    if len(optional) > 1:
        everything = {column.name: missing(column) for column in optional}
        yield Probe("every optional feature missing", few.assign(**everything))


def _categories(rows: pd.DataFrame, base: pd.DataFrame, features: Sequence[Column]) -> Iterator[Probe]:
    for column in features:
        if column.logical_type != "string":
            continue
        seen = rows[column.name].value_counts(ascending=True)
        known = [value for value in seen.index if value != MISSING_TEXT][:_CATEGORIES]
        for kind, values in (("", known), (", unseen values", unseen(column, known, set(seen.index)))):
            if values:
                yield Probe(column.name + kind, _replaced(base, column.name, values))


def unseen(column: Column, known: Sequence[str], seen: set[str]) -> list[str]:
    """Return texts that the contract allows in this column and that are not among `seen`; few, or none.

    Without a list of valid values they are made from those in `known`.
    """
    if column.valid_values:
        return [value for value in column.valid_values if value not in seen]
    limits = column.logical_type_options
    longest = column.longest or 0
    made = ["unseen", "Ünseen 未", "0", " ", "x" * min(longest, LONGEST_TEXT), *hostile_texts(known)]
    for value in [*known[:3], *known[-3:]]:
        made += [value.lower(), value.upper(), value + " ", value[::-1], value[::-1].capitalize(), value + value]
    if column.required:
        made.append("")
    return [
        value
        for value in dict.fromkeys(made)
        if value not in seen
        and (limits.min_length or 0) <= len(value) <= longest
        and (limits.pattern is None or re.search(limits.pattern, value))
    ]


def _numbers(rows: pd.DataFrame, few: pd.DataFrame, features: Sequence[Column]) -> Iterator[Probe]:
    for column in features:
        if column.logical_type == "boolean":
            yield Probe(f"{column.name} true and false", _replaced(few, column.name, [0.0, 1.0]))
        if column.logical_type not in ("integer", "number"):
            continue
        known = rows[column.name].to_numpy(np.float64)
        known = known[np.isfinite(known)]
        low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
        limits = column.logical_type_options
        far = max(abs(low), abs(high), 1.0) * np.array(_FAR)
        near, beyond = [low, high, *np.linspace(low, high, 9)], [*-far, *far]
        for limit in (limits.minimum, limits.maximum):
            if limit is not None:
                near += [limit, *np.linspace(limit, (low + high) / 2, 5)]
        for kind, values in ((" within and at its limits", near), (" far beyond the values seen (no limit)", beyond)):
            allowed = admitted(np.array(values), column)
            if len(allowed):
                yield Probe(column.name + kind, _replaced(few, column.name, allowed))


def admitted(values: NDArray, column: Column) -> NDArray[np.float32]:
    """Return the numbers that the contract allows in this column, as float32; those of an integer column rounded."""
    found = np.round(values) if column.logical_type == "integer" else values
    allowed: NDArray[np.float32] = np.unique(found[within_limits(found, column)].astype(np.float32))
    return allowed[np.isfinite(allowed)]


def _mixed(rows: pd.DataFrame, features: Sequence[Column]) -> pd.DataFrame:
    """Return rows whose values come from different rows each; in a tenth, a feature that may be missing is."""
    chance = np.random.default_rng(SEED)
    mixed = {}
    for column in features:
        values = rows[column.name].to_numpy()[chance.integers(0, len(rows), _MIXED_ROWS)]
        if not column.needed:
            values[chance.random(_MIXED_ROWS) < 0.1] = missing(column)
        mixed[column.name] = values
    return pd.DataFrame(mixed)


def missing(column: Column) -> str | np.float32:
    """Return what a model gets for a missing value of this column."""
    return MISSING_TEXT if column.logical_type == "string" else np.float32(np.nan)


def _replaced(frame: pd.DataFrame, name: str, values: Sequence[object] | NDArray) -> pd.DataFrame:
    """Return the rows with these values in turn in one column; each value occurs at least once."""
    places = np.arange(max(len(frame), len(values)))
    taken = np.asarray(values, dtype=object if isinstance(values[0], str) else np.float32)[places % len(values)]
    return frame.iloc[places % len(frame)].assign(**{name: taken}).reset_index(drop=True)


def _spread(frame: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return at most so many rows, evenly spread over the frame."""
    return frame if len(frame) <= most else frame.iloc[np.linspace(0, len(frame) - 1, most).astype(int)]
