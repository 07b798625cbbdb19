"""The charter's own criteria, measured on live evidence: what was logged, what came of it, what Prometheus saw."""

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import numpy as np

from groundwork.core.errors import StoreError
from groundwork.documents.charter import Criterion
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.predictor import arrays_of_log
from groundwork.readiness.scorecard import Row, State
from groundwork.readiness.statements import Attestation, Statements
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from use_case import decision


class Measured(NamedTuple):
    """One value with the number of samples behind it; no value where it is unknown, and then why."""

    value: float | None
    samples: int
    proof: str
    problem: str = ""


class Evidence(NamedTuple):
    """Where the measures find what they need."""

    pilot: Pilot
    store: Store
    statements: Statements
    states: Mapping[str, State]  # the scorecard's other rows, for criteria that name one
    today: date


def scale_rows(criteria: Sequence[Criterion], evidence: Evidence) -> list[Row]:
    """One row per criterion for scaling: passed once it is met."""
    return [_row(each, evidence, "improve it until the criterion is met, or decide to stop") for each in criteria]


def stop_rows(criteria: Sequence[Criterion], evidence: Evidence) -> list[Row]:
    """One row per criterion for stopping: failed once it is met."""
    swapped: dict[State, State] = {"passed": "failed", "failed": "passed"}
    found = [_row(each, evidence, "") for each in criteria]
    return [
        replace(
            row,
            state=swapped.get(row.state, row.state),
            wanted=required(criterion, evidence.pilot.charter.value.currency, negated=True),
            fix="decide to stop: `groundwork decide stop`" if row.state == "passed" else row.fix,
        )
        for criterion, row in zip(criteria, found, strict=True)
    ]


def _row(criterion: Criterion, evidence: Evidence, fix: str) -> Row:
    measured, currency = _measure(criterion, evidence), evidence.pilot.charter.value.currency
    seen = measured.problem
    state: State = "unknown"
    if measured.value is not None:
        figure = f"{measured.value:,.0f}" if abs(measured.value) >= 1000 else f"{measured.value:.4g}"
        seen = f"{_with_unit(criterion, figure, currency)} (n = {measured.samples:,})"
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
    """What meets the criterion, or with `negated` what does not, such as `at most 20 in 30 days, at least 1 sample`."""
    words = {">=": "at least", "<": "less than", ">": "more than", "<=": "at most"}
    opposite = {">=": "<", "<": ">=", ">": "<=", "<=": ">"}
    op = words[opposite[criterion.op] if negated else criterion.op]
    figure = _with_unit(criterion, f"{criterion.threshold:,.10g}", currency)
    days, samples = criterion.window[:-1], criterion.min_samples
    return (
        f"{op} {figure} in {days} day{'' if days == '1' else 's'}, "
        f"at least {samples:,} sample{'' if samples == 1 else 's'}"
    )


def _with_unit(criterion: Criterion, figure: str, currency: str) -> str:
    return f"{currency} {figure} per 1,000 decisions" if criterion.measure == "gain_per_1000" else figure


def _measure(criterion: Criterion, evidence: Evidence) -> Measured:
    measure = criterion.measure
    midnight = datetime.combine(evidence.today, datetime.min.time(), UTC)
    since = midnight - timedelta(days=int(criterion.window[:-1]))
    if isinstance(measure, str):
        return gain_in_service(evidence.pilot, evidence.store, since, midnight + timedelta(days=1))
    if measure.promql:
        return _ask_prometheus(measure.promql, measure.samples, evidence.pilot.settings.prometheus_url)
    if measure.sql:
        return _ask_store(measure.sql, evidence.store)
    if measure.attestation:
        attested = evidence.statements.attested(measure.attestation, evidence.today)
        return _ask_people(measure.attestation, attested, since.date(), criterion.min_samples)
    state = evidence.states.get(measure.check or "")
    proof = f"the scorecard's check {measure.check}"
    if state in ("passed", "failed"):
        return Measured(float(state == "passed"), criterion.min_samples, proof)
    return Measured(None, 0, proof, f"{measure.check} is {state or 'no check of the scorecard'}")


def gain_in_service(pilot: Pilot, store: Store, since: datetime, until: datetime) -> Measured:
    """Money per 1,000 decisions more than today's rule would have made of the same records, where the outcome is known.

    Only what the service answered counts, not what was scored in batch or in the shadow.
    """
    proof = "the prediction log, joined with its outcomes"
    answered = store.outcomes.of_answers_between(utc_text(since), utc_text(until))
    if not answered:
        return Measured(
            None, 0, proof, "no prediction of the service has an outcome yet: send outcomes to POST /outcomes"
        )
    dataset = pilot.contract.dataset
    columns = arrays_of_log([record for record, _, _ in answered], dataset.features)
    outcomes = dataset.task.outcomes([outcome for _, _, outcome in answered])
    worth = pilot.charter.value.parameters
    made = decision.value(np.array([decided for _, decided, _ in answered]), outcomes, worth)
    without = decision.value(decision.without_model(columns), outcomes, worth)
    return Measured(float((made - without).mean() * 1000), len(answered), proof)


def _ask_prometheus(promql: str, samples_promql: str | None, url: str) -> Measured:
    proof = f"Prometheus: {promql}"
    if not url:
        return Measured(None, 0, proof, "no Prometheus is configured: set GROUNDWORK_PROMETHEUS_URL")
    value, problem = _query(url, promql)
    if value is None:
        return Measured(None, 0, proof, problem)
    samples: float | None = 1
    if samples_promql:
        samples, problem = _query(url, samples_promql)
    return Measured(value, int(samples or 0), proof, problem)


def _query(url: str, expression: str) -> tuple[float | None, str]:
    """The one number that the expression gives, or why there is none."""
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
        return None, f"the query gives {len(answer['result'])} series, it must give one"
    return (value, "") if np.isfinite(value) else (None, "the query gives no number: nothing was counted")


def _ask_store(sql: str, store: Store) -> Measured:
    try:
        rows = store.ask(sql)
    except StoreError as error:
        return Measured(None, 0, sql, str(error))
    if len(rows) != 1 or len(rows[0]) != 2:
        return Measured(None, 0, sql, "the query must give one row: the value, and the number of samples")
    value, samples = rows[0]
    if value is None or not isinstance(samples, int):
        return Measured(None, 0, sql, "the query found nothing")
    return Measured(float(value), samples, sql)


def _ask_people(name: str, found: Attestation | None, since: date, min_samples: int) -> Measured:
    proof = f"readiness.yaml: {name}"
    if found is None:
        return Measured(None, 0, proof, f"{name} is not attested in readiness.yaml")
    if found.on < since:
        return Measured(None, 0, proof, f"{found.by} attested it on {found.on}, before the criterion's window")
    return Measured(found.value, min_samples, f"{proof}, attested by {found.by} on {found.on}")
