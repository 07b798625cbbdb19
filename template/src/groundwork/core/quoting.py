"""Values in messages and pages: on one line, quoted where it is hard to tell them apart, figures by their size."""

import re
from collections.abc import Iterable

_PLAIN = re.compile(r"[\w.:+/-]+( [\w.:+/-]+)*")
MOST_CHARACTERS = 60


def quoted(value: str) -> str:
    """Returns a value of a column in quotation marks, on one line: escaped, and cut if it is long."""
    return repr(value if len(value) <= MOST_CHARACTERS else value[: MOST_CHARACTERS - 1] + "…")


def listed(values: Iterable[object]) -> list[str]:
    """Returns values of a column for a list: as they are, or all quoted if one of them would be hard to tell apart."""
    found = [str(value) for value in values]
    plain = all(_PLAIN.fullmatch(value) and len(value) <= MOST_CHARACTERS for value in found)
    return found if plain else [quoted(value) for value in found]


def rounded(figure: float) -> str:
    """Returns a measured figure with four significant digits, from 1,000 upwards as a whole number: 0.6272, 12,346."""
    return f"{figure:,.0f}" if abs(figure) >= 1000 else f"{figure:.4g}"
