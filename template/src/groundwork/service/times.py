"""Timestamps in requests: read with or without an offset, and given the offset of the contract's time zone."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, ValidationError

from groundwork.core.windows import with_offset
from groundwork.documents.contract.column import Column

_YEAR, _LEAP_YEAR = "[1-9][0-9]{3}", "([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"
_DAY = (
    f"({_YEAR}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))"
    f"|{_LEAP_YEAR}-02-29)"
)
_CLOCK, _OFFSET = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]+)?", "([Zz]|[+-]([01][0-9]|2[0-3]):?[0-5][0-9])"
# Of what is accepted. The format date-time of JSON Schema would demand an offset.
PATTERN = f"^{_DAY}[Tt ]{_CLOCK}{_OFFSET}?$"
KIND: Any = Annotated[datetime, Meta(tz=None)]  # with or without an offset


def localize(records: Iterable[Any], columns: Iterable[Column]) -> None:
    """Give the timestamps of the records the offset of their column's zone; in UTC, they have none.

    Raises ValidationError for a time outside of the years 1000 to 9999.
    """
    for column in columns:
        name, zone = column.name, column.zone
        for row, record in enumerate(records):
            moment = getattr(record, name)
            if moment is None:
                continue
            try:
                if moment.tzinfo or zone is not UTC:
                    moment = with_offset(moment, zone)
                    setattr(record, name, moment)
            except OverflowError:
                moment = datetime.min
            if moment.year < 1000:
                raise ValidationError(f"Expected a year from 1000 to 9999 - at `$.records[{row}].{name}`")


def explain(what: str) -> str:
    """Return msgspec's message about a timestamp with an example of what is expected."""
    expected = "Expected a date and time such as 2028-02-29T10:00:00 or 2028-02-29T10:00:00+02:00"
    return expected if what.startswith("Invalid RFC3339") else what
