"""Commands that keep the pilot up to date with the template."""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from groundwork.cli.console import Json, console, entered, print_json, under_way

if TYPE_CHECKING:
    from groundwork.documents.pilot import Pilot
    from groundwork.documents.template_change import ChangeJudged
    from groundwork.readiness.doctor import Examined

PANEL = "Keeping it up to date"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def doctor(
    since: Annotated[
        str, typer.Option(help="A commit: say only whether the change since then leaves the template's files alone.")
    ] = "",
    as_json: Json = False,
) -> None:
    """Show what an update depends on: edits of the template's files, the version, the data, the state of git.

    Exit 0 if nothing needs a hand, 1 if something does, 2 if something could not be found out. With --since, 1 and 2
    are for updates alone, which are the changes of the answers file.
    """
    from groundwork.documents.template_change import ChangeJudged, judge
    from groundwork.readiness.doctor import examine

    with entered(documents=False) as pilot, under_way("doctor: the template is fetched and written anew, to compare"):
        result = judge(pilot.settings.home, since) if since else examine(pilot.settings, _pending(pilot))
    print_json(asdict(result))
    if not console.quiet:
        lines = _of_change(result) if isinstance(result, ChangeJudged) else _of_pilot(result)
        for line in lines:
            print(line)
    raise typer.Exit(result.code)


def _pending(pilot: "Pilot") -> "list[Callable[[], list[str]]]":
    """Returns one function per step of `groundwork migrate`: what it would do. The worker sees to the schedules."""
    from groundwork.pipeline.migration_steps import STEPS

    return [partial(each.pending, pilot) for each in STEPS if each.name != "schedules"]


def _of_pilot(examined: "Examined") -> Iterator[str]:
    """Yields the lines to print. They are printed as they are, so that `git apply` can read the diffs in them."""
    if examined.newest:
        behind = "the newest" if not examined.releases_behind else f"{examined.newest} is the newest"
        yield f"template  {examined.template} {examined.version}, {behind}"
    if examined.digest:
        yield f"files     {'exactly' if examined.exact else 'not exactly'} the template's; sha256 {examined.digest}"
    for ailment in examined.ailments:
        yield from (f"✗ {ailment.what}", f"  {ailment.why}", f"  $ {ailment.mend}")
        if ailment.diff:
            yield f"\n{ailment.diff}"
    yield from (f"? unknown: {sentence}" for sentence in examined.unknown)
    if not examined.ailments and not examined.unknown:
        yield "✓ nothing needs a hand"


def _of_change(judged: "ChangeJudged") -> Iterator[str]:
    mark = "?" if judged.unknown else "✗" if judged.code else "!" if judged.wrong else "✓"
    yield f"{mark} {judged.sentence}"
    if judged.kept:
        yield f"  as before this change, and not the template's: {', '.join(judged.kept)}"
    if judged.digest:
        yield f"  sha256 of the template's files: {judged.digest}"
    if judged.rest:
        yield f"  not covered by it, so read these changes: {', '.join(judged.rest)}"
    yield from (f"  {path}" for path in judged.wrong)
    yield from (f"\n{edit.diff}" for edit in judged.edits)
