"""Verbs about the data: dictionary, quarantine, erasure."""

from typing import Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import Json, console, entered, print_json, step, suggest

PANEL = "The data"
verbs = typer.Typer()


quarantine_app = typer.Typer(
    help="Rows that broke the contract: list them, or let in those that are sound now.", no_args_is_help=True
)
verbs.add_typer(quarantine_app, name="quarantine", rich_help_panel=PANEL)


@verbs.command("dictionary", rich_help_panel=PANEL)
def write_dictionary() -> None:
    """Write docs/data-dictionary.md anew from contract.yaml."""
    from groundwork.documents.publish import data_dictionary as dictionary

    with entered() as pilot:
        console.print(f"[green]✓[/] {dictionary.write(pilot.settings.home, pilot.contract)}", soft_wrap=True)


@quarantine_app.command("list")
def quarantine_list(as_json: Json = False) -> None:
    """Show what is in quarantine: window, rule, how many rows, and some of the values that break it."""
    with entered() as pilot:
        from groundwork.data.quarantine import held

        found = held(pilot)
        for entry in found:
            values = f": {', '.join(entry.examples)}" if entry.examples else ""
            console.print(f"{entry.window}  {entry.rows:>7,} rows  {escape(entry.rule + values)}", soft_wrap=True)
        owner = pilot.owners.accountable.data[pilot.contract.dataset.name]
        console.print(
            f"{escape(owner.name)} (@{escape(owner.handle)}) answers for the data set {pilot.contract.dataset.name}"
            if found
            else "there is nothing in quarantine"
        )
        print_json({"held": found, "owner": owner.handle})


@quarantine_app.command("replay")
def quarantine_replay(as_json: Json = False) -> None:
    """Check the rows in quarantine anew, against the present contract and source, and let in those that are sound."""
    with entered() as pilot:
        from groundwork.data.quarantine import replay
        from groundwork.data.source import connected
        from groundwork.store.database import Store

        with (
            step("replay") as said,
            Store(pilot.settings.store) as store,
            store.alone("ingest"),  # which writes the same tables
            connected(pilot) as backend,
        ):
            done = replay(backend, pilot)
            said.append(f"{done.let_in:,} rows let in, {done.remaining:,} stay, snapshot version {done.version}")
            said += [f"{window} was not let in as a whole: run `groundwork ingest`" for window in done.not_let_in]
        print_json(done)


@verbs.command(rich_help_panel=PANEL)
def erase(
    subject: Annotated[str, typer.Option(help="The value of the column tagged subject, or else of the primaryKey.")],
) -> None:
    """Remove one subject from snapshots, quarantine, prediction log and outcomes, and keep it out from now on."""
    with entered() as pilot:
        from groundwork.data.erasure import erase as remove
        from groundwork.store.database import Store

        with step("erase") as said, Store(pilot.settings.store) as store, store.alone("ingest"):
            done = remove(pilot, store, subject)
            said.append(
                f"by {done.column}: {done.rows:,} rows of the snapshots, {done.quarantined:,} of quarantine, "
                f"{done.predictions:,} predictions, {done.outcomes:,} outcomes; it stays out from now on"
            )
            if done.rows:
                said.append(f"the snapshots can be read from version {done.version} on")
        console.print("not touched: the source, backups, and models that were trained on it", soft_wrap=True)
        suggest("train")
