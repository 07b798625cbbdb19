"""Verbs about versions of the model."""

from typing import Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import EXIT_UNKNOWN, Json, console, entered, print_json, step, suggest, under_way

PANEL = "The model"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def evaluate(
    version: Annotated[str | None, typer.Argument(show_default="the champion")] = None, as_json: Json = False
) -> None:
    """Find out at length what a version leans on, and how it ages; write its model card."""
    with entered() as pilot:
        from groundwork.models.evaluation.evaluate import evaluate as look_at

        with step("evaluate") as said:
            found = look_at(pilot, version)
            said += [f"version {found.version}: {found.page}", *found.summary]
        print_json(found)


@verbs.command(rich_help_panel=PANEL)
def reproduce(version: str, as_json: Json = False) -> None:
    """Train a version again from exactly what it was made from. Exit 1 if it comes out otherwise, 2 if unknown."""
    with entered() as pilot:
        from groundwork.models.training.reproduce import reproduce as again

        with under_way("reproduce"):
            found = again(pilot, version)
        mark = {"equal": "[green]✓[/]", "different": "[red]✗[/]", "unknown": "[yellow]?[/]"}[found.status]
        console.print(f"{mark} {'reproduce':<8} {found.status}: {escape(found.reason)}", soft_wrap=True)
        print_json(found)
    if found.status != "equal":
        raise typer.Exit(1 if found.status == "different" else EXIT_UNKNOWN)


@verbs.command(rich_help_panel=PANEL)
def approve(
    version: str,
    by: Annotated[str, typer.Option(help="An approver of OWNERS.")],
    why: Annotated[str, typer.Option(help="For the promotion log.")],
    as_json: Json = False,
) -> None:
    """Put in service what passed the gate and waits for approval."""
    with entered() as pilot:
        from groundwork.models.registry.promotion import approve as let_in
        from groundwork.models.registry.registry import Registry
        from groundwork.store.database import Store

        with step("approve") as said, Store(pilot.settings.store) as store:
            entry = let_in(pilot, store, Registry(pilot), version, by, why)
            said.append(f"version {entry.to_version} is now the champion")
        print_json(entry._asdict())
    suggest("status")


@verbs.command(rich_help_panel=PANEL)
def rollback(
    to: Annotated[
        str | None, typer.Option(help="The version to go back to.", show_default="the champion before")
    ] = None,
    why: Annotated[str, typer.Option(help="For the promotion log.")] = "no reason given",
    as_json: Json = False,
) -> None:
    """Put an earlier champion back in service."""
    with entered() as pilot:
        from groundwork.models.registry.promotion import reconcile, roll_back
        from groundwork.store.database import Store

        with Store(pilot.settings.store) as store:
            with step("rollback") as said:
                entry = roll_back(pilot, store, to, why)
                said.append(f"version {entry.to_version} is the champion again, version {entry.from_version} is not")
            with step("registry") as said:  # services that have it in their cache serve it already
                from groundwork.models.registry.registry import Registry

                reconcile(store, Registry(pilot))
                said.append(f"the alias champion is version {entry.to_version}")
        print_json(entry._asdict())
    suggest("status")
