"""Every verb begins here: the pilot is found, and an error ends in one line."""

import atexit
import contextlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from datetime import date

import typer
from rich.markup import escape

from groundwork.cli.output import complaints, console, print_json
from groundwork.core.environment import prepare
from groundwork.core.errors import DocumentError, GroundworkError
from groundwork.documents.decision_record import DecisionRecord
from groundwork.documents.pilot import Pilot


@contextlib.contextmanager
def entered(invalid: int = 1, otherwise: int = 1) -> Iterator[Pilot]:
    """The pilot, with the libraries told to be quiet; an error a person can mend ends with its message alone."""
    atexit.register(_end_quietly)  # before the libraries register theirs, hence run after them
    try:
        pilot = Pilot.here()
        pilot.charter, pilot.contract, pilot.owners  # noqa: B018 - what is wrong in them is said at once
        if overdue := DecisionRecord.of(pilot.settings.home).overdue(pilot.charter, date.today()):
            complaints().print(f"[yellow]![/] {overdue}: `groundwork decide scale`, `stop` or `extend`")
        prepare(pilot.settings)
        warnings.simplefilter("ignore")
        for library in ("mlflow", "alembic", "prefect"):
            logging.getLogger(library).setLevel(logging.ERROR)
        yield pilot
    except (GroundworkError, ValueError) as error:
        if console.quiet:
            print_json({"error": str(error)})
        complaints().print(f"[red]✗[/] {escape(str(error))}")
        raise typer.Exit(invalid if isinstance(error, DocumentError) else otherwise) from None


def _end_quietly() -> None:
    """DuckDB complains, a page long and past all that was said, of what Prefect still holds of a run that failed."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
