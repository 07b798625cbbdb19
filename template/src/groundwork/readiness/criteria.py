"""Measures the charter's criteria: on logged predictions and their outcomes, on Prometheus, SQL and attestations."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from groundwork.core.errors import StoreError, UseCaseError
from groundwork.core.quoting import rounded
from groundwork.documents.charter import Criterion
from groundwork.documents.pilot import Pilot
from groundwork.models.serving import deciding
from groundwork.models.serving.predictor import arrays
from groundwork.readiness.scorecard import Row, State
from groundwork.readiness.statements import Attestation, Statements
from groundwork.store.batches import LogPart
from groundwork.store.connection import utc_text
from groundwork.store.database import Store


class Measurement(NamedTuple):
    """A value with its number of samples. If the value is unknown, it is None and `problem` says why."""

    value: float | None
    samples: int
    proof: str
    problem: str = ""


class MeasurementContext(NamedTuple):
    """The sources that the criteria are measured on."""

    pilot: Pilot
    store: Store
    statements: Statements
    states: Mapping[str, State]  # the scorecard's other rows, for criteria that name one
    today: date


def scale_rows(criteria: Sequence[Criterion], context: MeasurementContext) -> list[Row]:
    """Return one row per criterion for scaling: passed if the criterion is met."""
    return [_row(each, context, "improve it until the criterion is met, or decide to stop") for each in criteria]


def stop_rows(criteria: Sequence[Criterion], context: MeasurementContext) -> list[Row]:
    """Return one row per criterion for stopping: failed if the criterion is met."""
    swapped: dict[State, State] = {"passed": "failed", "failed": "passed"}
    found = [_row(each, context, "") for each in criteria]
    return [
        replace(
            row,
            state=swapped.get(row.state, row.state),
            wanted=required(criterion, context.pilot.charter.value.currency, negated=True),
            fix="decide to stop: `groundwork decide stop`" if row.state == "passed" else row.fix,
        )
        for criterion, row in zip(criteria, found, strict=True)
    ]


def _row(criterion: Criterion, context: MeasurementContext, fix: str) -> Row:
    measured, currency = _measure(criterion, context), context.pilot.charter.value.currency
    seen = measured.problem
    state: State = "unknown"
    if measured.value is not None:
        seen = f"{_with_unit(criterion, rounded(measured.value), currency)} (n = {measured.samples:,})"
        if measured.samples < criterion.min_samples:
            seen += ": too few samples"
        else:
            state = "passed" if criterion.met_by(measured.value) else "failed"
    return Row(
        id=criterion.id,
        title=criterion.question,
        section="scale",
        level=criterion.level,
        state=state,
        wanted=required(criterion, currency),
        seen=seen,
        owner=criterion.owner,
        proof=measured.proof,
        fix={"passed": "", "failed": fix}.get(state, seen),
    )


def required(criterion: Criterion, currency: str, negated: bool = False) -> str:
    """Return the requirement in words, or its opposite: `at most 20 in 30 days, at least 1 sample`."""
    words = {">=": "at least", "<": "less than", ">": "more than", "<=": "at most"}
    opposite = {">=": "<", "<": ">=", ">": "<=", "<=": ">"}
    op = words[opposite[criterion.op] if negated else criterion.op]
    figure = _with_unit(criterion, f"{criterion.threshold:,.15g}", currency)
    days, samples = criterion.window[:-1], criterion.min_samples
    return (
        f"{op} {figure} in {days} day{'' if days == '1' else 's'}, "
        f"at least {samples:,} sample{'' if samples == 1 else 's'}"
    )


def _with_unit(criterion: Criterion, figure: str, currency: str) -> str:
    return f"{currency} {figure} per 1,000 decisions" if criterion.measure == "gain_per_1000" else figure


def _measure(criterion: Criterion, context: MeasurementContext) -> Measurement:
    measure = criterion.measure
    midnight = datetime.combine(context.today, datetime.min.time(), UTC)
    since = midnight - timedelta(days=int(criterion.window[:-1]))
    if isinstance(measure, str):
        return gain_in_service(context.pilot, context.store, since, midnight + timedelta(days=1))
    if measure.promql:
        return _ask_prometheus(measure.promql, measure.samples, context.pilot.settings.prometheus_url)
    if measure.sql:
        return _ask_store(measure.sql, context.store)
    if measure.attestation:
        attested = context.statements.attested(measure.attestation, context.today)
        return _ask_people(measure.attestation, attested, since.date(), criterion.min_samples)
    state = context.states.get(measure.check or "")
    proof = f"the scorecard's check {measure.check}"
    if state in ("passed", "failed"):
        return Measurement(float(state == "passed"), criterion.min_samples, proof)
    return Measurement(None, 0, proof, f"{measure.check} is {state or 'not a check of the scorecard'}")


def gain_in_service(pilot: Pilot, store: Store, since: datetime, until: datetime) -> Measurement:
    """Return the gain over today's rule, in money per 1,000 decisions, on the records whose outcome is known.

    It counts answers of the service given in [since, until), not batch or shadow predictions.
    """
    proof = "the prediction log, joined with its outcomes"
    part = LogPart(
        answered_since=utc_text(since), answered_until=utc_text(until), roles=("champion", "canary"), with_outcomes=True
    )
    answered = store.predictions.read(part)
    known = store.outcomes.of(answered, part)
    if not known.outcomes:
        return Measurement(
            None, 0, proof, "no prediction of the service has an outcome yet: send outcomes to POST /outcomes"
        )
    dataset = pilot.contract.dataset
    answered = answered.take(known.rows)
    columns = arrays(answered.records(dataset.feature_names), dataset.features)
    rows = deciding.Rows(dataset.decision_columns, answered.record)
    outcomes = dataset.task.outcomes(known.outcomes)
    worth = pilot.charter.value.parameters
    try:
        made = deciding.value(np.array(answered.column("decision").tolist()), outcomes, worth, rows)
        without = deciding.value(deciding.without_model(columns, rows), outcomes, worth, rows)
    except UseCaseError as error:
        return Measurement(None, 0, proof, str(error))
    return Measurement(float((made - without).mean() * 1000), answered.rows, proof)


def _ask_prometheus(promql: str, samples_promql: str | None, url: str) -> Measurement:
    proof = f"Prometheus: {promql}"
    if not url:
        return Measurement(None, 0, proof, "no Prometheus is configured: set GROUNDWORK_PROMETHEUS_URL")
    value, problem = _query(url, promql)
    if value is None:
        return Measurement(None, 0, proof, problem)
    samples: float | None = 1
    if samples_promql:
        samples, problem = _query(url, samples_promql)
    return Measurement(value, int(samples or 0), proof, problem)


def _query(url: str, expression: str) -> tuple[float | None, str]:
    """Return the expression's value, or None and the reason."""
    address = f"{url.rstrip('/')}/api/v1/query?{urllib.parse.urlencode({'query': expression})}"
    try:
        with urllib.request.urlopen(address, timeout=10) as response:
            answer = json.load(response)["data"]
    except urllib.error.HTTPError as error:
        return None, f"Prometheus refused the query: {error.read(300).decode(errors='replace')}"
    except (OSError, ValueError, KeyError) as error:
        return None, f"Prometheus did not answer: {error}"
    if answer["resultType"] == "scalar":
        value = float(answer["result"][1])
    elif len(answer["result"]) == 1:
        value = float(answer["result"][0]["value"][1])
    else:
        return None, f"the query returned {len(answer['result'])} series, it must return one"
    return (value, "") if np.isfinite(value) else (None, "the query returned no number: there are no samples")


def _ask_store(sql: str, store: Store) -> Measurement:
    try:
        rows = store.ask(sql)
    except StoreError as error:
        return Measurement(None, 0, sql, str(error))
    if len(rows) != 1 or len(rows[0]) != 2:
        return Measurement(None, 0, sql, "the query must return one row: the value and the number of samples")
    value, samples = rows[0]
    if value is None or not isinstance(samples, int):
        return Measurement(None, 0, sql, "the query returned no value, or no number of samples")
    return Measurement(float(value), samples, sql)


def _ask_people(name: str, found: Attestation | None, since: date, min_samples: int) -> Measurement:
    proof = f"readiness.yaml: {name}"
    if found is None:
        return Measurement(None, 0, proof, f"{name} is not attested in readiness.yaml")
    if found.on < since:
        return Measurement(None, 0, proof, f"{found.by} attested it on {found.on}, before the criterion's window")
    return Measurement(found.value, min_samples, f"{proof}, attested by {found.by} on {found.on}")
