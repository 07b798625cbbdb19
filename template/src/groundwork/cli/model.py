"""Commands about model versions."""

from typing import Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import EXIT_UNKNOWN, Json, console, entered, print_json, step, suggest, under_way
from groundwork.cli.loop import show_checks

PANEL = "The model"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def evaluate(
    version: Annotated[str | None, typer.Argument(show_default="the champion")] = None, as_json: Json = False
) -> None:
    """Measure in detail which features a version uses and how it ages; write its model card."""
    with entered() as pilot:
        from groundwork.models.evaluation.evaluate import evaluate as look_at

        with step("evaluate") as said:
            found = look_at(pilot, version)
            said += [f"version {found.version}: {found.page}", *found.summary]
        print_json(found)


@verbs.command(rich_help_panel=PANEL)
def judge(as_json: Json = False) -> None:
    """Judge the champion and the newest version again on the newest data. It changes nothing.

    Exit 1 if the gate would refuse the champion now.
    """
    with entered() as pilot:
        from groundwork.models.gate.again import judge_again

        with under_way("judge"):
            found = judge_again(pilot)
        for each in found:
            mark, said = {
                True: ("[green]✓[/]", "passes"),
                False: ("[red]✗[/]", "would be refused"),
                None: ("[yellow]?[/]", f"cannot be judged: {escape(each.reason)}"),
            }[each.passed]
            kind = "the champion" if each.champion else "the newest"
            console.print(f"{mark} {'judge':<8} version {each.version}, {kind}, {said}")
            show_checks(each.evidence.get("checks", []))
        print_json({"judged": found})
    if any(each.champion and not each.passed for each in found):
        raise typer.Exit(1)


@verbs.command(rich_help_panel=PANEL)
def reproduce(version: str, as_json: Json = False) -> None:
    """Train a version again from the same data, code and packages. Exit 1 if the result differs, 2 if unknown."""
    with entered() as pilot:
        from groundwork.models.training.reproduce import reproduce as again

        with under_way("reproduce"):
            found = again(pilot, version)
        mark = {"equal": "[green]✓[/]", "different": "[red]✗[/]", "unknown": "[yellow]?[/]"}[found.status]
        console.print(f"{mark} {'reproduce':<8} {found.status}: {escape(found.reason)}")
        print_json(found)
    if found.status != "equal":
        raise typer.Exit(1 if found.status == "different" else EXIT_UNKNOWN)


@verbs.command(rich_help_panel=PANEL)
def approve(
    version: str,
    by: Annotated[str, typer.Option(help="The handle of an approver in OWNERS.")],
    why: Annotated[str, typer.Option(help="The reason; it is written to the promotion log.")],
    as_json: Json = False,
) -> None:
    """Put a version in service that passed the gate and waits for approval."""
    with entered() as pilot:
        from groundwork.models.registry.promotion import approve as let_in
        from groundwork.models.registry.registry import Registry
        from groundwork.store.database import Store

        with step("approve") as said, Store(pilot.settings.store) as store:
            entry = let_in(pilot, store, Registry(pilot), version, by=by, why=why)
            said.append(f"version {entry.to_version} is now the champion")
        print_json(entry._asdict())
    suggest("status")


@verbs.command(rich_help_panel=PANEL)
def rollback(
    to: Annotated[
        str | None, typer.Option(help="The version to go back to.", show_default="the previous champion")
    ] = None,
    why: Annotated[str, typer.Option(help="The reason; it is written to the promotion log.")] = "no reason given",
    as_json: Json = False,
) -> None:
    """Put an earlier champion back in service."""
    with entered() as pilot:
        from groundwork.models.registry.promotion import reconcile, roll_back
        from groundwork.store.database import Store

        with Store(pilot.settings.store) as store:
            with step("rollback") as said:
                entry = roll_back(pilot, store, to, why)
                said.append(
                    f"version {entry.to_version} is the champion again, in place of {entry.from_version or 'none'}"
                    if entry.to_version
                    else f"no version is champion now: {entry.why}. Run `groundwork train`"
                )
            with step("registry") as said:  # services that have the version in their cache already serve it
                from groundwork.models.registry.registry import Registry

                reconcile(store, Registry(pilot))
                target = f"version {entry.to_version}" if entry.to_version else "no version"
                said.append(f"the alias champion points to {target}")
        print_json(entry._asdict())
    suggest("status")
