"""Shared by all commands: find the pilot, show progress, print text or JSON."""

import atexit
import contextlib
import gc
import logging
import os
import sys
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from groundwork.core import progress
from groundwork.core.errors import DocumentError, GroundworkError, UnfitSubject, explained, place

if TYPE_CHECKING:
    from groundwork.documents.pilot import Pilot

# The terminal wraps long lines; in a file or a pipe, a line stays one, and a table is as wide as its cells.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 100_000)
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def _silence(as_json: bool) -> bool:
    console.quiet = as_json
    return as_json


@dataclass
class Called:
    """How the command was called."""

    verb: str = ""
    traceback: bool = False


called = Called()


Json = Annotated[bool, typer.Option("--json", callback=_silence, help="Print one JSON object instead of text.")]
EXIT_USAGE = EXIT_UNKNOWN = 2


def complaints() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def print_json(result: object) -> None:
    """Print the command's result as one line of JSON if --json was given; otherwise print nothing."""
    if console.quiet:
        import msgspec

        print(msgspec.json.encode(result).decode())


def suggest(*commands: str) -> None:
    console.print(f"[dim]next:[/] {' or '.join(f'[bold]groundwork {command}[/]' for command in commands)}")


@contextlib.contextmanager
def under_way(name: str) -> Iterator[None]:
    """Show a spinner while the block runs, with a progress bar as soon as the total is known. Terminals only."""
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
    """Show progress while the block runs, then the lines that the block put in the list, and the seconds it took."""
    started = time.monotonic()
    result: list[str] = []
    with under_way(name):
        yield result
    show(name, result, f" [dim]{time.monotonic() - started:.1f} s[/]")


def show(name: str, lines: Sequence[str], after: str = "", done: bool = True) -> None:
    """Print the lines, the first one after the name of the step, and a tick if it is done."""
    line, *more = lines or [""]
    console.print(f"{'[green]✓[/]' if done else '·'} {name:<8} {escape(line)}{after}")
    for text in more:
        console.print(f"  {'':<8} {escape(text)}")


@contextlib.contextmanager
def entered(invalid: int = 1, otherwise: int = 1, documents: bool = True) -> "Iterator[Pilot]":
    """Provide the pilot and silence the libraries. An error prints one message; `--traceback` adds the traceback.

    Exits with `invalid` for a document that is missing or invalid, with 2 for a subject of the wrong type, with
    `otherwise` for any other error. With `documents=False` no document is read: they may be what is broken.
    """
    from groundwork.core.environment import prepare
    from groundwork.documents.decision_record import DecisionRecord
    from groundwork.documents.pilot import Pilot

    atexit.register(_end_quietly)  # before the libraries register theirs, hence run after them
    try:
        pilot = Pilot.here()
        if documents:
            pilot.read()  # reports what is wrong in the documents before any work starts
            if overdue := DecisionRecord.of(pilot.settings.home).overdue(pilot.charter, date.today()):
                complaints().print(f"[yellow]![/] {overdue}: `groundwork decide scale`, `stop` or `extend`")
        prepare(pilot.settings)
        gc.enable()  # disabled in main.py
        warnings.simplefilter("ignore")
        for library in ("mlflow", "alembic", "prefect"):
            logging.getLogger(library).setLevel(logging.CRITICAL)  # their errors are raised, too
        yield pilot
    except (typer.Exit, typer.Abort):
        raise
    except Exception as error:
        if console.quiet:
            print_json({"error": explained(error)})
        if called.traceback:
            traceback.print_exception(error)
        complaints().print(f"[red]✗[/] {escape(explained(error) + _how_to_see_more(error))}")
        if isinstance(error, UnfitSubject):
            raise typer.Exit(EXIT_USAGE) from None
        raise typer.Exit(invalid if isinstance(error, DocumentError) else otherwise) from None


def _how_to_see_more(error: Exception) -> str:
    """Returns the command that shows the traceback, for an error of which the message may not say enough."""
    if called.traceback or (isinstance(error, GroundworkError) and not place(error)):
        return ""
    return f" (for the whole traceback, run `groundwork --traceback {called.verb} …`)"


def _end_quietly() -> None:
    """Drop what is written to stderr at exit: after a failed run, DuckDB prints a page about objects Prefect keeps."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
