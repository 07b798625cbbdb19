"""Scores and logs the rows of a window piece by piece, so that memory does not grow with the window.

A worker imports this module before `prepare` has silenced the libraries, so MLflow is imported within a function.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache, partial
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
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
from groundwork.store.batches import Batch, block
from groundwork.store.columns import LoggedColumn
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
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


def score_piece(pilot: Pilot, store: Store, predictor: Predictor, job: ScoringJob, piece: Window) -> Counter[str]:
    """Log the model's prediction for every row of the piece, as one batch; return the number of each decision.

    A row that the same version scores again is not logged twice.
    """
    dataset = pilot.contract.dataset
    asked = [column.name for column in dataset.requested]
    rows = Snapshots(pilot.snapshots, dataset).read(*piece, job.snapshot_version, asked)
    columns: dict[str, pa.ChunkedArray] = {name: rows[name] for name in asked}
    for column in dataset.timestamps:
        columns[column.name] = _times_as_logged(columns[column.name], dataset.zone)
    scores = predictor.scores(arrays(columns, dataset.features))
    decisions = deciding.decide(
        scores, pilot.charter.value.parameters, deciding.Rows(dataset.decision_columns, columns.__getitem__)
    )
    store.predictions.log_new(_batch(dataset, job, columns, scores, decisions))
    found, counts = np.unique(decisions, return_counts=True)
    return Counter(dict(zip(found.tolist(), counts.tolist(), strict=True)))


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
        return score_piece(pilot, store, predictor, job, piece)


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


def _times_as_logged(times: pa.ChunkedArray, zone: tzinfo) -> pa.ChunkedArray:
    """Return the times as texts, as the service logs them: local time, with its offset unless the zone is UTC."""
    seconds = times.cast(pa.timestamp("s", times.type.tz), safe=False)
    whole = pc.all(pc.equal(seconds.cast(times.type), times)).as_py()
    if whole and zone is UTC:
        return pc.strftime(seconds, "%Y-%m-%dT%H:%M:%S")
    if (
        whole and isinstance(zone, ZoneInfo) and pc.min(pc.year(seconds)).as_py() >= 1970
    ):  # then offsets are whole minutes
        texts = pc.strftime(seconds.cast(pa.timestamp("s", zone.key)), "%Y-%m-%dT%H:%M:%S%z")
        hours, minutes = pc.utf8_slice_codeunits(texts, 0, 22), pc.utf8_slice_codeunits(texts, 22)
        return pc.binary_join_element_wise(hours, minutes, ":")
    local = [value and with_offset(value, zone).isoformat() for value in times.to_pylist()]
    return pa.chunked_array([pa.array(local, pa.string())])


def _batch(
    dataset: Dataset, job: ScoringJob, columns: dict[str, pa.ChunkedArray], scores: NDArray, decisions: NDArray
) -> Batch:
    """Return the batch for the log; its id is always the same for the same rows and version."""
    key, at = dataset.key.name, dataset.event_time.name
    record = {column.name: _logged(columns[column.name]) for column in dataset.logged}
    keys, times = (record[name] if name in record else _logged(columns[name]) for name in (key, at))
    first, last = pc.min_max(columns[at]).values()
    digest = hashlib.sha256(job.model_version.encode())
    for column in (keys, times):
        digest.update(column.values.tobytes() + column.text)
    moment = datetime.fromisoformat(first.as_py())
    since = moment - (EPOCH if moment.tzinfo else EPOCH.replace(tzinfo=None))
    return Batch(
        # It begins with the event time: random ids in the index of a large log would be far from each other.
        batch_id=f"{since // MILLISECOND % 2**48:012x}{digest.hexdigest()[:12]}",
        answered_at=job.answered_at,
        role="batch",
        model_version=job.model_version,
        first_event_time=first.as_py(),
        last_event_time=last.as_py(),
        answered=len(scores),
        rows=len(scores),
        columns=block(
            keys=key if key in record else keys,
            times=at if at in record else times,
            decisions=decisions.tolist(),
            scores=dataset.task.logged(scores),
            record=record,
        ),
    )


def _logged(column: pa.ChunkedArray) -> LoggedColumn:
    """Return an Arrow column as the log stores it, without a Python object per value."""
    values = column.combine_chunks()
    valid = None if not values.null_count else pc.is_valid(values).to_numpy(zero_copy_only=False)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        texts = values.fill_null("").cast(pa.large_string())
        buffers = texts.buffers()
        offsets = np.frombuffer(buffers[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]
        return LoggedColumn("text", np.diff(offsets), valid, bytes(buffers[2] or b"")[offsets[0] : offsets[-1]])
    kind = "bool" if pa.types.is_boolean(values.type) else "int" if pa.types.is_integer(values.type) else "float"
    return LoggedColumn(kind, values.fill_null(False if kind == "bool" else 0).to_numpy(zero_copy_only=False), valid)


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
        else _here(pilot, store, registry.predictor(champion), job, [piece for piece, _ in pieces])
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


def _here(
    pilot: Pilot, store: Store, predictor: Predictor, job: ScoringJob, pieces: list[Window]
) -> Iterator[Counter[str]]:
    for piece in pieces:
        yield score_piece(pilot, store, predictor, job, piece)


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
