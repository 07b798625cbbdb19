"""Commands about the decision: documents, criteria, scorecard."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from groundwork.cli.console import Json, console, entered, print_json, step, suggest
from groundwork.core.errors import DocumentError, GroundworkError

if TYPE_CHECKING:
    from rich.console import Group

    from groundwork.readiness.scorecard import Scorecard

PANEL = "The decision"
verbs = typer.Typer()
Outcome = Literal["scale", "stop", "extend"]  # as in documents/decision_record.py, which is slow to import
charter_app = typer.Typer(help="Seal the criteria for scaling or stopping the pilot.", no_args_is_help=True)
verbs.add_typer(charter_app, name="charter", rich_help_panel=PANEL)


@verbs.command(rich_help_panel=PANEL)
def check(as_json: Json = False) -> None:
    """Validate the documents and the use case's code, without data, and list every mistake and each field still TBD.

    Exit 1 if a document is invalid, if sealed criteria were changed without an amendment or this cannot be determined,
    if the contract breaks the last released version, if a file generated from the contract or OWNERS is out of date, if
    a secret of compose.yaml can be guessed, or if the code in src/use_case has a syntax error, lacks a function, or
    needs a package that is not installed.
    """
    from groundwork.documents import sealing, secret_files, use_case_files
    from groundwork.documents.contract.compatibility import check_version
    from groundwork.documents.document import unanswered
    from groundwork.documents.publish import data_dictionary as dictionary
    from groundwork.documents.publish import owner_files
    from groundwork.readiness.statements import Statements

    mistakes: list[str] = []
    still_open: dict[str, list[str]] = {}
    warnings: list[str] = []

    @contextmanager
    def noted() -> Iterator[None]:
        try:
            yield
        except GroundworkError as error:
            mistakes.append(str(error))

    def passed(sentence: str, *remarks: str) -> None:
        console.print(
            "\n".join([f"[green]✓[/] {escape(sentence)}", *(f"  [yellow]{escape(each)}[/]" for each in remarks)])
        )

    with entered() as pilot:
        home = pilot.settings.home
        for name, document in {
            "charter.yaml": pilot.charter,
            "contract.yaml": pilot.contract,
            "OWNERS": pilot.owners,
        }.items():
            still_open[name] = unanswered(document)
            remarks = pilot.contract.left_alone if name == "contract.yaml" else []
            passed(f"{name} is valid", *(f"{path} is still TBD" for path in still_open[name]), *remarks)
            warnings += remarks
        with noted():
            if wrong := [line for column in pilot.contract.dataset.columns for line in column.wrong_examples()]:
                raise DocumentError("\n".join(f"contract.yaml: {line}" for line in wrong))
        with noted():
            Statements.of(home, pilot.owners)  # raises if readiness.yaml is invalid
        with noted():
            if broken := sealing.findings(home, pilot.charter):
                raise sealing.SealError("charter.yaml: " + "\n".join(broken))
            if unknown := sealing.cannot_tell(home, pilot.charter):
                raise sealing.SealError(f"charter.yaml: {unknown}")
        with noted():
            passed(check_version(home, pilot.contract))
        with noted():
            dictionary.check(home, pilot.contract)
            passed(f"{' and '.join(map(str, dictionary.PAGES))} match contract.yaml")
        with noted():
            remarks = owner_files.check(pilot)
            passed("CODEOWNERS, catalog-info.yaml and the alert routes match OWNERS", *remarks)
            warnings += remarks
        with noted():
            if secret_files.check(home):
                passed("the secrets of compose.yaml are long enough")
        with noted():
            use_case_files.check()
            passed("src/use_case can be imported, and has the functions that are called")
        if mistakes:
            raise GroundworkError("\n".join(mistakes))
        print_json({"valid": True, "tbd": still_open, "warnings": warnings})


@charter_app.command("lock")
def charter_lock(by: Annotated[str, typer.Option(help="Your handle in OWNERS.")]) -> None:
    """Seal the criteria, before the first model goes live. After that, only an amendment may change them."""
    from groundwork.documents import sealing

    with entered() as pilot:
        seal = sealing.lock(pilot.settings.home, pilot.owners, by, date.today())
        console.print(f"[green]✓[/] criteria sealed on {seal.on}; commit charter.yaml")


@charter_app.command("amend")
def charter_amend(
    by: Annotated[str, typer.Option(help="Your handle in OWNERS.")],
    approved_by: Annotated[str, typer.Option(help="The handle of a second person in OWNERS.")],
    why: Annotated[str, typer.Option(help="The reason; it is written to charter.yaml.")],
) -> None:
    """Seal changed criteria in charter.yaml after the lock, with a reason and a second person's approval."""
    from groundwork.documents import sealing

    with entered() as pilot:
        seal = sealing.amend(
            pilot.settings.home, pilot.owners, by=by, approved_by=approved_by, reason=why, today=date.today()
        )
        console.print(f"[green]✓[/] criteria amended on {seal.on}; commit charter.yaml")


