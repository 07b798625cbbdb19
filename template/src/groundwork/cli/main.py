"""Groundwork: train, serve and monitor a pilot's model, and decide whether to scale it.

Exit codes: 0 done, 1 refused or failed, 2 usage error or drift unknown.
"""

import gc
import os
from typing import Annotated

import typer

from groundwork import __version__
from groundwork.cli import data, decision, loop, model, operations, up, update, upkeep
from groundwork.cli.console import called

# A command imports pydantic and the documents after this line. Imports make no garbage, and to find its plugins,
# pydantic would read the entry points of all installed packages.
gc.disable()  # `entered` enables it again
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
for group in (loop, up, decision, data, model, operations, update, upkeep):
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
