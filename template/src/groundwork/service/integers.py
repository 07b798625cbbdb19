"""Integers in requests: each is exactly the integer that was sent, or it is refused."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

from msgspec import Meta

INT64 = (-(2**63), 2**63 - 1)
SAFE = (-(2**53) + 1, 2**53 - 1)  # here, each integer is one floating-point number, and none of its neighbours is


def kind(minimum: float | None, maximum: float | None, among: tuple[int, int] = INT64) -> Any:
    """Return the type of an integer from `minimum` to `maximum` (None: no limit) and within `among`.

    3.0 is an integer in JSON, and a client sends it if its integers are in a column of floats. So it is accepted within
    SAFE. `make_whole` turns it into 3.
    """
    low = among[0] if minimum is None else max(math.ceil(minimum), among[0])
    high = among[1] if maximum is None else min(math.floor(maximum), among[1])
    whole = Annotated[int, Meta(ge=min(low, INT64[1]), le=max(high, INT64[0]))]
    if low > SAFE[1] or high < SAFE[0]:
        return whole
    return whole | Annotated[float, Meta(ge=max(low, SAFE[0]), le=min(high, SAFE[1]), multiple_of=1)]


def make_whole(records: Iterable[Any], names: Sequence[str]) -> None:
    """Change the values of these attributes that are floats, such as 3.0, to integers."""
    for record in records:
        for name in names:
            value = getattr(record, name)
            if type(value) is float:
                setattr(record, name, int(value))


def explain(mistake: str) -> str:
    """Return msgspec's message about an integer, with the reason if the integer is too large to be exact."""
    what, at, where = mistake.partition(" - at ")
    if what.endswith("out of range") or any(what.endswith(f"= {bound}") for bound in INT64):
        what = "Expected an `int` of at most 64 bits"
    elif any(what.endswith(f"`int` {sign}= {bound}") for sign, bound in zip("><", SAFE, strict=True)):
        what = "Expected an `int` between -2^53 and 2^53, because the log stores outcomes as floating-point numbers"
    elif any(what.endswith(f"= {bound}.0") for bound in SAFE):
        what = "Expected an `int` without a fraction or an exponent, because a `float` beyond 2^53 is not exact"
    else:
        what = what.replace("int | float", "int").replace("`float` that's a multiple of 1.0", "`int`, got a fraction")
        what = what.replace("Expected `float`", "Expected `int`")
    return what + at + where


def describe(schema: dict[str, Any]) -> None:
    """Change the JSON Schema of such a type to that of an integer, because a client should send 3 and not 3.0."""
    kinds = [each for each in schema.pop("anyOf", [schema]) if each.get("type") != "number"]
    whole = next(each for each in kinds if each["type"] == "integer")
    for name, bound in zip(("minimum", "maximum"), INT64, strict=True):
        if whole.get(name) == bound:
            del whole[name]
    whole["format"] = "int64"
    schema.update(whole if len(kinds) == 1 else {"anyOf": kinds})
