"""What every verb shares: it finds the pilot, shows progress, and prints for people or for programs."""

import atexit
import contextlib
import logging
import os
import sys
import time
import warnings
from collections.abc import Iterator
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from groundwork.core import progress
from groundwork.core.errors import DocumentError, GroundworkError

if TYPE_CHECKING:
    from groundwork.documents.pilot import Pilot

console = Console(highlight=False)
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def _silence(as_json: bool) -> bool:
    console.quiet = as_json
    return as_json


Json = Annotated[bool, typer.Option("--json", callback=_silence, help="Print one JSON object instead of text.")]
EXIT_UNKNOWN = 2


def complaints() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(result: object) -> None:
    """What the verb came to, for machines; where they asked for text, nothing."""
    if console.quiet:
        import msgspec

        print(msgspec.json.encode(result).decode())


def suggest(*commands: str) -> None:
    console.print(f"[dim]next:[/] {' or '.join(f'[bold]groundwork {command}[/]' for command in commands)}")


@contextlib.contextmanager
def under_way(name: str) -> Iterator[None]:
    """A line that moves, with a bar once it is known how much there is to do, and that goes when the block ends."""
    if not console.is_terminal:
        yield
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description} …"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    ) as shown:
        line = shown.add_task(name, total=None, done="")
        with progress.heard_by(
            lambda what, done, of: shown.update(line, completed=done, total=of, done=f"{done:,} of {of:,} {what}")
        ):
            yield


@contextlib.contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Show that something is under way, then what came of it and how long it took."""
    started = time.monotonic()
    came_of_it: list[str] = []
    with under_way(name):
        yield came_of_it
    line, *more = came_of_it or [""]
    console.print(f"[green]✓[/] {name:<8} {escape(line)} [dim]{time.monotonic() - started:.1f} s[/]", soft_wrap=True)
    for text in more:
        console.print(f"  {'':<8} {escape(text)}", soft_wrap=True)


@contextlib.contextmanager
def entered(invalid: int = 1, otherwise: int = 1) -> "Iterator[Pilot]":
    """The pilot, with the libraries told to be quiet; an error a person can mend ends with its message alone."""
    from groundwork.core.environment import prepare
    from groundwork.documents.decision_record import DecisionRecord
    from groundwork.documents.pilot import Pilot

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
