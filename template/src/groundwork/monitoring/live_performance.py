"""Live performance: does the champion still reach the figures it passed the gate with?"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import mlflow
import numpy as np
from numpy.typing import NDArray

from groundwork.core.windows import Window
from groundwork.documents.pilot import Pilot
from groundwork.findings import Finding
from groundwork.models.evaluation.ageing import age
from groundwork.models.evaluation.estimates import Decided, gain, metric_estimate
from groundwork.models.evaluation.performance import (
    ROWS_TIMED,
    decided_by_rule,
    measure_footprint,
    metric_of,
    targets_of,
)
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.serving.predictor import arrays_of_log
from groundwork.models.training.history import Examples
from groundwork.monitoring.drift import scores_of_log
from groundwork.store.database import Store
from groundwork.store.predictions import Prediction
from use_case import decision


def findings_in_service(pilot: Pilot, store: Store, window: Window, logged: list[Prediction]) -> list[Finding]:
    """How the champion does in service. Never raises for what it finds: what cannot be looked at is unknown."""
    checks = ("monitor-stale", "monitor-performance", "monitor-quality", "model-online")
    try:
        champion = Registry(pilot).required_champion()
        answered = [each for each in logged if each.model_version == champion.number and each.role != "shadow"]
        aged = age(pilot, champion, window)
        return [
            Finding("monitor-stale", None if aged.is_due is None else not aged.is_due, str(aged)),
            _cost(pilot, champion, answered),
            *_quality(pilot, champion, answered, store.outcomes.between(*window)),
        ]
    except Exception as error:  # as with drift
        return [Finding(check, None, f"{type(error).__name__}: {error}") for check in checks]


def _cost(pilot: Pilot, champion: Version, answered: list[Prediction]) -> Finding:
    """What an answer costs now, on records that were asked, against the charter's budget."""
    check, limit = "monitor-performance", pilot.charter.gate.max_latency_ms
    asked = answered[:ROWS_TIMED]
    if not asked:
        return Finding(check, None, f"version {champion.number} answered nothing in the window")
    registry = Registry(pilot)
    bundle = Path(registry.pull(champion).folder)
    seen = measure_footprint(registry.predictor(champion), bundle, _examples(pilot, asked, np.zeros(len(asked))))
    said = f"version {champion.number} takes {seen.latency_ms:.2f} ms of CPU time for a row, {limit:g} are allowed"
    return Finding(check, seen.latency_ms <= limit, said)


def _quality(
    pilot: Pilot, champion: Version, answered: list[Prediction], told: Mapping[str, float | str]
) -> Iterator[Finding]:
    """What came of its answers: does it still reach the gate's line, and the figure that it was let in with?"""
    dataset, gate = pilot.contract.dataset, pilot.charter.gate
    known = [each for each in answered if each.prediction_id in told]
    if len(known) < gate.min_rows:
        few = f"of {len(answered):,} answers of version {champion.number}, {len(known):,} have an outcome, "
        for check in ("monitor-quality", "model-online"):
            yield Finding(check, None, f"{few}and {gate.min_rows:,} are wanted: send them to POST /outcomes")
        return
    rows = _examples(pilot, known, dataset.task.outcomes([told[each.prediction_id] for each in known]))
    decisions = np.array([each.decision for each in known])
    worth = decision.value(decisions, rows.outcomes, pilot.charter.value.parameters)
    made = Decided(worth, scores_of_log(known, dataset.task), rows.days)
    over_rule = gain(made, decided_by_rule(pilot, rows), gate.confidence).value
    live = metric_estimate(metric_of(pilot), targets_of(pilot, rows), made, None, gate.confidence)
    said = f"{gate.metric} {live.value:.4f} on {len(known):,} answers"
    known_gain = f"{over_rule:,.0f} {pilot.charter.value.currency} per 1,000 decisions more than the rule"
    sound = bool(gate.reaches(live.value, gate.line) and over_rule >= gate.min_gain_over_rule)
    yield Finding("monitor-quality", sound, f"{said}, the line is {gate.line:g}; {known_gain}")
    offline = _metric_at_the_gate(champion)
    if offline is None:
        yield Finding("model-online", None, f"what the gate saw of version {champion.number} was not kept")
        return
    chance = live.value - live.lower + gate.max_metric_loss
    agree = abs(live.value - offline) <= chance
    yield Finding("model-online", agree, f"{said}, {offline:.4f} at the gate; {chance:.4f} apart is chance")


def _metric_at_the_gate(version: Version) -> float | None:
    try:
        kept = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gate/{version.number}.json")
    except mlflow.exceptions.MlflowException:
        return None
    return float(kept["candidate"]["metric"])


def _examples(pilot: Pilot, logged: list[Prediction], outcomes: NDArray) -> Examples:
    columns = arrays_of_log([each.record for each in logged], pilot.contract.dataset.features)
    days = np.array([each.event_time[:10] for each in logged], "datetime64[D]")
    return Examples(columns, outcomes, days=days)
