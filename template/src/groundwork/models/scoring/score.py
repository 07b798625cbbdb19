"""Scores and logs the rows of a window batch by batch, so that memory does not grow with the window.

A worker imports this module before `prepare` has silenced the libraries, so MLflow is imported within a function.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from numpy.typing import NDArray

from groundwork.core.environment import prepare
from groundwork.core.errors import ClusterError, NotEnoughData
from groundwork.core.files import digest_of
from groundwork.core.progress import tell
from groundwork.core.settings import Settings
from groundwork.core.windows import Window, with_offset
from groundwork.data.snapshots import Snapshots
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import reconcile
from groundwork.models.registry.registry import Registry
from groundwork.models.scoring.dask_cluster import spread
from groundwork.models.serving import deciding
from groundwork.models.serving.predictor import Predictor, arrays
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from groundwork.store.predictions import Prediction
from use_case import decision

EPOCH, MILLISECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(milliseconds=1)


@dataclass(frozen=True)
class ScoringJob:
    """The data that all pieces of a run share, without addresses and passwords: each worker has its own settings."""

    model_version: str
    bundle_sha256: str
    snapshot_version: int
    answered_at: str  # UTC
    made_of: str  # digest of the documents and code that decide the result


def score_rows(
    pilot: Pilot, store: Store, predictor: Predictor, job: ScoringJob, piece: Window
) -> Iterator[Counter[str]]:
    """Log the model's prediction for every row of the piece; yield the number of each decision, batch by batch.

    A row that the same version scores again is not logged twice.
    """
    dataset = pilot.contract.dataset
    worth = pilot.charter.value.parameters
    asked = [column.name for column in dataset.requested]
    for rows in Snapshots(pilot.snapshots, dataset).batches(*piece, job.snapshot_version, asked):
        columns = {name: rows[name].to_pylist() for name in asked}
        for column in dataset.timestamps:  # as the service logs them
            columns[column.name] = [value and with_offset(value, dataset.zone) for value in columns[column.name]]
        scores = predictor.scores(arrays(columns, dataset.features))
        raw = deciding.Rows(dataset.decision_columns, columns.__getitem__)
        decided = deciding.decide(scores, worth, raw).tolist()
        store.predictions.log(_predictions(dataset, job, columns, scores, decided))
        yield Counter(decided)


def score_on_worker(job: ScoringJob, piece: Window) -> Counter[str]:
    """Score a piece on a worker, which has its own copy of the pilot; return the number of each decision.

    Raises ClusterError if the worker's documents, code or registry differ from those of the job.
    """
    pilot = Pilot.here()
    prepare(pilot.settings)
    if made_of(pilot) != job.made_of:
        raise ClusterError(
            "a worker has other documents, or another src/use_case, than the process that started the run: "
            "start the workers from the same commit"
        )
    with Store(pilot.settings.store) as store:
        predictor = _loaded(pilot.settings.home, job.model_version, job.bundle_sha256)
        return sum(score_rows(pilot, store, predictor, job, piece), Counter())


def made_of(pilot: Pilot) -> str:
    """Return the digest of contract, charter and the use case's code: with the model, they determine each decision."""
    home, use_case = pilot.settings.home, Path(decision.__file__).parent
    return digest_of(home / "contract.yaml", home / "charter.yaml", *sorted(use_case.glob("*.py")))


@lru_cache(maxsize=1)  # all pieces of a process use the same version
def _loaded(home: Path, model_version: str, bundle_sha256: str) -> Predictor:
    from groundwork.models.registry.registry import Registry

    pilot = Pilot(Settings(home=home))
    registry = Registry(pilot)
    version = registry.version(model_version)
    if version is None or version.bundle_sha256 != bundle_sha256:
        raise ClusterError(
            f"a worker cannot find version {model_version} of {registry.name} in its registry: "
            "give it the same MLFLOW_TRACKING_URI"
        )
    return registry.predictor(version)


