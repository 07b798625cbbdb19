"""Groundwork: train, serve and monitor a pilot's model, and decide whether to scale it.

Exit codes: 0 done, 1 refused or failed, 2 usage error or drift unknown.
"""

import os
from typing import Annotated

# Before the first import of pydantic: to find its plugins, it reads the entry points of all installed packages.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

import typer

from groundwork import __version__
from groundwork.cli import data, decision, loop, model, operations, up
from groundwork.cli.console import called

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for group in (loop, up, decision, data, model, operations):
    app.add_typer(group.verbs)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"groundwork {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    traceback: Annotated[
        bool, typer.Option("--traceback", help="Show the whole traceback of an error; write it before the command.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    called.verb, called.traceback = context.invoked_subcommand or "", traceback


if __name__ == "__main__":
    app()