@verbs.command("owners", rich_help_panel=PANEL)
def write_owner_files() -> None:
    """Rewrite CODEOWNERS, Backstage's catalog-info.yaml and Alertmanager's routes from OWNERS."""
    from groundwork.documents.publish import owner_files

    with entered() as pilot:
        for path in owner_files.write(pilot):
            console.print(f"[green]✓[/] {path}")
        for warning in owner_files.check(pilot):
            console.print(f"  [yellow]{escape(warning)}[/]")


@verbs.command(rich_help_panel=PANEL)
def readiness(
    prove: Annotated[bool, typer.Option("--prove", help="First run the tests whose results are evidence.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for the HTML, Markdown, JUnit and badge files.")] = None,
    as_json: Json = False,
) -> None:
    """Show the scorecard: whether the pilot is ready to scale, what blocks it, and who fixes it.

    Exit 0 if all required checks pass, 1 if a required check failed, 2 if a required check is unknown, 3 if the
    charter's criteria are not locked or the decision is overdue.
    """
    from groundwork.pipeline import by_hand
    from groundwork.readiness import render
    from groundwork.readiness.assemble import assess
    from groundwork.readiness.scorecard import Exit
    from groundwork.store.database import Store
    from groundwork.store.findings import summary

    with entered(Exit.NOT_IN_FORCE, Exit.UNDETERMINED) as pilot, Store(pilot.settings.store) as store:
        if prove:
            with step("prove") as said:
                said.append(summary(by_hand.run(pilot, "prove")))
        card = assess(pilot, store, date.today())
        console.print(terminal(card), soft_wrap=False)
        if report:
            for name, text in render.files(card).items():
                report.mkdir(parents=True, exist_ok=True)
                (report / name).write_text(text, encoding="utf-8")
            console.print(f"[dim]report:[/] {report / 'scorecard.html'}")
        print_json(card.content)
    raise typer.Exit(card.exit_code)


@verbs.command(rich_help_panel=PANEL)
def decide(
    outcome: Annotated[Outcome, typer.Argument(help="The decision.")],
    by: Annotated[list[str], typer.Option(help="The handle of a decision-maker; give at least two.")],
    why: Annotated[str, typer.Option(help="The reason; it is written to the record.")],
) -> None:
    """Record the decision about the pilot, with the digest of the scorecard on which it is based."""
    from groundwork.documents import decision_record
    from groundwork.models.serving.chain import read_chain
    from groundwork.readiness.assemble import assess
    from groundwork.store.database import Store

    with entered() as pilot, Store(pilot.settings.store) as store:
        today = date.today()
        card = assess(pilot, store, today)
        promoted = read_chain(pilot, store).deciding
        champion = promoted.to_version if promoted and promoted.evidence_sha256 else None
        verdict = decision_record.ScorecardVerdict(
            met=card.met, verdict=f"{card.verdict}; next: {card.next_step}", sha256=card.sha256, champion=champion
        )
        decision_record.decide(pilot, outcome, verdict, by=tuple(by), why=why, today=today)
        console.print(f"[green]✓[/] decided: {outcome}. Commit {decision_record.FILE}.")
    if outcome == "scale":
        suggest("owners")  # catalog-info.yaml states the lifecycle, which is now production


_COLOURS = {
    "passed": "green",
    "failed": "red",
    "warning": "yellow",
    "unknown": "yellow",
    "not applicable": "bright_black",
    "error": "red",
}


def terminal(card: "Scorecard") -> "Group":
    """Returns the verdict, the next step, and a table with one row per check."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from groundwork.readiness.render import MARKS, by_section, score

    parts: list[Text | Table] = [Text(card.verdict, "bold"), Text(f"next: {card.next_step}"), Text()]
    for section, rows in by_section(card):
        table = Table("", section, "required", "found", "owner", "to do", box=None, pad_edge=False, header_style="dim")
        for row in rows:
            mark = f"[{_COLOURS[row.state]}]{MARKS[row.state]}[/]"
            table.add_row(
                mark,
                escape(row.title) + (" [dim](required)[/]" if row.level == "must" else ""),
                escape(row.wanted),
                escape(f"{row.state}: {row.seen}" if row.state not in ("passed", "failed") else row.seen),
                escape(row.owner),
                escape(row.waived or row.fix),
            )
        parts += [table, Text()]
    parts.append(Text(score(card)))
    return Group(*parts)
