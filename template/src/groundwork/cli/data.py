"""Commands about the data: dictionary, quarantine, erase; and the work of `groundwork ingest`."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import Json, console, entered, print_json, step, suggest
from groundwork.core.errors import GroundworkError

if TYPE_CHECKING:
    from groundwork.data.ingest import Ingested
    from groundwork.documents.pilot import Pilot

PANEL = "The data"
verbs = typer.Typer()


quarantine_app = typer.Typer(
    help="Rows that broke the contract: list them, or add those that are valid now to the snapshots.",
    no_args_is_help=True,
)
verbs.add_typer(quarantine_app, name="quarantine", rich_help_panel=PANEL)


@verbs.command("dictionary", rich_help_panel=PANEL)
def write_dictionary() -> None:
    """Rewrite docs/data-dictionary.md and docs/clients.md from contract.yaml."""
    from groundwork.documents.publish import data_dictionary as dictionary

    with entered() as pilot:
        dictionary.write(pilot.settings.home, pilot.contract)
        for page in dictionary.PAGES:
            console.print(f"[green]✓[/] {page}")


@quarantine_app.command("list")
def quarantine_list(as_json: Json = False) -> None:
    """List the quarantined rows: window, broken rule, number of rows, example values."""
    with entered() as pilot:
        from groundwork.core.quoting import listed
        from groundwork.data.quarantine import held

        found = held(pilot)
        for entry in found:
            values = f": {', '.join(listed(entry.examples))}" if entry.examples else ""
            console.print(f"{entry.window}  {entry.rows:>7,} rows  {escape(entry.rule + values)}")
        owner = pilot.owners.accountable.data[pilot.contract.dataset.name]
        console.print(
            f"{escape(owner.name)} (@{escape(owner.handle)}) answers for the data set {pilot.contract.dataset.name}"
            if found
            else "the quarantine is empty"
        )
        print_json({"held": found, "owner": owner.handle})


@quarantine_app.command("replay")
def quarantine_replay(as_json: Json = False) -> None:
    """Check the quarantined rows against the current contract and source, and add the valid ones to the snapshots."""
    with entered() as pilot:
        from groundwork.data.quarantine import replay
        from groundwork.data.source import connected
        from groundwork.store.database import Store

        with (
            step("replay") as said,
            Store(pilot.settings.store) as store,
            store.alone("ingest"),  # ingest writes the same tables
            connected(pilot) as backend,
        ):
            done = replay(backend, pilot)
            said.append(
                f"{done.let_in:,} rows added, {done.remaining:,} stay in quarantine, snapshot version {done.version}"
            )
            said += [
                f"{window} has no rows in the snapshots: run `groundwork ingest` for it" for window in done.not_let_in
            ]
        print_json(done)


@verbs.command(rich_help_panel=PANEL)
def erase(
    subject: Annotated[
        str, typer.Option(help="Value of the column tagged subject; without such a column, of the primaryKey.")
    ],
) -> None:
    """Erase one subject from snapshots, quarantine, log, outcomes and reports; later ingests leave it out."""
    with entered() as pilot:
        from groundwork.data.erasure import erase as remove
        from groundwork.store.database import Store

        with step("erase") as said, Store(pilot.settings.store) as store, store.alone("ingest"):
            done = remove(pilot, store, subject)
            said.append(
                f"erased by {done.column}: {done.rows:,} snapshot rows, {done.quarantined:,} quarantined rows, "
                f"{done.predictions:,} predictions, {done.outcomes:,} outcomes; later ingests leave this subject out"
            )
            if done.reports:
                said.append(f"{done.reports:,} drift reports that showed the subject were deleted")
            if done.rows:
                said.append(f"snapshots can be read from version {done.version} onwards")
        left = ["the source", "backups", "models trained on this subject"]
        if pilot.settings.tracking_uri.startswith(("http://", "https://")):
            left.append("drift reports on the MLflow server")
        console.print(f"not erased: {', '.join(left[:-1])} and {left[-1]}")
        suggest("train")


def require_both_or_neither(since: datetime | None, until: datetime | None) -> None:
    if (since is None) != (until is None) or (since and until and since >= until):
        raise GroundworkError("give both --since and --until, with --since earlier than --until, or neither")


def run_ingest(
    pilot: "Pilot", since: datetime | None = None, until: datetime | None = None, everything: bool = False
) -> list[str]:
    """Run the flow and return what it did, a line each: rows, windows read, what was compared, what was kept."""
    from groundwork.core.windows import named
    from groundwork.data.due import told_ahead
    from groundwork.data.ingest import told
    from groundwork.pipeline import by_hand

    require_both_or_neither(since, until)
    if since and everything:
        raise GroundworkError("give either --all, or --since and --until")
    done: list[Ingested] = by_hand.run(pilot, "ingest", since, until, everything)
    print_json({"windows": done})
    rows, quarantined = sum(each.rows_in for each in done), sum(each.rows_quarantined for each in done)
    filled = [each.window for each in done if each.rows_in]
    kept = [
        f"the source has no rows for {each}: the snapshots keep the rows they have"
        for each in named([each.window for each in done if not each.rows_in and not each.rows_ahead])
    ]
    kept += [told_ahead(pilot.contract.dataset, each.rows_ahead, each.window) for each in done if each.rows_ahead]
    read = named([each.window for each in done if each.read])
    compared = [] if since else told(pilot)
    if compared or not read:
        compared.insert(0, f"windows read: {', '.join(read) or 'none, because nothing has changed'}")
    return [
        f"{rows:,} rows in, {quarantined:,} quarantined, "
        f"{filled[0].start:%Y-%m-%d} to {str(filled[-1])[-10:]}, snapshot version {done[-1].version}",
        *compared,
        *kept,
    ]
