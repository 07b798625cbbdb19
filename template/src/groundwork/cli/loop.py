"""The commands of the loop: ingest, train, score, monitor, status."""

import time
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from groundwork.cli.console import EXIT_UNKNOWN, Day, Json, console, entered, print_json, step, suggest, under_way
from groundwork.cli.data import require_both_or_neither, run_ingest
from groundwork.core.errors import GroundworkError
from groundwork.core.quoting import rounded

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from groundwork.documents.pilot import Pilot
    from groundwork.models.scoring.score import Scored
    from groundwork.models.training.train import Trained
    from groundwork.store.drifts import Drift

PANEL = "The loop"
verbs = typer.Typer()

EXAMPLE = "flights"  # the example's data set in contract.yaml
FIRST, LAST = 3, 12  # months of the example's one year of data; three months are enough to train on


@verbs.command(rich_help_panel=PANEL)
def seed() -> None:
    """Load all of the example's data into its operational system."""
    with entered() as pilot, step("seed") as said:
        said.append(release_data(pilot, LAST))
    suggest("ingest")


@verbs.command(rich_help_panel=PANEL)
def release() -> None:
    """Load the next month of the example's data into its operational system."""
    with entered() as pilot, step("release") as said:
        said.append(release_data(pilot))
    suggest("ingest")


@verbs.command(rich_help_panel=PANEL)
def ingest(
    since: Day = None,
    until: Day = None,
    everything: Annotated[bool, typer.Option("--all", help="Compare all of the history with the source.")] = False,
    as_json: Json = False,
) -> None:
    """Ingest new and changed windows, or the days from --since to --until (exclusive)."""
    with entered() as pilot:
        with step("ingest") as said:
            said += run_ingest(pilot, since, until, everything)
        suggest("train", "score")


@verbs.command(rich_help_panel=PANEL)
def train(as_json: Json = False) -> None:
    """Train a candidate and check it at the gate. Exit 1 if the gate refuses it."""
    with entered() as pilot:
        trained = run_train(pilot)
        print_json({"in_service": trained.in_service} | asdict(trained))
    if trained.in_service:
        suggest("score", "serve")
    elif trained.standing == "pending":
        suggest(f"approve {trained.version} --by HANDLE --why REASON")
    else:
        raise typer.Exit(1)


@verbs.command(rich_help_panel=PANEL)
def score(since: Day = None, until: Day = None, as_json: Json = False) -> None:
    """Score all rows of a window with the champion; by default the newest window."""
    with entered() as pilot:
        with step("score") as said:
            said.append(run_score(pilot, since, until))
        suggest("monitor")


@verbs.command(rich_help_panel=PANEL)
def monitor(since: Day = None, until: Day = None, as_json: Json = False) -> None:
    """Measure drift in a window; by default the newest, or several. Exit 2 if drift is unknown."""
    with entered() as pilot:
        known = run_monitor(pilot, since, until)
    suggest("status")
    if not known:
        raise typer.Exit(EXIT_UNKNOWN)


@verbs.command(rich_help_panel=PANEL)
def status(as_json: Json = False) -> None:
    """Show the champion, the last promotions, the last run of each flow, and drift."""
    with entered() as pilot:
        from groundwork.models.registry.version import champion_of
        from groundwork.models.serving.chain import read_chain
        from groundwork.store.database import Store

        owner = pilot.owners.accountable.model
        with Store(pilot.settings.store) as store:
            champion = champion_of(pilot, store)
            chain = read_chain(pilot, store)
            promotions = chain.entries or chain.unsigned
            runs = store.runs.latest(True) + store.runs.latest(False)
            now = datetime.now(UTC)
            unfinished = [run for run in store.runs.under_way() if run.lost_at >= now]
            drift = store.drift.latest()
        console.print(f"champion  {f'version {champion.number}' if champion else 'none: run `groundwork train`'}")
        gain = champion and champion.tags.get("gain_per_1000")  # a restored version may have none
        how = [escape(how_served(champion.tags["bundle_reason"]))] if champion else []
        for line in (*chain.remarks, *how, *(scale_line(pilot, float(gain)) if gain else [])):
            console.print(f"          {line}")
        for entry in promotions[:-6:-1]:
            off = ", switched off," if entry.serves == "no-model" else ""
            console.print(
                f"          {entry.promoted_at[:16].replace('T', ' ')} UTC  {entry.from_version or '-'} → "
                f"{entry.to_version or '-'}{off} by {escape(entry.promoted_by)}: {escape(entry.why)}",
            )
        for run in sorted(runs, key=lambda run: run.started_at):
            mark = "[green]✓[/]" if run.succeeded else "[red]✗[/]"
            console.print(
                f"{mark} {run.flow:<8} {run.started_at:%Y-%m-%d %H:%M} UTC, {run.seconds:.1f} s  {escape(run.message)}",
            )
        for going in unfinished:
            console.print(
                f"… {going.flow:<8} {going.started_at:%Y-%m-%d %H:%M} UTC, running; "
                f"last heartbeat {(now - going.heard_at).total_seconds():.0f} s ago",
            )
        known = f"{drift.status}: {escape(drift.reason)}" if drift else "unknown: run `groundwork monitor`"
        console.print(f"drift     {known}")
        console.print(f"owner     {escape(owner.name)} (@{escape(owner.handle)}) answers for the model")
        log = [entry._asdict() for entry in promotions]
        print_json(
            {
                "champion": champion,
                "promotions": log,
                "flow_runs": runs,
                "under_way": [run._asdict() for run in unfinished],
                "drift": drift,
                "owner": owner.model_dump(),
            }
        )


def plays_example(pilot: "Pilot") -> bool:
    """Returns whether the pilot runs on the example's flights, and not on the team's own data."""
    loader = find_spec("use_case.seed")
    return bool(loader and not pilot.settings.source_url and pilot.contract.dataset.name == EXAMPLE)


