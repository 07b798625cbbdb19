"""Calls the functions of `use_case/decision.py`; no other module calls them, so all pass the same arguments.

A function that has a parameter `rows` is also given the rows' columns as raw values. Its signature is read once.
"""

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from groundwork.core.errors import UnknownColumn, UseCaseError
from groundwork.core.windows import local_time
from groundwork.documents.contract.column import Column
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.use_case_files import FUNCTIONS
from groundwork.models.serving.predictor import MISSING_TEXT
from groundwork.store.columns import LoggedColumn
from use_case import decision

Worth = Mapping[str, float]
_TAKES = FUNCTIONS["decision.py"]


class Rows(Mapping[str, NDArray]):
    """The columns of some rows as raw values: one array per column, made when it is first asked for.

    The columns are `Dataset.decision_columns`. Numbers are float64 with NaN for a missing value. Integers are int64,
    texts and booleans objects and bool; where a value may be missing, integers are float64 with NaN, and a missing text
    or boolean is None. Timestamps are datetime64[us] with NaT, local times of the contract's zone. The arrays cannot be
    written to.
    """

    def __init__(self, columns: Sequence[Column], read: Callable[[str], Any]) -> None:
        """`read` returns a column's raw values, by its name: a sequence, an array, or a column of Arrow or the log."""
        self._columns = {column.name: column for column in columns}
        self._read = read
        self._made: dict[str, NDArray] = {}

    def __getitem__(self, name: str) -> NDArray:
        if name not in self._made:
            if name not in self._columns:
                raise UnknownColumn(
                    f"src/use_case/decision.py: rows has no column {name!r}; it has {', '.join(self._columns)}"
                )
            self._made[name] = _raw(self._read(name), self._columns[name])
            self._made[name].flags.writeable = False
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def asked(self) -> list[str]:
        """The names of the columns that were asked for."""
        return list(self._made)

    def part(self, rows: NDArray) -> "Rows":
        """Return the rows at these row numbers."""
        return Rows(list(self._columns.values()), lambda name: self[name][rows])


NO_ROWS = Rows((), lambda name: ())


def rows_of_inputs(columns: Mapping[str, NDArray], dataset: Dataset, others: Rows) -> Rows:
    """Return the rows of these inputs of a model; a column that is no feature is repeated from `others`."""
    features = {column.name: column for column in dataset.features}

    def read(name: str) -> Any:
        if name not in columns:
            return np.resize(others[name], len(next(iter(columns.values()))))
        column, inputs = features[name], columns[name].tolist()
        if column.logical_type == "string":
            return inputs if column.needed else [None if each == MISSING_TEXT else each for each in inputs]
        kind: Any = {"integer": int, "boolean": bool}.get(column.logical_type, float)
        return [kind(each) if math.isfinite(each) else None for each in inputs]

    return Rows(dataset.decision_columns, read)


def use_rows() -> bool:
    """Whether a function of `use_case/decision.py` is given the rows.

    Raises UseCaseError if a function is missing or takes other arguments.
    """
    given = [_takes_rows(_function(name), name) for name in _TAKES]
    return any(given)


def decide(scores: NDArray[np.float32], worth: Worth, rows: Rows) -> NDArray[np.str_]:
    """Return one decision per row, by the use case's `decide`. Raises UseCaseError for another number of decisions."""
    return _one_per_row("decide", len(scores), (scores, worth), rows)


def without_model(columns: Mapping[str, NDArray], rows: Rows) -> NDArray[np.str_]:
    """Return one decision per row, by the use case's `without_model`. `columns` are the model's inputs."""
    return _one_per_row("without_model", len(next(iter(columns.values()))), (columns,), rows)


def value(decisions: NDArray[np.str_], outcomes: NDArray, worth: Worth, rows: Rows) -> NDArray[np.float64]:
    """Return the money that each decision made, by the use case's `value`.

    Raises UseCaseError for another number of values, or for a value that is not a finite number.
    """
    found = _one_per_row("value", len(decisions), (decisions, outcomes, worth), rows)
    try:
        money = found.astype(np.float64)
    except (TypeError, ValueError):
        money = np.full(len(found), np.nan)
    broken = ~np.isfinite(money)
    if broken.any():
        raise UseCaseError(
            f"src/use_case/decision.py: value() returns no finite number for {broken.sum():,} of {len(money):,} rows, "
            f"first for row {int(broken.argmax()):,}; a missing value in `rows` is NaN or None"
        )
    return money


def _one_per_row(name: str, count: int, arguments: tuple[Any, ...], rows: Rows) -> NDArray:
    function = _function(name)
    found = np.asarray(function(*arguments, rows=rows) if _takes_rows(function, name) else function(*arguments))
    if found.shape != (count,):
        raise UseCaseError(
            f"src/use_case/decision.py: {name}() returns an array of the shape {found.shape} for {count:,} rows; "
            f"required: ({count},)"
        )
    return found


def _function(name: str) -> Callable[..., Any]:
    function = getattr(decision, name, None)
    if not callable(function):
        raise UseCaseError(f"src/use_case/decision.py has no function {name}({', '.join(_TAKES[name])})")
    return function


@cache
def _takes_rows(function: Callable[..., Any], name: str) -> bool:
    """Whether the function has a parameter `rows`. Raises UseCaseError if it cannot be called."""
    taken, given = inspect.signature(function), _TAKES[name]
    for rows in ({"rows": None}, {}):
        try:
            taken.bind(*given, **rows)
        except TypeError:
            continue
        return bool(rows)
    raise UseCaseError(
        f"src/use_case/decision.py: {name}{taken} takes other arguments; required: {name}({', '.join(given)}), "
        f"or {name}({', '.join(given)}, *, rows)"
    )


def _raw(values: Any, column: Column) -> NDArray:
    if isinstance(values, np.ndarray):
        return values
    if isinstance(values, LoggedColumn):
        if column.logical_type == "number":
            return values.floats()
        values = values.tolist()
    if hasattr(values, "to_pylist"):  # an Arrow column; pyarrow is missing in the service
        values = values.to_pylist()
    complete = column.needed and not any(value is None for value in values)
    if column.logical_type == "timestamp":
        moments = (datetime.fromisoformat(value) if isinstance(value, str) else value for value in values)
        local = [None if moment is None else local_time(moment, column.zone) for moment in moments]
        return np.array(local, dtype="datetime64[us]")
    if column.logical_type == "number" or (column.logical_type == "integer" and not complete):
        return np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    if column.logical_type == "integer":
        fits = all(abs(value) < 2**63 for value in values)
        return np.array(values, dtype=np.int64 if fits else np.float64)
    return np.array(values, dtype=bool if complete and column.logical_type == "boolean" else object)
