"""Verbs that keep the pilot running."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from groundwork.cli.console import Json, console, entered, print_json, step, suggest
from groundwork.cli.up import is_free
from groundwork.core.errors import GroundworkError

if TYPE_CHECKING:
    from groundwork.monitoring.retraining import Retrained

PANEL = "Running it"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def retrain(as_json: Json = False) -> None:
    """Ingest what is due, and train if drift or age calls for it. Exit 1 if the candidate is refused."""
    from groundwork.pipeline import by_hand

    with entered() as pilot, step("retrain") as said:
        retrained: Retrained = by_hand.run(pilot, "retrain")
        said += retrained.reasons or ["nothing calls for a new model"]
        if retrained.trained:
            said.append(f"version {retrained.trained.version}: {retrained.trained.standing}")
            said += retrained.trained.verdict.reasons
        print_json(retrained)
    if retrained.trained and not retrained.trained.in_service:
        raise typer.Exit(1)
    suggest("score", "status")


@verbs.command(rich_help_panel=PANEL)
def worker() -> None:
    """Run the flows on their schedules until it is stopped."""
    from groundwork.pipeline.prefect_server import announced

    for name in ("PREFECT_LOGGING_LEVEL", "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"):
        os.environ.setdefault(name, "INFO")  # nobody else says how the runs go
    from groundwork.store.database import Store

    with entered() as pilot:
        Store(pilot.settings.store).close()  # one of another schema is refused before anything starts
        sole = not pilot.settings.prefect_api_url
        with announced(pilot.settings) as api:
            from groundwork.pipeline.worker import work as run_schedules

            console.print(f"Prefect at {api.removesuffix('/api')}", soft_wrap=True)
            run_schedules(pilot, sole, lambda line: console.print(escape(line), soft_wrap=True))
    sys.stdout.flush()
    os._exit(0)  # to clear away what the flows imported takes seconds, and whoever told it to end waits


@verbs.command(rich_help_panel=PANEL)
def deploy(
    pool: Annotated[str, typer.Option(help="A work pool on the server that PREFECT_API_URL names.")],
    image: Annotated[str, typer.Option(help="The pipeline's image, for pools that start containers.")] = "",
) -> None:
    """Register the flows and their schedules with a work pool."""

    with entered() as pilot:
        from groundwork.pipeline.deployments import register

        for line in register(pilot, pool, image):
            console.print(f"[green]✓[/] {escape(line)}", soft_wrap=True)


@verbs.command(rich_help_panel=PANEL)
def serve() -> None:
    """Serve the champion over HTTP until it is stopped."""
    with entered() as pilot:
        if not is_free(pilot.settings.host, pilot.settings.port):
            raise GroundworkError(
                f"port {pilot.settings.port} on {pilot.settings.host} is in use: stop what uses it, or set "
                "GROUNDWORK_PORT"
            )
        from groundwork.service.auth import keys_for
        from groundwork.service.server import run

        keys_for(pilot.settings.host, pilot.settings.api_keys)
        run(pilot)


@verbs.command(rich_help_panel=PANEL)
def migrate(as_json: Json = False) -> None:
    """Bring the store to the schema version of this code, after a copy of an SQLite file."""
    from groundwork.store.migrate import migrate

    with entered() as pilot, step("migrate") as said:
        done = migrate(pilot.settings.store)
        said += done.told
        print_json({"before": done.before, "after": done.after, "copy": str(done.copy) if done.copy else None})


@verbs.command(rich_help_panel=PANEL)
def key(name: str, scopes: Annotated[str, typer.Argument(help="Joined by +: predict, outcomes, admin.")]) -> None:
    """Make an API key: the key itself, to be kept secret, and its entry for GROUNDWORK_API_KEYS."""
    from groundwork.service.auth import ApiKeys, new_key

    with entered():
        secret, entry = new_key(name, scopes)
        ApiKeys.parse(entry)
        print(secret)
        print(f"GROUNDWORK_API_KEYS={entry}")


@verbs.command(rich_help_panel=PANEL)
def signer() -> None:
    """Print the public key of whoever trains here: the service loads nothing that no trusted key has signed."""
    from groundwork.models.serving.signing import signer

    with entered() as pilot:
        print(f"GROUNDWORK_TRUSTED_KEYS={signer(pilot)}")
