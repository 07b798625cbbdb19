"""Live performance: compares the champion in service with its figures at the gate."""

import math
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
from numpy.typing import NDArray

from groundwork.core.quoting import rounded
from groundwork.core.windows import Window
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import age
from groundwork.models.evaluation.estimates import Decisions, gain, metric_estimate
from groundwork.models.evaluation.performance import (
    ROWS_TIMED,
    decided_by_rule,
    measure_footprint,
    metric_of,
    targets_of,
)
from groundwork.models.gate.judge import reaches
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.serving import deciding
from groundwork.models.serving.predictor import arrays
from groundwork.models.training.history import Examples
from groundwork.monitoring.drift import answers_of, scores_of_log
from groundwork.store.batches import Logged
from groundwork.store.database import Store
from groundwork.store.findings import Finding
from groundwork.store.outcomes import KnownOutcomes


def findings_in_service(pilot: Pilot, store: Store, window: Window) -> list[Finding]:
    """Return the findings about the champion in service: age, CPU time, metric and gain.

    It never raises: a check that fails with an error is unknown, and its text is the error.
    """
    checks = ("monitor-stale", "monitor-performance", "monitor-quality", "model-online")
    try:
        champion = Registry(pilot).required_champion()
        part = answers_of(champion.number, window)
        answered = store.predictions.read(part)
        aged = age(pilot, champion, window)
        return [
            Finding("monitor-stale", None if aged.is_due is None else not aged.is_due, str(aged)),
            _cost(pilot, champion, answered),
            *_quality(pilot, champion, answered, store.outcomes.of(answered, part)),
        ]
    except Exception as error:  # as in check_drift: an error must not look like a good result
        return [Finding(check, None, f"{type(error).__name__}: {error}") for check in checks]


def _cost(pilot: Pilot, champion: Version, answered: Logged) -> Finding:
    """Compare the CPU time per row, measured on logged requests, with the charter's limit."""
    check, limit = "monitor-performance", pilot.charter.gate.max_latency_ms
    asked = answered.take(np.arange(min(ROWS_TIMED, answered.rows)))
    if not asked.rows:
        return Finding(check, None, f"version {champion.number} answered no request in the window")
    registry = Registry(pilot)
    bundle = Path(registry.pull(champion).folder)
    seen = measure_footprint(registry.predictor(champion), bundle, _examples(pilot, asked, np.zeros(asked.rows)))
    said = f"version {champion.number} takes {rounded(seen.latency_ms)} ms of CPU time per row"
    return Finding(check, seen.latency_ms <= limit, f"{said}, at most {limit:g} ms allowed")


def _quality(pilot: Pilot, champion: Version, answered: Logged, known: KnownOutcomes) -> Iterator[Finding]:
    """Compare the live metric and gain with the gate's limits, and the live metric with the metric at the gate."""
    dataset, gate = pilot.contract.dataset, pilot.charter.gate
    count = len(known.outcomes)
    if count < gate.min_rows:
        few = f"{count:,} of {answered.rows:,} answers of version {champion.number} have an outcome, "
        for check in ("monitor-quality", "model-online"):
            yield Finding(check, None, f"{few}at least {gate.min_rows:,} required: send outcomes to POST /outcomes")
        return
    made_known = answered.take(known.rows)
    rows = _examples(pilot, made_known, dataset.task.outcomes(known.outcomes))
    decisions = np.array(made_known.column("decision").tolist())
    money = deciding.value(decisions, rows.outcomes, pilot.charter.value.parameters, rows.rows)
    made = Decisions(money, scores_of_log(made_known, dataset.task), rows.days)
    over_rule = gain(made, decided_by_rule(pilot, rows), gate.confidence)
    live = metric_estimate(metric_of(pilot), targets_of(pilot, rows), made, None, gate.confidence)
    said = f"{gate.metric} {rounded(live.value)} on {count:,} answers"
    known_gain = f"gain over today's rule {pilot.charter.value.currency} {over_rule.value:,.0f} per 1,000 decisions"
    sound: bool | None = bool(reaches(gate, live, gate.line) and over_rule.lower >= gate.min_gain_over_rule)
    if math.isnan(live.value):  # for example because only one outcome occurred
        sound = None
    elif not sound and gate.reaches(live.value, gate.line) and over_rule.value >= gate.min_gain_over_rule:
        sound = None  # the figures are good enough, their bounds are not yet
        known_gain += f"; too few outcomes to be sure of both at {gate.confidence:.0%} confidence"
    yield Finding("monitor-quality", sound, f"{said}, required {gate.line:,.15g}; {known_gain}")
    offline = _metric_at_the_gate(champion)
    if offline is None:
        yield Finding("model-online", None, f"the gate's verdict on version {champion.number} was not kept")
        return
    chance = live.value - live.lower + gate.max_metric_loss
    agree = None if math.isnan(chance) else abs(live.value - offline) <= chance
    yield Finding(
        "model-online", agree, f"{said}, {rounded(offline)} at the gate, tolerated difference {rounded(chance)}"
    )


def _metric_at_the_gate(version: Version) -> float | None:
    try:
        kept = mlflow.artifacts.load_dict(f"runs:/{version.run_id}/gate/{version.number}.json")
    except mlflow.exceptions.MlflowException:
        return None
    return float(kept["candidate"]["metric"])


def _examples(pilot: Pilot, logged: Logged, outcomes: NDArray) -> Examples:
    dataset = pilot.contract.dataset
    days = np.array([each[:10] for each in logged.column("event_time").tolist()], "datetime64[D]")
    columns = arrays(logged.records(dataset.feature_names), dataset.features)
    rows = deciding.Rows(dataset.decision_columns, logged.record)
    return Examples(columns=columns, outcomes=outcomes, days=days, rows=rows)
