"""Commands that keep the pilot running."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import Json, console, entered, print_json, show, step, suggest, under_way
from groundwork.cli.up import is_free
from groundwork.core.errors import GroundworkError

if TYPE_CHECKING:
    from groundwork.monitoring.retraining import Retrained

PANEL = "Running it"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def retrain(as_json: Json = False) -> None:
    """Ingest new data, and train if drift or the champion's age requires it. Exit 1 if the candidate is refused."""
    from groundwork.pipeline import by_hand

    with entered() as pilot, step("retrain") as said:
        retrained: Retrained = by_hand.run(pilot, "retrain")
        said += retrained.reasons or ["no new model is needed"]
        if retrained.trained:
            said.append(f"version {retrained.trained.version}: {retrained.trained.standing}")
            said += retrained.trained.verdict.reasons
        print_json(retrained)
    if retrained.trained and not retrained.trained.in_service:
        raise typer.Exit(1)
    suggest("score", "status")


@verbs.command(rich_help_panel=PANEL)
def worker() -> None:
    """Run the flows on their schedules until stopped."""
    from groundwork.pipeline.prefect_server import announced

    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        os.environ.setdefault(name, "INFO")  # Prefect's log is the only one that reports scheduled runs
    from groundwork.store.database import Store

    with entered() as pilot:
        Store(pilot.settings.store).close()  # raises SchemaMismatch before anything starts
        sole = not pilot.settings.prefect_api_url
        with announced(pilot.settings) as api:
            from groundwork.pipeline.worker import work as run_schedules

            console.print(f"Prefect at {api.removesuffix('/api')}")
            run_schedules(pilot, sole, lambda line: console.print(escape(line)))
    sys.stdout.flush()
    os._exit(0)  # a normal exit takes seconds to tear down the imported libraries, and the caller waits


@verbs.command(rich_help_panel=PANEL)
def deploy(
    pool: Annotated[str, typer.Option(help="A work pool on the server at PREFECT_API_URL.")],
    image: Annotated[
        str, typer.Option(help="The pipeline's container image; needed unless the pool type is process.")
    ] = "",
) -> None:
    """Register the flows and their schedules with a work pool."""

    with entered() as pilot:
        from groundwork.pipeline.deployments import register

        for line in register(pilot, pool, image):
            console.print(f"[green]✓[/] {escape(line)}")


@verbs.command(rich_help_panel=PANEL)
def serve() -> None:
    """Serve the champion over HTTP until stopped."""
    with entered() as pilot:
        if not is_free(pilot.settings.host, pilot.settings.port):
            raise GroundworkError(
                f"port {pilot.settings.port} on {pilot.settings.host} is in use: stop the process that uses it, or "
                "set GROUNDWORK_PORT to another port"
            )
        from groundwork.service.auth import keys_for
        from groundwork.service.server import run

        keys_for(pilot.settings.host, pilot.settings.api_keys)
        run(pilot)


@verbs.command(rich_help_panel=PANEL)
def migrate(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")] = False,
    documents: Annotated[
        bool, typer.Option("--documents", help="Agree to the proposed changes of charter.yaml, contract.yaml, OWNERS.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Migrate what the pilot holds to the version of this code, after a copy of each thing that changes."""
    from groundwork.pipeline.migration_steps import STEPS

    with entered(documents=False) as pilot:
        told: dict[str, list[str]] = {}
        for each in STEPS:
            asked = each.needs_assent and not documents
            with under_way(each.name):
                lines = each.pending(pilot) if dry_run or asked else each.run(pilot)
            if not lines:
                continue
            told[each.name] = lines
            show(each.name, lines, done=not each.pending(pilot))
            if asked:
                console.print("To agree, run [bold]groundwork migrate --documents[/]. Nothing of yours was changed.")
        if not told:
            console.print("everything has the version of this code: nothing to migrate")
        print_json({"dry_run": dry_run, "steps": told})


@verbs.command(rich_help_panel=PANEL)
def key(
    name: str, scopes: Annotated[str, typer.Argument(help="One or more of predict, outcomes, admin, joined by +.")]
) -> None:
    """Create an API key. Prints the key, which must be kept secret, and its entry for GROUNDWORK_API_KEYS."""
    from groundwork.service.auth import ApiKeys, new_key

    with entered():
        secret, entry = new_key(name, scopes)
        ApiKeys.parse(entry)
        print(secret)
        print(f"GROUNDWORK_API_KEYS={entry}")


@verbs.command(rich_help_panel=PANEL)
def signer() -> None:
    """Print the public key that signs models trained here, for GROUNDWORK_TRUSTED_KEYS of the service."""
    from groundwork.models.serving.signing import signer

    with entered() as pilot:
        print(f"GROUNDWORK_TRUSTED_KEYS={signer(pilot)}")
