"""The operational system, as the contract has it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import ibis

from groundwork.core.errors import SourceError, SourceUnavailable
from groundwork.core.windows import Window
from groundwork.documents.contract.dataset import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.store import without_password
from use_case import source as use_case_source

BEGINNING, END = datetime(1900, 1, 1), datetime(2200, 1, 1)


@contextmanager
def connected(pilot: Pilot) -> Iterator[ibis.BaseBackend]:
    """The operational system. Raises SourceError when it cannot be reached."""
    url = pilot.settings.source
    if url.startswith("duckdb://") and "read_only" not in url:
        url += "?read_only=True"
    try:
        backend = ibis.connect(url)
    except ImportError as error:
        raise SourceError(
            f"the source {without_password(url)} needs a driver that is not installed: {str(error).splitlines()[0]}\n"
            "Run `uv sync --group postgres` or `uv sync --group spark`; for other engines, "
            "`uv add --group pipeline 'ibis-framework[NAME]'`."
        ) from error
    except Exception as error:
        raise SourceUnavailable(
            f"the source {without_password(pilot.settings.source)} cannot be opened: {error}\n"
            "Check GROUNDWORK_SOURCE_URL; for the example data, run `groundwork seed` first."
        ) from error
    try:
        yield backend
    finally:
        backend.disconnect()


def expression(backend: ibis.BaseBackend, dataset: Dataset, window: Window) -> ibis.Table:
    """The use case's rows for a window, with the contract's columns. Raises SourceError where they do not fit it."""
    try:
        rows = use_case_source.rows(backend, window.start, window.end)
    except Exception as error:
        told, cause = dataset.told(error)
        raise SourceError(f"use_case/source.py cannot be read from the source: {told}") from cause
    types = rows.schema()
    mistakes = []
    for column in dataset.columns:
        if column.name not in types:
            mistakes.append(f"{column.name}: the contract has this column, the source does not")
        elif not _is_of_type(types[column.name], column.logical_type):
            mistakes.append(
                f"{column.name}: the contract says {column.logical_type}, the source gives {types[column.name]}"
            )
    if mistakes:
        raise SourceError("the source does not fit contract.yaml:\n" + "\n".join(mistakes))
    return rows.select(*[column.name for column in dataset.columns])


def _is_of_type(found: ibis.expr.datatypes.DataType, wanted: str) -> bool:
    return {
        "string": found.is_string,
        "integer": found.is_integer,
        "number": found.is_numeric,
        "boolean": found.is_boolean,
        "timestamp": found.is_timestamp,
    }[wanted]()
