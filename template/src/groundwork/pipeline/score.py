"""Score: the champion's predictions for a whole window, into the prediction log."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from groundwork.errors import NotEnoughData
from groundwork.features import arrays
from groundwork.pipeline import artifacts
from groundwork.pipeline.flows import pipeline_flow
from groundwork.promotion import reconcile
from groundwork.registry import Registry
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Prediction, Store, utc_text
from groundwork.windows import Window
from use_case import decision

NAMESPACE = uuid.UUID("5f2b5c1e-6a53-4c8b-9a0e-0b9a4c0f1d3a")


@dataclass(frozen=True)
class Scored:
    """What a run answered."""

    window: Window
    rows: int
    model_version: str
    decisions: dict[str, int]


def score_window(settings: Settings, store: Store, window: Window) -> Scored:
    """Score every row of the window. The same rows scored again by the same version are not logged twice."""
    dataset = settings.contract.dataset
    registry = Registry(settings)
    reconcile(store, registry)
    champion = registry.required_champion()
    rows = Snapshots(settings.snapshots, dataset).read(*window)
    if not rows.num_rows:
        raise NotEnoughData(f"the snapshots hold no rows from {window}")
    columns = {column.name: rows[column.name].to_pylist() for column in dataset.columns}
    scores = registry.predictor(champion).scores(arrays(columns, dataset.features))
    decisions = decision.decide(scores, settings.charter.value.parameters).tolist()
    names = [column.name for column in dataset.logged]
    now = utc_text(datetime.now(UTC))
    store.log_predictions(
        [
            Prediction(
                prediction_id=uuid.uuid5(NAMESPACE, f"{champion.number}|{key}|{at.isoformat()}").hex,
                answered_at=now,
                role="batch",
                entity_key=key,
                event_time=at.isoformat(),
                model_version=champion.number,
                score=score,
                decision=decided,
                record=msgspec.json.encode(dict(zip(names, record, strict=True))).decode(),
            )
            for key, at, score, decided, record in zip(
                columns[dataset.key.name],
                columns[dataset.event_time.name],
                scores.tolist(),
                decisions,
                zip(*(columns[name] for name in names), strict=True),
                strict=True,
            )
        ]
    )
    counts = {action: decisions.count(action) for action in sorted(set(decisions))}
    return Scored(window, rows.num_rows, champion.number, counts)


@pipeline_flow(artifacts.of_score)
def score(start: datetime | None = None, end: datetime | None = None) -> Scored:
    """Score [start, end), by default the newest window."""
    settings = Settings()
    snapshots = Snapshots(settings.snapshots, settings.contract.dataset)
    with Store(settings.store) as store, store.recorded("score") as run:
        window = Window(start, end) if start and end else snapshots.newest_window(settings.charter.monitoring.window)
        scored = score_window(settings, store, window)
        run.rows_in = scored.rows
    return scored