def _identifier(model_version: str, key: str, at: datetime) -> str:
    """Return the prediction id, which is always the same for the same row and version.

    It begins with the event time: inserting random ids into the index of a large log would take longer than scoring.
    """
    digest = hashlib.sha256(f"{model_version}|{key}|{at.isoformat()}".encode()).hexdigest()
    since = at - (EPOCH if at.tzinfo else EPOCH.replace(tzinfo=None))
    return f"{since // MILLISECOND % 2**48:012x}{digest[:20]}"


def _predictions(
    dataset: Dataset, job: ScoringJob, columns: dict[str, list], scores: NDArray, decisions: list[str]
) -> list[Prediction]:
    encode = msgspec.json.Encoder().encode
    names = [column.name for column in dataset.logged]
    single, by_class = dataset.task.logged(scores)
    return [
        Prediction(
            prediction_id=_identifier(job.model_version, key, at),
            answered_at=job.answered_at,
            role="batch",
            entity_key=key,
            event_time=at.isoformat(),
            model_version=job.model_version,
            score=score,
            decision=decided,
            record=encode(dict(zip(names, record, strict=True))).decode(),
            class_scores=class_scores,
        )
        for key, at, score, class_scores, decided, record in zip(
            columns[dataset.key.name],
            columns[dataset.event_time.name],
            single,
            by_class,
            decisions,
            zip(*(columns[name] for name in names), strict=True),
            strict=True,
        )
    ]


PIECE_ROWS = 100_000  # rows per piece, which one worker scores


@dataclass(frozen=True)
class Scored:
    """The result of a scoring run: `decisions` holds the number of rows per decision."""

    window: Window
    rows: int
    model_version: str
    decisions: dict[str, int]


def score_window(pilot: Pilot, store: Store, window: Window) -> Scored:
    """Score every row of the window, in this process or on the Dask scheduler of GROUNDWORK_DASK_SCHEDULER.

    Rows that the same version scores again are not logged twice. Raises NoChampion without a champion, NotEnoughData if
    the window holds no rows, ClusterError if the workers fail.
    """
    registry = Registry(pilot)
    reconcile(store, registry)
    champion = registry.required_champion()
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    version = snapshots.version
    pieces = snapshots.pieces(window, PIECE_ROWS, version) if version is not None else []
    if version is None or not pieces:
        raise NotEnoughData(f"the snapshots hold no rows from {window}")
    job = ScoringJob(
        model_version=champion.number,
        bundle_sha256=champion.bundle_sha256,
        snapshot_version=version,
        answered_at=utc_text(datetime.now(UTC)),
        made_of=made_of(pilot),
    )
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
            f"{decisions.total():,} rows were scored, but the snapshots hold {expected:,} from {window}: "
            "the workers read another table; give them the same GROUNDWORK_DATA or GROUNDWORK_SNAPSHOTS_URL"
        )
    return Scored(window, expected, champion.number, dict(sorted(decisions.items())))


def _on_workers(pilot: Pilot, job: ScoringJob, pieces: list[Window]) -> Iterator[Counter[str]]:
    on_this_machine = urlsplit(pilot.settings.dask_scheduler).hostname in ("127.0.0.1", "::1", "localhost")
    if pilot.settings.store.startswith("sqlite:") and not on_this_machine:
        raise ClusterError(
            "workers on other machines cannot write to the prediction log in SQLite: "
            "set GROUNDWORK_STORE_URL=postgresql://… here and for the workers"
        )
    return spread(pilot.settings.dask_scheduler, partial(score_on_worker, job), pieces)


def score(pilot: Pilot, start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score [start, end), by default the newest window."""
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    with Store(pilot.settings.store) as store, store.runs.recorded("score") as run:
        window = Window(start, end) if start and end else snapshots.newest_window(pilot.charter.monitoring.window)
        scored = score_window(pilot, store, window)
        run.rows_in = scored.rows
    return scored
