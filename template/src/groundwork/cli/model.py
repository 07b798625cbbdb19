"""Commands about model versions."""

from typing import Annotated, Literal

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
        from groundwork.models.registry.addresses import answers
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
                if entry.serves == "no-model":
                    said.append("today's rule still decides: `groundwork switch model` ends that")
            with step("registry") as said:  # services that have the version in their cache already serve it
                if not answers(pilot.settings):
                    said.append("it does not answer: the next run sets its alias champion")
                else:
                    from groundwork.models.registry.registry import Registry

                    reconcile(store, Registry(pilot))
                    target = f"version {entry.to_version}" if entry.to_version else "no version"
                    said.append(f"the alias champion points to {target}")
        print_json(entry._asdict())
    suggest("status")


@verbs.command(rich_help_panel=PANEL)
def switch(
    serves: Annotated[
        Literal["model", "no-model"], typer.Argument(help="What decides: the champion, or today's rule.")
    ],
    by: Annotated[str, typer.Option(help="Your handle in OWNERS.", show_default="your login")] = "",
    why: Annotated[str, typer.Option(help="The reason; it is written to the promotion log.")] = "no reason given",
    as_json: Json = False,
) -> None:
    """Have today's rule decide instead of the model, at once in every service, or the model again."""
    with entered() as pilot:
        from groundwork.models.registry.promotion import signed_by
        from groundwork.models.registry.promotion import switch as throw
        from groundwork.store.database import Store

        with step("switch") as said, Store(pilot.settings.store) as store:
            entry = throw(pilot, store, serves, by=signed_by(by), why=why)
            model = f"version {entry.to_version} decides" if entry.to_version else "no version is champion yet"
            said.append(model if serves == "model" else "today's rule decides, in every service")
        print_json(entry._asdict())
    suggest("status")


@verbs.command(rich_help_panel=PANEL)
def verify(
    mend: Annotated[
        bool, typer.Option("--mend", help="Accept the log as it is now, once two people have seen why.")
    ] = False,
    by: Annotated[str, typer.Option(help="Your handle in OWNERS; for --mend.")] = "",
    approved_by: Annotated[str, typer.Option(help="The handle of a second person in OWNERS; for --mend.")] = "",
    why: Annotated[str, typer.Option(help="The reason, for --mend; it is written to the promotion log.")] = "",
    as_json: Json = False,
) -> None:
    """Verify the promotion log: who signed what, and whether an entry was forged, altered or removed. Exit 1 if so."""
    with entered() as pilot:
        from groundwork.models.registry.mending import mend as put_in_order
        from groundwork.models.serving.chain import read_chain
        from groundwork.store.database import Store

        with Store(pilot.settings.store) as store:
            if mend:
                with step("mend") as said:
                    entry = put_in_order(pilot, store, by=by, approved_by=approved_by, why=why)
                    said.append(f"entry {entry.number} accepts the promotion log as it is")
            chain = read_chain(pilot, store)
        for sentence in chain.breaks:
            console.print(f"[red]✗[/] {'verify':<8} {escape(sentence)}")
        if not chain.breaks:
            console.print(f"[green]✓[/] {'verify':<8} {len(chain.entries)} entries, each as it was written")
        if newest := chain.deciding:
            model = f"version {newest.to_version}" if newest.to_version else "no version"
            ruled = "; today's rule decides, by the switch" if newest.serves == "no-model" else ""
            console.print(f"  entry {newest.number} counts: {model} is champion{ruled}")
        if chain.forged:
            console.print(
                "  Find out who wrote it. To accept the log with the champion above, two people run\n"
                "  groundwork verify --mend --by HANDLE --approved-by HANDLE --why REASON"
            )
        print_json({"whole": not chain.breaks, "breaks": chain.breaks, "counts": newest and newest._asdict()})
    if chain.breaks:
        raise typer.Exit(1)
