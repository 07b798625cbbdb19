"""The command line: one verb per thing a person does.

Exit codes: 0 done, 1 refused or failed, 2 wrong use, or drift unknown.
"""

import atexit
import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from groundwork.core import progress
from groundwork.core.environment import prepare
from groundwork.core.errors import DocumentError, GroundworkError
from groundwork.documents.contract.compatibility import check_version
from groundwork.documents.decision_record import DecisionRecord, Outcome
from groundwork.documents.document import unanswered
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.prefect_server import announced, connect, wait

if TYPE_CHECKING:
    from groundwork.pipeline.train import Trained
    from groundwork.store.migrate import Migration

LOOP, DECISION, DATA, MODEL, RUNNING = "The loop", "The decision", "The data", "The model", "Running it"
app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
charter_app = typer.Typer(help="Seal the line at which the pilot is scaled or stopped.", no_args_is_help=True)
app.add_typer(charter_app, name="charter", rich_help_panel=DECISION)
quarantine_app = typer.Typer(
    help="Rows that broke the contract: list them, or let in those that are sound now.", no_args_is_help=True
)
app.add_typer(quarantine_app, name="quarantine", rich_help_panel=DATA)
console = Console(highlight=False)
Day = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"])]


def _silence(as_json: bool) -> bool:
    console.quiet = as_json
    return as_json


Json = Annotated[bool, typer.Option("--json", callback=_silence, help="Print one JSON object instead of text.")]

EXIT_UNKNOWN = 2
FIRST, LAST = 3, 12  # the example's data is one year, released month by month once there is enough to learn from


@contextlib.contextmanager
def entered(invalid: int = 1, otherwise: int = 1) -> Iterator[Pilot]:
    """The pilot, with the libraries told to be quiet; an error a person can mend ends with its message alone."""
    atexit.register(_end_quietly)  # before the libraries register theirs, hence run after them
    try:
        pilot = Pilot.here()
        pilot.charter, pilot.contract, pilot.owners  # noqa: B018 - what is wrong in them is said at once
        if overdue := DecisionRecord.of(pilot.settings.home).overdue(pilot.charter, date.today()):
            _complaints().print(f"[yellow]![/] {overdue}: `groundwork decide scale`, `stop` or `extend`")
        prepare(pilot.settings)
        warnings.simplefilter("ignore")
        for library in ("mlflow", "alembic", "prefect"):
            logging.getLogger(library).setLevel(logging.ERROR)
        yield pilot
    except (GroundworkError, ValueError) as error:
        if console.quiet:
            _print_json({"error": str(error)})
        _complaints().print(f"[red]✗[/] {escape(str(error))}")
        raise typer.Exit(invalid if isinstance(error, DocumentError) else otherwise) from None


def _complaints() -> Console:
    return Console(stderr=True, highlight=False, soft_wrap=True)


def _print_json(result: object) -> None:
    """What the verb came to, for machines; where they asked for text, nothing."""
    if console.quiet:
        print(msgspec.json.encode(result).decode())


def _next(*commands: str) -> None:
    console.print(f"[dim]next:[/] {' or '.join(f'[bold]groundwork {command}[/]' for command in commands)}")


def _end_quietly() -> None:
    """DuckDB complains, a page long and past all that was said, of what Prefect still holds of a run that failed."""
    sys.stderr.flush()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)


@contextlib.contextmanager
def prefect() -> Iterator[None]:
    """Prefect's server, unless there is one, starts while the block imports what the flows need."""
    connect(Settings())
    yield
    wait()


