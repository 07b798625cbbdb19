"""Commands that run the whole loop: `up`, and `demo`, which plays several months of the example."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from groundwork.cli.console import EXIT_UNKNOWN, console, entered, show, step, suggest, under_way
from groundwork.cli.data import run_ingest
from groundwork.cli.loop import (
    FIRST,
    LAST,
    plays_example,
    release_data,
    run_monitor,
    run_score,
    run_train,
)
from groundwork.core.errors import GroundworkError
from groundwork.core.quoting import rounded

if TYPE_CHECKING:
    from groundwork.documents.pilot import Pilot

PANEL = "The loop"
verbs = typer.Typer()


@verbs.command(rich_help_panel=PANEL)
def up(
    once: Annotated[bool, typer.Option("--once", help="Stop the service after the loop.")] = False,
) -> None:
    """Run the whole loop: ingest, train, gate, serve, predict, score, monitor. Then keep serving."""
    with entered() as pilot:
        console.print(f"[bold]{escape(pilot.charter.metadata.title)}[/]: {escape(pilot.charter.decision.statement)}")
        from groundwork.pipeline.migration_steps import STEPS

        for each in STEPS:
            if not each.pending(pilot):
                continue
            if each.needs_assent:
                console.print("[yellow]![/] a change of your documents is proposed: `groundwork migrate` shows it")
                continue
            with under_way("migrate"):
                lines = each.run(pilot)
            show("migrate", lines, done=not each.pending(pilot))
        if plays_example(pilot):
            with step("seed") as said:
                said.append(release_data(pilot, LAST))
        with step("ingest") as said:
            said += run_ingest(pilot)
        trained = run_train(pilot)
        if trained.standing == "pending" and trained.champion_before is None:
            raise GroundworkError(f"there is no champion to serve yet: version {trained.version} waits for approval")
        if not trained.in_service and trained.champion_before is None:
            raise GroundworkError(
                "there is no champion to serve: improve the data or the model, or change the gate in charter.yaml"
            )
        service, address = start_service(pilot)
        try:
            with step("serve") as said:
                wait_until_ready(service, address, pilot)
                said.append(f"{address} is ready, process {service.pid}, log in {log_file(pilot)}")
            with step("predict") as said:
                said += ask_service(pilot, address)
            with step("score") as said:
                said.append(run_score(pilot, None, None))
            known = run_monitor(pilot, None, None)
            _what_next(pilot, address, serving=not once)
            if not once:
                with contextlib.suppress(KeyboardInterrupt):
                    service.wait()
        finally:
            stop_service(service)
    if not known:
        raise typer.Exit(EXIT_UNKNOWN)


@verbs.command(rich_help_panel=PANEL)
def demo(months: Annotated[int, typer.Option(min=1, help="Number of months to play.")] = 1) -> None:
    """Show how drift appears: load the example month by month, and run the loop on each month.

    The champion scores the new month, the monitor measures drift, then a candidate is trained and checked at the gate.
    The demo uses its own folder, data/demo; the pilot's data is not changed.
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
        from groundwork.data.snapshots import Snapshots
        from groundwork.models.registry.registry import Registry

        snapshots, registry = Snapshots(pilot.snapshots, pilot.contract.dataset), Registry(pilot)
        for _ in range(months):
            newest = snapshots.newest()
            if newest and newest.month == LAST:
                show_months(pilot)
                raise GroundworkError(
                    f"the example has no more months: delete {pilot.settings.data_folder} to start again"
                )
            with step("release") as said:
                said.append(release_data(pilot, None if newest else FIRST))
            with step("ingest") as said:
                said += run_ingest(pilot)
            champion = registry.champion()
            if champion or run_train(pilot).in_service:  # scoring needs a champion
                with step("score") as said:
                    said.append(run_score(pilot, None, None))
                run_monitor(pilot, None, None)
            if champion:
                run_train(pilot)
            console.print()
        show_months(pilot)
    suggest("demo")


def show_months(pilot: "Pilot") -> None:
    """Print a table of the monitor's results so far, one row per window."""
    from rich.table import Table

    from groundwork.store.database import Store

    table = Table("window", "scored by", "drift", "share of columns", "drifted columns", box=None, pad_edge=False)
    with Store(pilot.settings.store) as store:
        for drift in store.drift.by_window():
            table.add_row(
                f"{drift.window_start:%Y-%m}",
                f"version {drift.model_version}" if drift.model_version else "no model",
                {"ok": "[green]ok[/]", "drift": "[yellow]drift[/]"}.get(drift.status, "[yellow]unknown[/]"),
                "" if drift.status == "unknown" else f"{drift.share:.0%}",
                escape(", ".join(drift.drifted)),
            )
    none = "no model is in service, so no month was scored; try one more month"
    console.print(table if table.rows else none, soft_wrap=False)


def ask_service(pilot: "Pilot", address: str) -> list[str]:
    """Send the newest row of the snapshots to the service; returns the answer as one line of text."""
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
        f"{record[dataset.key.name]}: {prediction['decision']}, {_score_text(prediction['score'])}, "
        f"by version {prediction['model_version']}, logged as {prediction['prediction_id']}"
    ]


def _score_text(score: float | dict[str, float]) -> str:
    if not isinstance(score, dict):
        return f"score {rounded(score)}"
    likeliest = max(score, key=lambda name: score[name])
    return f"{likeliest} {score[likeliest]:.0%}"


def _what_next(pilot: "Pilot", address: str, serving: bool) -> None:
    console.print()
    if serving:
        console.print(
            f"Serving on {address}: API at {address}/docs, metrics at {address}/metrics. Ctrl-C stops it.",
        )
    else:
        console.print("Next commands:")
        console.print("  uv run groundwork serve     serve the champion; the API is documented at /docs")
        console.print("  uv run groundwork status    show champion, flows and drift")
        console.print("  uv run groundwork --help    list all commands")
    if plays_example(pilot):
        console.print(
            "To use your own data, edit contract.yaml, src/use_case/, charter.yaml and OWNERS; see README.md.",
        )


def start_service(pilot: "Pilot") -> tuple["subprocess.Popen[bytes]", str]:
    port = pilot.settings.port
    if not is_free(pilot.settings.host, port):
        with socket.socket() as probe:
            probe.bind((pilot.settings.host, 0))
            port = probe.getsockname()[1]
    with log_file(pilot).open("ab") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "groundwork.cli.main", "serve"],
            stdout=log,
            stderr=log,
            env=os.environ | {"GROUNDWORK_PORT": str(port), "GROUNDWORK_HOME": str(pilot.settings.home)},
            start_new_session=True,  # Ctrl-C reaches only this process, which then stops the service
        )
    return service, f"http://{pilot.settings.host}:{port}"


def wait_until_ready(service: "subprocess.Popen[bytes]", address: str, pilot: "Pilot") -> None:
    import urllib.error

    problem = "no answer"
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
    raise GroundworkError(f"the service did not become ready: {problem}; see {log_file(pilot)}")


def stop_service(service: "subprocess.Popen[bytes]") -> None:
    if service.poll() is None:
        service.send_signal(signal.SIGTERM)
        try:
            service.wait(timeout=15)
        except subprocess.TimeoutExpired:
            service.kill()
            service.wait()


def _http(url: str, body: bytes | None = None) -> Any:
    import urllib.request

    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def is_free(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def log_file(pilot: "Pilot") -> Path:
    return pilot.settings.data_folder / "service.log"
