"""Columns of the prediction log as bytes: one block of compressed bytes holds all columns of a batch.

A block is two bytes, format version and compression, and a MessagePack map of its columns. Values are decoded into
NumPy arrays without a Python object per value, and only those of the columns that are asked for. Integers of up to 64
bits, floating-point numbers, booleans, texts and missing values come back as they were; times are ISO 8601 texts.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from groundwork.core.errors import StoreError

FORMAT_VERSION = 1
FEW = 64  # a shorter column is kept as a plain list: that costs less than an array and its description
PLAIN, ZLIB = 0, 1
SMALL = 1024  # bytes; a smaller block is not compressed: that would cost more than writing it

_encode, _decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
_KINDS: dict[type, str] = {float: "float", int: "int", bool: "bool", str: "text"}
_OF_DTYPE = {"f": "float", "i": "int", "b": "bool"}
_DTYPES: dict[str, Any] = {"float": np.float64, "int": np.int64, "bool": np.bool_}


@dataclass(frozen=True, slots=True, eq=False)
class LoggedColumn:
    """The values of one column: an array, and for texts their bytes; a list if the values have no common type."""

    kind: str  # float, int, bool, text, or any
    values: Any  # an array; of texts, their lengths in bytes; of the kind `any`, a list with None for a missing value
    valid: NDArray[np.bool_] | None = None  # False where a value is missing; None if no value is
    text: bytes = b""  # all texts in UTF-8, one after the other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LoggedColumn) and self.kind == other.kind and self.tolist() == other.tolist()

    def __len__(self) -> int:
        return len(self.values)

    @property
    def empty(self) -> bool:
        """Whether every value is missing."""
        return self.kind == "any" and all(value is None for value in self.values)

    def floats(self) -> NDArray:
        """Returns the values as floating-point numbers, NaN where one is missing. Raises ValueError for a text."""
        if self.kind in ("any", "text"):
            return np.array([np.nan if value is None else value for value in self.tolist()], np.float64)
        found = self.values.astype(np.float64)
        if self.valid is not None:
            found[~self.valid] = np.nan
        return found

    def tolist(self) -> list[Any]:
        """Returns the values as Python objects, None where one is missing."""
        if self.kind == "any":
            return list(self.values)
        found = self._texts() if self.kind == "text" else self.values.tolist()
        if self.valid is None:
            return found
        return [value if there else None for value, there in zip(found, self.valid.tolist(), strict=True)]

    def _texts(self) -> list[str]:
        ends = [0, *np.cumsum(self.values, dtype=np.int64).tolist()]
        whole = self.text.decode()
        if len(whole) == len(self.text):  # ASCII
            return [whole[start:end] for start, end in pairwise(ends)]
        return [self.text[start:end].decode() for start, end in pairwise(ends)]

    def take(self, rows: NDArray) -> "LoggedColumn":
        """Returns the values at these row numbers."""
        if self.kind == "any":
            return LoggedColumn("any", values=[self.values[row] for row in rows.tolist()])
        valid = None if self.valid is None else self.valid[rows]
        if self.kind != "text":
            return LoggedColumn(self.kind, self.values[rows], valid)
        lengths = self.values.astype(np.int64)
        counts, starts = lengths[rows], (np.cumsum(lengths) - lengths)[rows]
        places = np.arange(counts.sum()) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
        return LoggedColumn("text", counts, valid, np.frombuffer(self.text, np.uint8)[places].tobytes())


def column_of(values: Any) -> LoggedColumn:
    """Returns the column of a list, in which None is a missing value, or of an array of numbers or booleans."""
    if isinstance(values, LoggedColumn):
        return values
    if isinstance(values, np.ndarray):
        return LoggedColumn(_OF_DTYPE[values.dtype.kind], values)
    types = set(map(type, values))
    missing = type(None) in types
    types.discard(type(None))
    kind = _KINDS.get(types.pop()) if len(types) == 1 else None
    if kind is None:
        return LoggedColumn("any", values=values)
    valid = np.array([value is not None for value in values]) if missing else None
    if kind == "text":
        return _text_column([value or "" for value in values] if missing else values, valid)
    try:
        present = [0 if value is None else value for value in values] if missing else values
        return LoggedColumn(kind, np.array(present, _DTYPES[kind]), valid)
    except OverflowError:  # an integer beyond 63 bits
        return LoggedColumn("any", values=values)


def _text_column(texts: Sequence[str], valid: NDArray[np.bool_] | None) -> LoggedColumn:
    whole = "".join(texts)
    if whole.isascii():
        return LoggedColumn("text", np.fromiter(map(len, texts), np.int64, len(texts)), valid, whole.encode())
    encoded = [text.encode() for text in texts]
    return LoggedColumn("text", np.fromiter(map(len, encoded), np.int64, len(texts)), valid, b"".join(encoded))


def missing_column(rows: int) -> LoggedColumn:
    """Returns a column whose values are all missing."""
    return LoggedColumn("any", values=[None] * rows)


def joined(columns: Sequence[LoggedColumn]) -> LoggedColumn:
    """Returns the columns one after the other; integers beside floating-point numbers become such numbers."""
    parts: list[LoggedColumn] = []
    short: list[Sequence[Any]] = []  # lists that follow each other are made into one array
    for column in [*columns, None]:
        if column is not None and column.kind == "any":
            short.append(column.values)
            continue
        if short:
            parts.append(column_of(list(chain.from_iterable(short))))
            short = []
        if column is not None:
            parts.append(column)
    if len(parts) == 1:
        return parts[0]
    kinds = {part.kind for part in parts if not part.empty}
    kind = "float" if kinds == {"int", "float"} else kinds.pop() if len(kinds) == 1 else "any"
    if kind == "any":
        return LoggedColumn("any", values=list(chain.from_iterable(part.tolist() for part in parts)))
    parts = [_without_values(part) if part.empty else part for part in parts]
    valid = None
    if any(part.valid is not None for part in parts):
        valid = np.concatenate([np.ones(len(part), np.bool_) if part.valid is None else part.valid for part in parts])
    numbers = np.concatenate([part.values for part in parts])
    return LoggedColumn(kind, numbers.astype(_DTYPES.get(kind, np.int64)), valid, b"".join(part.text for part in parts))


def _without_values(column: LoggedColumn) -> LoggedColumn:
    return replace(column, values=np.zeros(len(column), np.int8), valid=np.zeros(len(column), np.bool_))


def pack(columns: dict[str, Any]) -> bytes:
    """Returns the block of these columns, by name: lists of JSON's scalars, arrays, columns, or maps of such.

    The name of another column in place of values stands for the same values.
    """
    body = _encode({name: _packed(each) for name, each in columns.items()})
    if len(body) < SMALL:
        return bytes((FORMAT_VERSION, PLAIN)) + body
    return bytes((FORMAT_VERSION, ZLIB)) + zlib.compress(body, 1)


def _packed(values: Any) -> Any:
    """Return what stands for the values in a block: a name, a list of the values, or the parts of an array."""
    if isinstance(values, list) and len(values) < FEW:
        return values
    if isinstance(values, str):
        return values
    if isinstance(values, dict):
        return {name: _packed(each) for name, each in values.items()}
    if isinstance(values, np.ndarray) and len(values) < FEW:
        return values.tolist()
    if isinstance(values, list) and set(map(type, values)) == {str}:
        distinct = dict.fromkeys(values)
        if len(distinct) <= min(256, len(values) // 4):
            codes = dict(zip(distinct, range(len(distinct)), strict=True))
            return {"": {"k": "coded", "b": bytes(map(codes.__getitem__, values)), "t": list(distinct)}}
    column = column_of(values)
    if column.kind == "any":
        return column.values
    valid = None if column.valid is None else np.packbits(column.valid).tobytes()
    numbers = _narrow(column.values, column.kind)
    parts = {"k": column.kind, "d": numbers.dtype.str, "b": _by_place(numbers), "v": valid}
    return {"": parts | {"t": column.text} if column.kind == "text" else parts}


def _narrow(numbers: NDArray, kind: str) -> NDArray:
    """Return the numbers in the narrowest type that holds each of them exactly."""
    if kind == "bool" or not len(numbers):
        return numbers
    if kind == "float":
        if numbers.dtype == np.float32:
            return numbers
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = numbers.astype(np.float32)
        return narrow if np.array_equal(narrow, numbers, equal_nan=True) else numbers
    least, most = int(numbers.min()), int(numbers.max())
    return numbers.astype(
        next(each for each in _INTEGERS if np.iinfo(each).min <= least and most <= np.iinfo(each).max)
    )


_INTEGERS = (np.dtype("<i1"), np.dtype("<i2"), np.dtype("<i4"), np.dtype("<i8"))


def _by_place(numbers: NDArray) -> bytes:
    """Return the first bytes of all numbers, then the second ones, and so on: that compresses better."""
    return np.ascontiguousarray(numbers).view(np.uint8).reshape(len(numbers), -1).T.tobytes()


class Block:
    """The columns of one batch, decoded one by one."""

    def __init__(self, content: bytes) -> None:
        """Raises StoreError if a later release wrote the block."""
        version, compression = content[0], content[1]
        if version > FORMAT_VERSION:
            raise StoreError(f"a batch of the prediction log has format version {version}: update the pilot's code")
        body = memoryview(content)[2:]
        self._fields: dict[str, Any] = _decode(zlib.decompress(body) if compression == ZLIB else body)

    @property
    def layout(self) -> tuple[tuple[str, ...], ...]:
        """The names of the columns, and of those in maps."""
        return tuple(self._fields), *(tuple(each) for each in self._fields.values() if isinstance(each, dict))

    def names(self, within: str) -> list[str]:
        """Returns the names of the columns in the map of this name."""
        return list(self._fields.get(within, ()))

    def column(self, name: str, within: str = "") -> LoggedColumn | None:
        """Returns the column with this name, of the map `within` if given; None if the batch does not have it."""
        packed = (self._fields.get(within, {}) if within else self._fields).get(name)
        if isinstance(packed, str):
            return self.column(packed, "record")
        if packed is None or isinstance(packed, list):
            return packed if packed is None else LoggedColumn("any", values=packed)
        parts = packed[""]
        if parts["k"] == "coded":
            return column_of(parts["t"]).take(np.frombuffer(parts["b"], np.uint8))
        dtype = np.dtype(parts["d"])
        places = np.frombuffer(parts["b"], np.uint8).reshape(dtype.itemsize, -1)
        numbers = np.ascontiguousarray(places.T).view(dtype).reshape(-1)
        bits = parts["v"]
        valid = (
            None if bits is None else np.unpackbits(np.frombuffer(bits, np.uint8), count=len(numbers)).view(np.bool_)
        )
        return LoggedColumn(parts["k"], numbers, valid, parts.get("t", b""))

    def only(self, rows: NDArray[np.int64], others: dict[str, Any]) -> bytes:
        """Returns the block of these rows, with other columns beside them."""
        return pack({**self._only(self._fields, "", rows), **others})

    def _only(self, fields: Mapping[str, Any], within: str, rows: NDArray[np.int64]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, packed in fields.items():
            if isinstance(packed, str):
                found[name] = packed
            elif isinstance(packed, dict) and "" not in packed:
                found[name] = self._only(packed, name, rows)
            elif (column := self.column(name, within)) is not None:
                found[name] = column.take(rows)
        return found