def release_data(pilot: "Pilot", until: int | None = None) -> str:
    try:
        from use_case import seed as operational_system
    except ModuleNotFoundError as error:
        raise GroundworkError(f"use_case/seed.py cannot load the example's data: {error}") from None
    if pilot.settings.source_url:
        raise GroundworkError("GROUNDWORK_SOURCE_URL is set, so the example's operational system is not used")
    newest, rows = operational_system.release(pilot.settings.data_folder / "operational.duckdb", until)
    return f"the operational system holds {rows:,} flights, up to month {newest} of 2013"


def how_served(reason: str) -> str:
    """Return `Bundle.reason` as a whole sentence."""
    return f"served as ONNX: {reason}" if reason.startswith("proven") else reason


def run_train(pilot: "Pilot") -> "Trained":
    from groundwork.pipeline import by_hand

    currency = pilot.charter.value.currency
    with step("train") as said:
        trained: Trained = by_hand.run(pilot, "train")
        made = "trained" if trained.new else "was already trained with this code"
        said.append(
            f"version {trained.version} {made} on {trained.rows:,} rows of {trained.past}, judged on "
            f"{trained.rows_judged:,} rows of {trained.judged}"
        )
        said += [each for each in (trained.judged_because, trained.ingest_problem) if each]
        said.append(how_served(trained.bundle))
        if trained.constant:
            said.append(f"nothing to learn from {', '.join(trained.constant)}: one value in all rows to train on")
    rivals = [("version " + trained.version, trained.candidate), ("no-model rule", trained.rule)]
    if trained.champion:
        rivals.append(("champion " + str(trained.champion_before), trained.champion))
    for name, performance in rivals:
        metric = (
            ""
            if performance.metric != performance.metric
            else f", {pilot.charter.gate.metric} {rounded(performance.metric)}"
        )
        console.print(
            f"  {'':<8} {name:<14} {performance.value_per_1000:>8,.0f} {currency} per 1,000 decisions{metric}"
        )
    _show_verdict(trained)
    for line in scale_line(pilot, trained.gain_per_1000):
        console.print(f"  {'':<8} {line}")
    return trained


def _show_verdict(trained: "Trained") -> None:
    mark, said = {
        "champion": ("[green]✓[/]", "remains the champion"),
        "promoted": ("[green]✓[/]", "is now the champion"),
        "pending": (
            "[yellow]?[/]",
            f"passed and waits for approval: `groundwork approve {trained.version} --by … --why …`",
        ),
        "taken out": ("[yellow]![/]", "was champion before and was taken out of service; it is not promoted again"),
        "refused": ("[red]✗[/]", "is refused"),
    }[trained.standing]
    console.print(f"{mark} {'gate':<8} version {trained.version} {said}")
    show_checks(map(asdict, trained.verdict.checks))


def show_checks(checks: "Iterable[Mapping[str, Any]]") -> None:
    """Print one line per check of the gate, given as the verdict's `as_dict` has them."""
    for check in checks:
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[yellow]?[/]"}[check["passed"]]
        console.print(
            f"  {'':<8} {mark} {escape(check['name'])}: required {escape(check['wanted'])}, "
            f"found {escape(check['seen'])}",
        )


def scale_line(pilot: "Pilot", gain_per_1000: float) -> list[str]:
    """Returns one line per gain criterion of the charter: the threshold, and the gain measured on past data.

    `gain_per_1000` is money per 1,000 decisions, on the test window; the gain in service is not known yet.
    """
    currency = pilot.charter.value.currency
    return [
        f"ready to scale ({criterion.id}): gain over today's rule {criterion.op} {currency} {criterion.threshold:,.0f} "
        f"per 1,000 decisions; on past data: {currency} {gain_per_1000:,.0f}"
        for criterion in pilot.charter.ready_to_scale.criteria
        if criterion.measure == "gain_per_1000"
    ]


def run_score(pilot: "Pilot", since: datetime | None, until: datetime | None) -> str:
    from groundwork.core.quoting import listed
    from groundwork.pipeline import by_hand

    require_both_or_neither(since, until)
    scored: Scored = by_hand.run(pilot, "score", since, until)
    print_json(scored)
    names = listed(scored.decisions)
    counts = ", ".join(f"{count:,} {name}" for name, count in zip(names, scored.decisions.values(), strict=True))
    return f"{scored.rows:,} rows of {scored.window} by version {scored.model_version}: {counts}"


def run_monitor(pilot: "Pilot", since: datetime | None, until: datetime | None) -> bool:
    from groundwork.core.windows import Window
    from groundwork.monitoring.drift import DriftUnknown
    from groundwork.pipeline import by_hand

    require_both_or_neither(since, until)
    started = time.monotonic()
    try:
        with under_way("monitor"):
            drift: Drift = by_hand.run(pilot, "monitor", since, until)
    except DriftUnknown as error:
        console.print(f"[yellow]?[/] {'monitor':<8} {escape(str(error))}")
        print_json({"status": "unknown", "reason": str(error)})
        return False
    print_json(drift)
    mark = "[green]✓[/]" if drift.status == "ok" else "[yellow]![/]"
    window = Window(drift.window_start, drift.window_end)
    took = f"[dim]{time.monotonic() - started:.1f} s[/]"
    console.print(f"{mark} {'monitor':<8} {drift.status}: {escape(drift.reason)}, in {window} {took}")
    for name in sorted(drift.drifted, key=lambda name: -drift.distances[name]):
        console.print(f"  {'':<8} {name}: distance {drift.distances[name]:.2f}")
    console.print(f"  {'':<8} report: {pilot.settings.reports / str(drift.report)}")
    return True
