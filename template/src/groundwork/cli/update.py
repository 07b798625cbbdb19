"""The command that brings the pilot to a newer template."""

import contextlib
import shlex
import sys
import textwrap
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import Json, complaints, console, entered, print_json, suggest, under_way
from groundwork.core.errors import GroundworkError, UpdateError
from groundwork.core.files import write_atomically

if TYPE_CHECKING:
    from groundwork.documents.updating.attempt import Script, Update
    from groundwork.documents.updating.behaviour import Behaviour

PANEL = "Keeping it up to date"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def update(
    apply: Annotated[bool, typer.Option("--apply", help="Commit the update to a branch.")] = False,
    to: Annotated[str | None, typer.Option(help="The release.", show_default="the newest")] = None,
    data: Annotated[list[str] | None, typer.Option(help="Change an answer: NAME=VALUE; repeat it for more.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="Run the releases' migration scripts without asking.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --apply: make the branch in spite of conflicts and lost edits.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Preview an update to a newer template in a worktree; with --apply, commit it to a branch.

    Your working tree and your branch stay as they are. Exit 1 on any conflict or edit that would be lost.
    """
    from groundwork.documents.updating import attempt, behaviour, summary
    from groundwork.documents.updating.worktree import require_clean, worktree
    from groundwork.documents.upstream import Upstream

    with entered(documents=False) as pilot, contextlib.ExitStack() as held:
        home = pilot.settings.home
        require_clean(home)
        if apply:
            attempt.require_name(home)
        upstream = Upstream.of(home)
        with under_way("fetch the template"):
            template = held.enter_context(upstream.fetched())
        chosen = attempt.choose(template, to, _answers(data or []))
        if chosen is None:
            here = "the pilot's version already" if to else "the newest release"
            console.print(f"[green]✓[/] Groundwork {upstream.version} is {here}: nothing to do")
            print_json({"before": upstream.version, "after": upstream.version, "changes": [], "branch": None})
            return
        scripts = attempt.scripts(template, chosen)
        _agree(scripts, trust)
        tree = held.enter_context(worktree(home))
        with under_way("update a copy"):
            tried = attempt.try_out(template, chosen, tree, trust=bool(scripts))
        differs = behaviour.compare(pilot.settings, tried, tree, under_way)
        _show(tried, differs)
        branch = chosen.branch if apply and (force or not tried.stopped) else None
        steps = summary.next_steps(tried, monorepo=tree.home != tree.root)
        text = summary.pull_request(tried, differs, steps)
        if branch:
            made = attempt.to_branch(tried, tree, text)
            file = pilot.settings.reports / f"{branch}.md"
            write_atomically({file: text})
            console.print(f"\n[green]✓[/] branch   {branch} {'has the update' if made else 'had this update already'}")
            console.print(f"           text for the pull request: {escape(str(file))}")
            console.print("[dim]next:[/]")
            for command in (f"git switch {branch}", *steps):
                console.print(f"  [bold]{escape(command)}[/]")
        elif not tried.stopped:
            suggest(_again(to, data or [], trust) + " --apply")
        print_json(
            {
                "before": chosen.before,
                "after": chosen.after,
                "title": chosen.title,
                "owners": tried.owners,
                "scripts": scripts,
                "changes": tried.changes,
                "digest": tried.compared.digest,
                "behaviour": differs,
                "branch": branch,
                "text": text,
            }
        )
        if tried.stopped:
            complaints().print(_refusal(tried, branch))
            raise typer.Exit(1)


def _answers(given: list[str]) -> dict[str, str]:
    for each in given:
        if "=" not in each:
            raise GroundworkError(f"--data {each}: write NAME=VALUE")
    return dict(each.split("=", 1) for each in given)


def _again(to: str | None, data: list[str], trust: bool) -> str:
    """Returns the command as it was typed, for the next one."""
    words = ["update", *(["--to", to] if to else []), *(f"--data {shlex.quote(each)}" for each in data)]
    return " ".join([*words, *(["--trust"] if trust else [])])


def _agree(scripts: "list[Script]", trust: bool) -> None:
    """Say which scripts would run; without trust, show them and ask. Raises UpdateError if they may not run."""
    for each in scripts:
        console.print(f"[yellow]![/] {each.version or 'every update'} runs {escape(each.path)} of the template")
        if not trust:
            console.print("", f"[dim]{escape(textwrap.indent(each.text, '    '))}[/]", sep="\n")
    if not scripts or trust:
        return
    if not sys.stdin.isatty() or console.quiet:
        names = ", ".join(each.path for each in scripts)
        raise UpdateError(f"this update runs scripts of the template ({names}): read them, then add --trust")
    if not typer.confirm("Run them, in a copy of the pilot?"):
        raise UpdateError("the update needs these scripts; nothing was changed")


def _show(tried: "Update", differs: "Behaviour") -> None:
    from rich.table import Table

    from groundwork.documents.updating.changes import KINDS, STOPPING
    from groundwork.documents.updating.summary import files, for_owners

    console.print(f"[bold]{escape(tried.target.title)}[/]")
    console.print("\n[dim]what owners must know[/]")
    for line in for_owners(tried):
        console.print(f"  {escape(line)}")
    console.print("\n[dim]files[/]")
    for kind, meaning in KINDS.items():
        changes = tried.of_kind(kind)
        if not changes:
            continue
        told = [each for each in changes if each.note or kind in STOPPING or kind == "merged"]
        rest = [each for each in changes if each not in told]
        mark = "[red]✗[/]" if kind in STOPPING else "[green]✓[/]"
        console.print(f"{mark} {kind:<8} {len(changes):>3}  {escape(files(rest)) if rest else meaning}")
        for each in told:
            console.print(f"               {escape(each.path)}{f': {escape(each.note)}' if each.note else ''}")
            if kind in STOPPING and each.edit:
                console.print(f"[dim]{textwrap.indent(escape(each.edit), ' ' * 17)}[/]")
    console.print("\n[dim]what will behave otherwise[/]")
    table = Table(
        "", *(f"[dim]{name}[/]" for name in ("the gate's check", "before", "after")), box=None, pad_edge=False
    )
    for verdict in differs.verdicts:
        mark = "[green]✓[/]" if verdict.before == verdict.after else "[red]✗[/]"
        console.print(f"{mark} gate     {escape(verdict.sentence)}")
        for check in verdict.differences:
            table.add_row("", *(escape(text or "no such check") for text in (check.name, check.before, check.after)))
    if table.rows:
        console.print(table, soft_wrap=False)
    if differs.gate_unknown:
        console.print(f"[yellow]?[/] gate     unknown: {escape(differs.gate_unknown)}")
    marks = {"passes": "[green]✓[/]", "fails": "[red]✗[/]", "fails already": "[yellow]![/]", "unknown": "[yellow]?[/]"}
    console.print(f"{marks[differs.check]} check    {escape(differs.check_sentence)}")


def _refusal(tried: "Update", branch: str | None) -> str:
    conflicts, lost = len(tried.of_kind("conflict")), len(tried.of_kind("lost"))
    counted = [
        *([f"{conflicts} conflict{'s' if conflicts > 1 else ''}"] if conflicts else []),
        *([f"{lost} edit{'s' if lost > 1 else ''} that would be lost"] if lost else []),
    ]
    said = f"[red]✗[/] {' and '.join(counted)}: "
    if branch:
        return said + f"resolve the markers on the branch {branch}, and put the lost edits where they belong"
    return said + (
        "nothing was changed. Move each edit to a file of yours, propose it to the template, or undo it; or run "
        "`groundwork update --apply --force` and resolve them on the branch"
    )
