"""Score: the champion's predictions for a whole window, into the prediction log."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import urlsplit

from groundwork.core.errors import ClusterError, NotEnoughData
from groundwork.core.progress import tell
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import reconcile
from groundwork.models.registry.registry import Registry
from groundwork.models.scoring.batch import Job, made_of, score_on_worker, score_rows
from groundwork.models.scoring.dask_cluster import spread
from groundwork.store import Store, utc_text

PIECE_ROWS = 100_000  # for one worker at a time


@dataclass(frozen=True)
class Scored:
    """What a run answered."""

    window: Window
    rows: int
    model_version: str
    decisions: dict[str, int]


def score_window(pilot: Pilot, store: Store, window: Window) -> Scored:
    """Score every row of the window. The same rows scored again by the same version are not logged twice.

    It is done in this process, or by the workers of a Dask scheduler: GROUNDWORK_DASK_SCHEDULER decides.
    """
    registry = Registry(pilot)
    reconcile(store, registry)
    champion = registry.required_champion()
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    version = snapshots.version
    pieces = snapshots.pieces(window, PIECE_ROWS, version) if version is not None else []
    if version is None or not pieces:
        raise NotEnoughData(f"the snapshots hold no rows from {window}")
    job = Job(champion.number, champion.bundle_sha256, version, utc_text(datetime.now(UTC)), made_of(pilot))
    scored = (
        _on_workers(pilot, job, [piece for piece, _ in pieces])
        if pilot.settings.dask_scheduler
        else score_rows(pilot, store, registry.predictor(champion), job, window)
    )
    decisions: Counter[str] = Counter()
    expected = sum(rows for _, rows in pieces)
    for counted in scored:
        decisions += counted
        tell("rows", decisions.total(), expected)
    if decisions.total() != expected:
        raise ClusterError(
            f"{decisions.total():,} rows were scored, and the snapshots hold {expected:,} from {window}: "
            "the workers read another table; give them the same GROUNDWORK_DATA or GROUNDWORK_SNAPSHOTS_URL"
        )
    return Scored(window, expected, champion.number, dict(sorted(decisions.items())))


def _on_workers(pilot: Pilot, job: Job, pieces: list[Window]) -> Iterator[Counter[str]]:
    on_this_machine = urlsplit(pilot.settings.dask_scheduler).hostname in ("127.0.0.1", "::1", "localhost")
    if pilot.settings.store.startswith("sqlite:") and not on_this_machine:
        raise ClusterError(
            "workers on other machines cannot write into the prediction log in SQLite: "
            "set GROUNDWORK_STORE_URL=postgresql://… here and for the workers"
        )
    return spread(pilot.settings.dask_scheduler, partial(score_on_worker, job), pieces)


def score(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score [start, end), by default the newest window."""
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    with Store(pilot.settings.store) as store, store.recorded("score") as run:
        window = Window(start, end) if start and end else snapshots.newest_window(pilot.charter.monitoring.window)
        scored = score_window(pilot, store, window)
        run.rows_in = scored.rows
    return scored