@contextlib.contextmanager
def under_way(name: str) -> Iterator[None]:
    """A line that moves, with a bar once it is known how much there is to do, and that goes when the block ends."""
    with Progress(
        SpinnerColumn(),
        TextColumn("{task.description} …"),
        BarColumn(),
        TextColumn("{task.fields[done]}"),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as shown:
        line = shown.add_task(name, total=None, done="")
        with progress.heard_by(
            lambda what, done, of: shown.update(line, completed=done, total=of, done=f"{done:,} of {of:,} {what}")
        ):
            yield


@contextlib.contextmanager
def step(name: str) -> Iterator[list[str]]:
    """Show that something is under way, then what came of it and how long it took."""
    started = time.monotonic()
    came_of_it: list[str] = []
    with under_way(name):
        yield came_of_it
    line, *more = came_of_it or [""]
    console.print(f"[green]✓[/] {name:<8} {escape(line)} [dim]{time.monotonic() - started:.1f} s[/]", soft_wrap=True)
    for text in more:
        console.print(f"  {'':<8} {escape(text)}", soft_wrap=True)


@app.command(rich_help_panel=DECISION)
def check(as_json: Json = False) -> None:
    """Validate charter.yaml, contract.yaml and OWNERS, and list what is still to be answered.

    Exit 1 if one is not valid, criteria were changed behind their seal or nobody can tell, the contract breaks the one
    released last, or the files made of contract and OWNERS say something else than those.
    """
    from groundwork.documents import sealing
    from groundwork.documents.publish import owner_files

    with entered() as pilot:
        documents = {"charter.yaml": pilot.charter, "contract.yaml": pilot.contract, "OWNERS": pilot.owners}
        still_open = {name: list(unanswered(document)) for name, document in documents.items()}
        for name, paths in still_open.items():
            console.print(f"[green]✓[/] {name} is valid")
            for path in paths:
                console.print(f"  [yellow]{path} is still TBD[/]")
        if broken := sealing.findings(pilot.settings.home):
            raise sealing.SealError("charter.yaml: " + "\n".join(broken))
        if unknown := sealing.cannot_tell(pilot.settings.home):
            raise sealing.SealError(f"charter.yaml: {unknown}")
        console.print(f"[green]✓[/] {escape(check_version(pilot.settings.home, pilot.contract))}", soft_wrap=True)
        data_dictionary.check(pilot.settings.home, pilot.contract)
        console.print(f"[green]✓[/] {data_dictionary.PAGE} says what contract.yaml says")
        warnings = owner_files.check(pilot)
        console.print("[green]✓[/] other tools are told what OWNERS says")
        for warning in warnings:
            console.print(f"  [yellow]{escape(warning)}[/]", soft_wrap=True)
        _print_json({"valid": True, "tbd": still_open, "warnings": warnings})


@charter_app.command("lock")
def charter_lock(by: Annotated[str, typer.Option(help="Your handle in OWNERS.")]) -> None:
    """Seal the criteria, before the first model goes live: from now on they are changed by amendment only."""
    from groundwork.documents import sealing

    with entered() as pilot:
        seal = sealing.lock(pilot.settings.home, pilot.owners, by, date.today())
        console.print(f"[green]✓[/] the criteria are sealed as of {seal.on}; commit charter.yaml", soft_wrap=True)


@charter_app.command("amend")
def charter_amend(
    by: Annotated[str, typer.Option(help="Your handle in OWNERS.")],
    approved_by: Annotated[str, typer.Option(help="The handle of a second person.")],
    why: Annotated[str, typer.Option(help="The reason, kept in the file.")],
) -> None:
    """Seal the criteria as they stand in charter.yaml now, after the lock: with a reason and a second person."""
    from groundwork.documents import sealing

    with entered() as pilot:
        seal = sealing.amend(pilot.settings.home, pilot.owners, by, approved_by, why, date.today())
        console.print(f"[green]✓[/] the criteria are amended as of {seal.on}; commit charter.yaml", soft_wrap=True)


@app.command("owners", rich_help_panel=DECISION)
def write_owner_files() -> None:
    """Write CODEOWNERS, Backstage's catalog-info.yaml and Alertmanager's routes anew from OWNERS."""
    from groundwork.documents.publish import owner_files

    with entered() as pilot:
        for path in owner_files.write(pilot):
            console.print(f"[green]✓[/] {path}", soft_wrap=True)
        for warning in owner_files.check(pilot):
            console.print(f"  [yellow]{escape(warning)}[/]", soft_wrap=True)


@app.command("dictionary", rich_help_panel=DATA)
def write_dictionary() -> None:
    """Write docs/data-data_dictionary.md anew from contract.yaml."""
    with entered() as pilot:
        console.print(f"[green]✓[/] {data_dictionary.write(pilot.settings.home, pilot.contract)}", soft_wrap=True)


@app.command(rich_help_panel=LOOP)
def seed() -> None:
    """Fill the example's operational system with all that there is."""
    with entered() as pilot, step("seed") as said:
        said.append(_release(pilot, LAST))
    _next("ingest")


@app.command(rich_help_panel=LOOP)
def release() -> None:
    """Let time pass in the example's operational system: release the next month into it."""
    with entered() as pilot, step("release") as said:
        said.append(_release(pilot))
    _next("ingest")


@app.command(rich_help_panel=LOOP)
def ingest(since: Day = None, until: Day = None, as_json: Json = False) -> None:
    """Bring in what is due, or the days from --since up to, not including, --until."""
    with entered():
        with step("ingest") as said:
            said += _ingest(since, until)
        _next("train", "score")


@app.command(rich_help_panel=LOOP)
def train(as_json: Json = False) -> None:
    """Train a candidate and let the gate judge it. Exit 1 if it is refused."""
    with entered() as pilot:
        trained = _train(pilot)
        _print_json({"in_service": trained.in_service} | msgspec.to_builtins(trained))
    if trained.in_service:
        _next("score", "serve")
    elif trained.standing == "pending":
        _next(f"approve {trained.version} --by HANDLE --why REASON")
    else:
        raise typer.Exit(1)


@app.command(rich_help_panel=LOOP)
def score(since: Day = None, until: Day = None, as_json: Json = False) -> None:
    """Let the champion decide for a whole window, by default the newest."""
    with entered():
        with step("score") as said:
            said.append(_score(since, until))
        _next("monitor")


@app.command(rich_help_panel=LOOP)
def monitor(since: Day = None, until: Day = None, as_json: Json = False) -> None:
    """Measure drift in a window, by default the newest. Exit 2 if it is unknown."""
    with entered():
        known = _monitor(since, until)
    _next("status")
    if not known:
        raise typer.Exit(EXIT_UNKNOWN)


@app.command(rich_help_panel=MODEL)
def evaluate(
    version: Annotated[str | None, typer.Argument(show_default="the champion")] = None, as_json: Json = False
) -> None:
    """Find out at length what a version leans on, and how it ages; write its model card."""
    with entered() as pilot:
        from groundwork.models.evaluation.evaluate import evaluate as look_at

        with step("evaluate") as said:
            found = look_at(pilot, version)
            said += [f"version {found.version}: {found.page}", *found.summary]
        _print_json(found)


@app.command(rich_help_panel=MODEL)
def reproduce(version: str, as_json: Json = False) -> None:
    """Train a version again from exactly what it was made from. Exit 1 if it comes out otherwise, 2 if unknown."""
    with entered() as pilot:
        from groundwork.models.training.reproduce import reproduce as again

        with under_way("reproduce"):
            found = again(pilot, version)
        mark = {"equal": "[green]✓[/]", "different": "[red]✗[/]", "unknown": "[yellow]?[/]"}[found.status]
        console.print(f"{mark} {'reproduce':<8} {found.status}: {escape(found.reason)}", soft_wrap=True)
        _print_json(found)
    if found.status != "equal":
        raise typer.Exit(1 if found.status == "different" else EXIT_UNKNOWN)


@app.command(rich_help_panel=MODEL)
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
        from groundwork.store import Store

        with step("approve") as said, Store(pilot.settings.store) as store:
            entry = let_in(pilot, store, Registry(pilot), version, by, why)
            said.append(f"version {entry.to_version} is now the champion")
        _print_json(entry._asdict())
    _next("status")


@app.command(rich_help_panel=MODEL)
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
        from groundwork.store import Store

        with Store(pilot.settings.store) as store:
            with step("rollback") as said:
                entry = roll_back(pilot, store, to, why)
                said.append(f"version {entry.to_version} is the champion again, version {entry.from_version} is not")
            with step("registry") as said:  # services that have it in their cache serve it already
                from groundwork.models.registry.registry import Registry

                reconcile(store, Registry(pilot))
                said.append(f"the alias champion is version {entry.to_version}")
        _print_json(entry._asdict())
    _next("status")


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
        _print_json({"held": msgspec.to_builtins(found), "owner": owner.handle})


@quarantine_app.command("replay")
def quarantine_replay(as_json: Json = False) -> None:
    """Check the rows in quarantine anew, against the present contract and source, and let in those that are sound."""
    with entered() as pilot:
        from groundwork.data.quarantine import replay
        from groundwork.data.source import connected
        from groundwork.store import Store

        with (
            step("replay") as said,
            Store(pilot.settings.store) as store,
            store.alone("ingest"),  # which writes the same tables
            connected(pilot) as backend,
        ):
            done = replay(backend, pilot)
            said.append(f"{done.let_in:,} rows let in, {done.remaining:,} stay, snapshot version {done.version}")
            said += [f"{window} was not let in as a whole: run `groundwork ingest`" for window in done.not_let_in]
        _print_json(msgspec.to_builtins(done))


@app.command(rich_help_panel=DATA)
def erase(
    subject: Annotated[str, typer.Option(help="The value of the column tagged subject, or else of the primaryKey.")],
) -> None:
    """Remove one subject from snapshots, quarantine, prediction log and outcomes, and keep it out from now on."""
    with entered() as pilot:
        from groundwork.data.erasure import erase as remove
        from groundwork.store import Store

        with step("erase") as said, Store(pilot.settings.store) as store, store.alone("ingest"):
            done = remove(pilot, store, subject)
            said.append(
                f"by {done.column}: {done.rows:,} rows of the snapshots, {done.quarantined:,} of quarantine, "
                f"{done.predictions:,} predictions, {done.outcomes:,} outcomes; it stays out from now on"
            )
            if done.rows:
                said.append(f"the snapshots can be read from version {done.version} on")
        console.print("not touched: the source, backups, and models that were trained on it", soft_wrap=True)
        _next("train")


@app.command(rich_help_panel=RUNNING)
def retrain(as_json: Json = False) -> None:
    """Ingest what is due, and train if drift or age calls for it. Exit 1 if the candidate is refused."""
    with entered(), step("retrain") as said:
        with prefect():
            from groundwork.pipeline.retrain import retrain as flow
        retrained = flow()
        said += retrained.reasons or ["nothing calls for a new model"]
        if retrained.trained:
            said.append(f"version {retrained.trained.version}: {retrained.trained.standing}")
            said += retrained.trained.verdict.reasons
        _print_json(retrained)
    if retrained.trained and not retrained.trained.in_service:
        raise typer.Exit(1)
    _next("score", "status")


@app.command(rich_help_panel=RUNNING)
def worker() -> None:
    """Run the flows on their schedules until it is stopped."""
    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        os.environ.setdefault(name, "INFO")  # nobody else says how the runs go
    with entered() as pilot:
        sole = "PREFECT_API_URL" not in os.environ
        with announced(pilot.settings) as api:
            from groundwork.pipeline.worker import work

            console.print(f"Prefect at {api.removesuffix('/api')}", soft_wrap=True)
            work(pilot, sole, lambda line: console.print(escape(line), soft_wrap=True))
    sys.stdout.flush()
    os._exit(0)  # to clear away what the flows imported takes seconds, and whoever told it to end waits


@app.command(rich_help_panel=RUNNING)
def deploy(
    pool: Annotated[str, typer.Option(help="A work pool on the server that PREFECT_API_URL names.")],
    image: Annotated[str, typer.Option(help="The pipeline's image, for pools that start containers.")] = "",
) -> None:
    """Register the flows and their schedules with a work pool."""
    with entered() as pilot:
        from groundwork.pipeline.work_pool import register

        for line in register(pilot, pool, image):
            console.print(f"[green]✓[/] {escape(line)}", soft_wrap=True)


@app.command(rich_help_panel=RUNNING)
def serve() -> None:
    """Serve the champion over HTTP until it is stopped."""
    with entered() as pilot:
        if not _is_free(pilot.settings.host, pilot.settings.port):
            raise GroundworkError(
                f"port {pilot.settings.port} on {pilot.settings.host} is in use: stop what uses it, or set GROUNDWORK_PORT"
            )
        from groundwork.service.auth import keys_for
        from groundwork.service.server import run

        keys_for(pilot.settings.host, pilot.settings.api_keys)
        run(pilot)


@app.command(rich_help_panel=RUNNING)
def migrate(as_json: Json = False) -> None:
    """Bring the store to the schema version of this code, after a copy of an SQLite file."""
    with entered() as pilot:
        from groundwork.store.migrate import migrate

        with step("migrate") as said:
            done = migrate(pilot.settings.store)
            said += _migrated(done)
        _print_json({"before": done.before, "after": done.after, "copy": str(done.copy) if done.copy else None})


@app.command(rich_help_panel=RUNNING)
def key(name: str, scopes: Annotated[str, typer.Argument(help="Joined by +: predict, outcomes, admin.")]) -> None:
    """Make an API key: the key itself, to be kept secret, and its entry for GROUNDWORK_API_KEYS."""
    from groundwork.service.auth import ApiKeys, new_key

    with entered():
        secret, entry = new_key(name, scopes)
        ApiKeys.parse(entry)
        print(secret)
        print(f"GROUNDWORK_API_KEYS={entry}")


@app.command(rich_help_panel=RUNNING)
def signer() -> None:
    """Print the public key of whoever trains here: the service loads nothing that no trusted key has signed."""
    from groundwork.models.serving.signing import signer

    with entered() as pilot:
        print(f"GROUNDWORK_TRUSTED_KEYS={signer(pilot)}")


@app.command(rich_help_panel=LOOP)
def up(
    once: Annotated[bool, typer.Option("--once", help="End after the loop instead of serving on.")] = False,
) -> None:
    """Run the whole loop: ingest, train, gate, serve, predict, score, monitor; then go on serving."""
    with entered() as pilot:
        console.print(f"[bold]{escape(pilot.charter.metadata.title)}[/]: {escape(pilot.charter.decision.statement)}")
        connect(pilot.settings)  # it starts while the data is being made
        from groundwork.store.migrate import migrate

        migrated = migrate(pilot.settings.store)
        if migrated.changed:
            with step("migrate") as said:
                said += _migrated(migrated)
        if not pilot.settings.source_url:
            with step("seed") as said:
                said.append(_release(pilot, LAST))
        with step("start") as said:
            said.append(_start_orchestration())
        with step("ingest") as said:
            said += _ingest(None, None)
        trained = _train(pilot)
        if trained.standing == "pending" and trained.champion_before is None:
            raise GroundworkError(
                f"version {trained.version} waits for approval, and there is no champion to serve yet"
            )
        if not trained.in_service and trained.champion_before is None:
            raise GroundworkError("there is no champion to serve: better data, a better model, or another gate")
        service, address = _start_service(pilot)
        try:
            with step("serve") as said:
                _wait_until_ready(service, address, pilot)
                said.append(f"{address} answers, process {service.pid}, log in {_log_file(pilot)}")
            with step("predict") as said:
                said += _ask(pilot, address)
            with step("score") as said:
                said.append(_score(None, None))
            known = _monitor(None, None)
            _what_next(pilot, address, serving=not once)
            if not once:
                with contextlib.suppress(KeyboardInterrupt):
                    service.wait()
        finally:
            _stop(service)
    if not known:
        raise typer.Exit(EXIT_UNKNOWN)


@app.command(rich_help_panel=LOOP)
def demo(months: Annotated[int, typer.Option(min=1, help="How many months pass.")] = 1) -> None:
    """Watch drift appear: let months pass in the example, and run the loop on each.

    The champion decides the new month, the monitor looks at it, then a candidate is trained and the gate judges it.
    It plays in a folder of its own, data/demo: nothing of the pilot's is touched.
    """
    for name in (
        "GROUNDWORK_SOURCE_URL",
        "GROUNDWORK_STORE_URL",
        "GROUNDWORK_SNAPSHOTS_URL",
        "GROUNDWORK_DASK_SCHEDULER",
        "MLFLOW_TRACKING_URI",
    ):
        os.environ.pop(name, None)
    os.environ["GROUNDWORK_DATA"] = str(Path(os.environ.get("GROUNDWORK_DATA", "data")) / "demo")
    with entered() as pilot:
        with step("start") as said:
            said.append(_start_orchestration())
        from groundwork.data.snapshots import Snapshots
        from groundwork.models.registry.registry import Registry

        snapshots, registry = Snapshots(pilot.snapshots, pilot.contract.dataset), Registry(pilot)
        for _ in range(months):
            newest = snapshots.newest()
            if newest and newest.month == LAST:
                _show_months(pilot)
                raise GroundworkError(
                    f"the example's year is over: delete {pilot.settings.data_folder} to play it again"
                )
            with step("release") as said:
                said.append(_release(pilot, None if newest else FIRST))
            with step("ingest") as said:
                said += _ingest(None, None)
            champion = registry.champion()
            if champion or _train(pilot).in_service:  # somebody has to decide the month
                with step("score") as said:
                    said.append(_score(None, None))
                _monitor(None, None)
            if champion:
                _train(pilot)
            console.print()
        _show_months(pilot)
    _next("demo")


@app.command(rich_help_panel=DECISION)
def readiness(
    prove: Annotated[bool, typer.Option("--prove", help="Run the tests that prove something first.")] = False,
    report: Annotated[Path | None, typer.Option(help="Folder for the page, Markdown, JUnit and badge.")] = None,
    as_json: Json = False,
) -> None:
    """Show the scorecard: is it ready to scale, what speaks against it, and who mends it?

    Exit 0 if the line is met, 1 if something that must be is not, 2 if that is unknown, 3 if the charter's criteria are
    not locked or the decision is overdue.
    """
    from groundwork.cli.scorecard_table import terminal
    from groundwork.readiness import render
    from groundwork.readiness.assess import assess
    from groundwork.readiness.scorecard import Exit
    from groundwork.store import Store

    with entered(Exit.NOT_IN_FORCE, Exit.UNDETERMINED) as pilot, Store(pilot.settings.store) as store:
        if prove:
            with prefect():
                from groundwork.pipeline.prove import prove as flow
                from groundwork.readiness.proofs import summary
            with step("prove") as said:
                said.append(summary(flow()))
        card = assess(pilot, store, date.today())
        console.print(terminal(card))
        if report:
            for name, text in render.files(card).items():
                report.mkdir(parents=True, exist_ok=True)
                (report / name).write_text(text, encoding="utf-8")
            console.print(f"[dim]report:[/] {report / 'scorecard.html'}", soft_wrap=True)
        _print_json(card.content)
    raise typer.Exit(card.exit_code)


@app.command(rich_help_panel=DECISION)
def decide(
    outcome: Annotated[Outcome, typer.Argument(help="What is decided.")],
    by: Annotated[list[str], typer.Option(help="The handle of one who decides; give it twice at least.")],
    why: Annotated[str, typer.Option(help="The reason, kept in the record.")],
) -> None:
    """Write down what was decided about the pilot, with the digest of the scorecard it rests on."""
    from groundwork.documents import decision_record
    from groundwork.readiness.assess import assess
    from groundwork.store import Store

    with entered() as pilot, Store(pilot.settings.store) as store:
        today = date.today()
        card = assess(pilot, store, today)
        promoted = store.latest_promotion(pilot.name)
        champion = promoted.to_version if promoted and promoted.evidence_sha256 else None
        evidence = decision_record.Evidence(card.met, f"{card.verdict}; next: {card.next_step}", card.sha256, champion)
        decision_record.decide(pilot.settings.home, pilot.charter, outcome, tuple(by), why, evidence, today)
        console.print(f"[green]✓[/] decided: {outcome}. Commit {decision_record.FILE}.", soft_wrap=True)
    if outcome == "scale":
        _next("owners")  # the catalogue tells of it


@app.command(rich_help_panel=LOOP)
def status(as_json: Json = False) -> None:
    """Show the champion and how it came about, how the flows ended, and the drift."""
    with entered() as pilot:
        from groundwork.models.registry.promotion import reconcile
        from groundwork.models.registry.registry import Registry
        from groundwork.store import Store

        registry = Registry(pilot)
        owner = pilot.owners.accountable.model
        with Store(pilot.settings.store) as store:
            reconcile(store, registry)
            champion = registry.champion()
            promotions = store.promotions(registry.name)
            runs = store.latest_runs(True) + store.latest_runs(False)
            now = datetime.now(UTC)
            unfinished = [run for run in store.under_way() if run.lost_at >= now]
            drift = store.latest_drift()
        console.print(f"champion  {f'version {champion.number}' if champion else 'none: run `groundwork train`'}")
        if champion:
            served = f"{champion.tags['bundle_format']}: {champion.tags['bundle_reason']}"
            console.print(f"          {escape(served)}", soft_wrap=True)
        for line in _scale_line(pilot, float(champion.tags["gain_per_1000"])) if champion else []:
            console.print(f"          {line}", soft_wrap=True)
        for entry in promotions[:-6:-1]:
            console.print(
                f"          {entry.promoted_at[:16].replace('T', ' ')} UTC  {entry.from_version or '-'} → "
                f"{entry.to_version} by {escape(entry.promoted_by)}: {escape(entry.why)}",
                soft_wrap=True,
            )
        for run in sorted(runs, key=lambda run: run.started_at):
            mark = "[green]✓[/]" if run.succeeded else "[red]✗[/]"
            console.print(
                f"{mark} {run.flow:<8} {run.started_at:%Y-%m-%d %H:%M} UTC, {run.seconds:.1f} s  {escape(run.message)}",
                soft_wrap=True,
            )
        for going in unfinished:
            console.print(
                f"… {going.flow:<8} {going.started_at:%Y-%m-%d %H:%M} UTC, under way; "
                f"heard of {(now - going.heard_at).total_seconds():.0f} s ago",
                soft_wrap=True,
            )
        console.print(
            f"drift     {drift.status}: {drift.reason}" if drift else "drift     unknown: run `groundwork monitor`",
            soft_wrap=True,
        )
        console.print(f"owner     {escape(owner.name)} (@{escape(owner.handle)}) answers for the model")
        log = [entry._asdict() for entry in promotions]
        _print_json(
            {
                "champion": champion,
                "promotions": log,
                "flow_runs": runs,
                "under_way": [run._asdict() for run in unfinished],
                "drift": drift,
                "owner": owner.model_dump(),
            }
        )


def _migrated(done: "Migration") -> list[str]:
    if done.before is None:
        return [f"the store is new, at schema version {done.after}"]
    if not done.changed:
        return [f"the store is at schema version {done.after}: there was nothing to do"]
    before = f"schema version {done.before}" if done.before else "before it had a schema version"
    copy = [f"the store as it was before: {done.copy}"] if done.copy else []
    return [f"the store went from {before} to schema version {done.after}", *copy]


def _release(pilot: Pilot, until: int | None = None) -> str:
    try:
        from use_case import seed as operational_system
    except ModuleNotFoundError as error:
        raise GroundworkError(f"use_case/seed.py cannot play the operational system: {error}") from None
    if pilot.settings.source_url:
        raise GroundworkError("GROUNDWORK_SOURCE_URL is set: the example's operational system is not in use")
    newest, rows = operational_system.release(pilot.settings.data_folder / "operational.duckdb", until)
    return f"the operational system holds {rows:,} flights, up to month {newest} of 2013"


def _show_months(pilot: Pilot) -> None:
    """What the monitor found so far, window by window."""
    from groundwork.store import Store

    table = Table("window", "decided by", "drift", "share of columns", "which", box=None, pad_edge=False)
    with Store(pilot.settings.store) as store:
        for drift in store.drifts():
            table.add_row(
                f"{drift.window_start:%Y-%m}",
                f"version {drift.model_version}" if drift.model_version else "nobody",
                {"ok": "[green]ok[/]", "drift": "[yellow]drift[/]"}.get(drift.status, "[yellow]unknown[/]"),
                "" if drift.status == "unknown" else f"{drift.share:.0%}",
                escape(", ".join(drift.drifted)),
            )
    console.print(table if table.rows else "no version is in service, so nobody decided; one more month tells more")


def _start_orchestration() -> str:
    with prefect():
        import groundwork.pipeline.train  # noqa: F401
    return f"Prefect at {os.environ['PREFECT_API_URL'].removesuffix('/api')}"


def _require_both_or_neither(since: datetime | None, until: datetime | None) -> None:
    if (since is None) != (until is None) or (since and until and since >= until):
        raise GroundworkError("give both --since and --until, the earlier day first, or neither")


def _ingest(since: datetime | None, until: datetime | None) -> list[str]:
    _require_both_or_neither(since, until)
    with prefect():
        from groundwork.pipeline.ingest import ingest as flow
    done = flow(since, until)
    _print_json({"windows": done})
    rows, quarantined = sum(each.rows_in for each in done), sum(each.rows_quarantined for each in done)
    filled = [each.window for each in done if each.rows_in]
    kept = [f"the source has no rows of {each.window}: the snapshots keep theirs" for each in done if not each.rows_in]
    return [
        f"{rows:,} rows in, {quarantined:,} quarantined, "
        f"{filled[0].start:%Y-%m-%d} to {str(filled[-1])[-10:]}, snapshot version {done[-1].version}",
        *kept,
    ]


def _train(pilot: Pilot) -> "Trained":
    with prefect():
        from groundwork.pipeline.train import train as flow
    currency = pilot.charter.value.currency
    with step("train") as said:
        trained = flow()
        made = f"trained on {trained.rows:,} rows" if trained.new else "was trained from this data and code before"
        served = f"served as ONNX: {trained.bundle}" if trained.bundle.startswith("proven") else trained.bundle
        said += [f"version {trained.version} {made}", served]
    rivals = [("version " + trained.version, trained.candidate), ("no-model rule", trained.rule)]
    if trained.champion:
        rivals.append(("champion " + str(trained.champion_before), trained.champion))
    for name, performance in rivals:
        metric = (
            ""
            if performance.metric != performance.metric
            else f", {pilot.charter.gate.metric} {performance.metric:.3f}"
        )
        console.print(
            f"  {'':<8} {name:<14} {performance.value_per_1000:>8,.0f} {currency} per 1,000 decisions{metric}"
        )
    _show_verdict(trained)
    for line in _scale_line(pilot, trained.gain_per_1000):
        console.print(f"  {'':<8} {line}", soft_wrap=True)
    return trained


def _show_verdict(trained: "Trained") -> None:
    mark, said = {
        "champion": ("[green]✓[/]", "stays the champion"),
        "promoted": ("[green]✓[/]", "is now the champion"),
        "pending": (
            "[yellow]?[/]",
            f"passed and waits for approval: `groundwork approve {trained.version} --by … --why …`",
        ),
        "taken out": ("[yellow]![/]", "was promoted before and has been taken out of service since; it stays out"),
        "refused": ("[red]✗[/]", "is refused"),
    }[trained.standing]
    console.print(f"{mark} {'gate':<8} version {trained.version} {said}", soft_wrap=True)
    for check in trained.verdict.checks:
        mark = "[green]✓[/]" if check.passed else "[red]✗[/]"
        console.print(
            f"  {'':<8} {mark} {escape(check.name)}: wanted {escape(check.wanted)}, seen {escape(check.seen)}",
            soft_wrap=True,
        )


def _scale_line(pilot: Pilot, gain_per_1000: float) -> list[str]:
    """How far the gain is from the charter's line, on past data: what it makes in service is not known yet."""
    currency = pilot.charter.value.currency
    return [
        f"ready to scale ({criterion.id}): {criterion.op} {criterion.threshold:,.0f} {currency} per 1,000 decisions "
        f"more than without the model; on past data it is {gain_per_1000:,.0f}"
        for criterion in pilot.charter.ready_to_scale.criteria
        if criterion.measure == "gain_per_1000"
    ]


def _score(since: datetime | None, until: datetime | None) -> str:
    _require_both_or_neither(since, until)
    with prefect():
        from groundwork.pipeline.score import score as flow
    scored = flow(since, until)
    _print_json(scored)
    counts = ", ".join(f"{count:,} {decided}" for decided, count in scored.decisions.items())
    return f"{scored.rows:,} rows of {scored.window} by version {scored.model_version}: {counts}"


def _monitor(since: datetime | None, until: datetime | None) -> bool:
    from groundwork.monitoring.drift import DriftUnknown

    _require_both_or_neither(since, until)
    with prefect():
        from groundwork.pipeline.monitor import monitor as flow
    started = time.monotonic()
    try:
        with under_way("monitor"):
            drift = flow(since, until)
    except DriftUnknown as error:
        console.print(f"[yellow]?[/] {'monitor':<8} {escape(str(error))}", soft_wrap=True)
        _print_json({"status": "unknown", "reason": str(error)})
        return False
    _print_json(drift)
    mark = "[green]✓[/]" if drift.status == "ok" else "[yellow]![/]"
    console.print(
        f"{mark} {'monitor':<8} {drift.status}: {drift.reason} [dim]{time.monotonic() - started:.1f} s[/]",
        soft_wrap=True,
    )
    for name in sorted(drift.drifted, key=lambda name: -drift.distances[name]):
        console.print(f"  {'':<8} {name}: distance {drift.distances[name]:.2f}")
    console.print(f"  {'':<8} report: {drift.report}", soft_wrap=True)
    return True


def _ask(pilot: Pilot, address: str) -> list[str]:
    """Send the newest row of the snapshots to the service."""
    from groundwork.data.snapshots import Snapshots

    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    newest = snapshots.newest()
    row = snapshots.read(start=newest).to_pylist()[0]
    record = {column.name: row[column.name] for column in dataset.requested}
    body = json.dumps({"records": [record]}, default=lambda value: value.isoformat())
    answer = _http(f"{address}/predict", body.encode())
    [prediction] = answer["predictions"]
    return [
        f"{record[dataset.key.name]}: {prediction['decision']}, {_said(prediction['score'])}, "
        f"by version {prediction['model_version']}, logged as {prediction['prediction_id']}"
    ]


def _said(score: float | dict[str, float]) -> str:
    if not isinstance(score, dict):
        return f"score {score:.3f}"
    likeliest = max(score, key=lambda name: score[name])
    return f"{likeliest} {score[likeliest]:.0%}"


def _start_service(pilot: Pilot) -> tuple["subprocess.Popen[bytes]", str]:
    port = pilot.settings.port
    if not _is_free(pilot.settings.host, port):
        with socket.socket() as probe:
            probe.bind((pilot.settings.host, 0))
            port = probe.getsockname()[1]
    with _log_file(pilot).open("ab") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "groundwork.cli.app", "serve"],
            stdout=log,
            stderr=log,
            env=os.environ | {"GROUNDWORK_PORT": str(port), "GROUNDWORK_HOME": str(pilot.settings.home)},
            start_new_session=True,  # Ctrl-C reaches this process alone, which then stops the service
        )
    return service, f"http://{pilot.settings.host}:{port}"


