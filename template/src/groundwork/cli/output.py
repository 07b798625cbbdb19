"""What a command prints: lines for people, or one JSON object for programs."""

import contextlib
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from groundwork.core import progress

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
        print(msgspec.json.encode(result).decode())


def suggest(*commands: str) -> None:
    console.print(f"[dim]next:[/] {' or '.join(f'[bold]groundwork {command}[/]' for command in commands)}")


@contextlib.contextmanager
def under_way(name: str) -> Iterator[None]:
    """A line that moves, with a bar once it is known how much there is to do, and that goes when the block ends."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description} …"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
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