def _wait_until_ready(service: "subprocess.Popen[bytes]", address: str, pilot: Pilot) -> None:
    problem = "it did not answer"
    deadline = time.monotonic() + 2 * pilot.settings.registry_timeout_seconds
    while time.monotonic() < deadline and service.poll() is None:
        try:
            _http(f"{address}/health/ready")
            return
        except urllib.error.HTTPError as error:
            problem = json.load(error)["detail"]
        except OSError as error:
            problem = str(error)
        time.sleep(0.1)
    raise GroundworkError(f"the service did not become ready: {problem}; see {_log_file(pilot)}")


def _stop(service: "subprocess.Popen[bytes]") -> None:
    if service.poll() is None:
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(timeout=15)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def _what_next(pilot: Pilot, address: str, serving: bool) -> None:
    console.print()
    if serving:
        console.print(
            f"Serving on {address}: API at {address}/docs, metrics at {address}/metrics. Ctrl-C stops it.",
            soft_wrap=True,
        )
    else:
        console.print("Go on by hand:")
        console.print("  uv run groundwork serve     serve the champion; the API is described at /docs")
        console.print("  uv run groundwork status    champion, flows and drift at a glance")
        console.print("  uv run groundwork --help    all verbs")
    console.print(
        "Bring your own: contract.yaml, src/use_case/, charter.yaml, OWNERS; README.md tells how.", soft_wrap=True
    )


def _http(url: str, body: bytes | None = None) -> Any:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def _is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def _log_file(pilot: Pilot) -> Path:
    return pilot.settings.data_folder / "service.log"


if __name__ == "__main__":
    app()
