"""Decisions and money that depend on the row: the same in the service, in batches, at the gate and in the monitor."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.performance import decide_like, decided
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.bundles import CHALLENGER
from groundwork.models.serving.predictor import arrays
from groundwork.models.training.history import History, read_history
from groundwork.models.training.train import Trained
from groundwork.monitoring.live_performance import findings_in_service
from groundwork.pipeline import by_hand
from groundwork.readiness.criteria import gain_in_service
from groundwork.store.batches import Prediction
from groundwork.store.database import Store
from loans import first_training, granted, granting, money
from registries import register_again, set_alias
from serving import served_here

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    home = tmp_path_factory.mktemp("loans") / "pilot"
    return home, first_training(home)


@pytest.fixture
def loans(trained_once: tuple[Path, Trained]) -> Iterator[Pilot]:
    """The pilot; the tests of this module share its log."""
    with granting(trained_once[0]) as pilot:
        yield pilot


@pytest.fixture
def history(loans: Pilot) -> History:
    return read_history(loans)


@pytest.fixture
def newest(loans: Pilot, sql: Any) -> list[dict[str, Any]]:
    """The rows of the newest window, as the source has them."""
    names = [column.name for column in loans.contract.dataset.columns]
    found = sql(
        loans, f"select {', '.join(names)} from loans where asked_at >= '2026-02-01' order by asked_at, loan_id"
    )
    return [dict(zip(names, row, strict=True)) for row in found]


def as_sent(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "lost"} | {"asked_at": row["asked_at"].isoformat()}


def asked(pilot: Pilot, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    with served_here(pilot, from_cache=True) as client:
        answer = client.post("/predict", json={"records": [as_sent(row) for row in rows]})
    assert answer.status_code == 200, answer.text
    predictions: list[dict[str, Any]] = answer.json()["predictions"]
    return predictions


def logged(pilot: Pilot, role: str) -> list[Prediction]:
    with Store(pilot.settings.store) as store:
        found = store.predictions.between(datetime(2026, 1, 1), datetime(2027, 1, 1))
    return [each for each in found if each.role == role]


def test_the_gate_counts_the_amount_of_each_row(
    loans: Pilot, trained_once: tuple[Path, Trained], newest: list[dict[str, Any]]
) -> None:
    trained = trained_once[1]
    assert trained.in_service
    registry = Registry(loans)
    features = {name: [row[name] for row in newest] for name in loans.contract.dataset.feature_names}
    scores = registry.predictor(registry.required_champion()).scores(arrays(features, loans.contract.dataset.features))
    made = [
        money(granted(float(score), row["amount"]), row["lost"], row["amount"])
        for score, row in zip(scores, newest, strict=True)
    ]
    ruled = [money("grant" if row["income"] >= 30000 else "refuse", row["lost"], row["amount"]) for row in newest]
    assert trained.candidate.value_per_1000 == pytest.approx(1000 * np.mean(made))
    assert trained.rule.value_per_1000 == pytest.approx(1000 * np.mean(ruled))


def test_the_service_answers_by_the_amount(loans: Pilot, newest: list[dict[str, Any]]) -> None:
    applicant = max(newest, key=lambda row: row["income"])
    amounts = [500, 1000, 5000, 20000]
    answers = asked(loans, [applicant | {"amount": amount, "loan_id": f"by-amount-{amount}"} for amount in amounts])
    assert len({each["score"] for each in answers}) == 1  # the amount is no feature
    decisions = [each["decision"] for each in answers]
    assert decisions == [granted(answers[0]["score"], amount) for amount in amounts]
    assert set(decisions) == {"grant", "refuse"}


def test_service_batch_and_gate_decide_the_same(loans: Pilot, history: History, newest: list[dict[str, Any]]) -> None:
    registry = Registry(loans)
    scores = registry.predictor(registry.required_champion()).scores(history.evaluation.columns)
    at_the_gate = decided(loans, scores, history.evaluation)
    by_hand.score(loans)
    batch = {each.entity_key: each.decision for each in logged(loans, "batch")}
    rows = newest[:1000]
    answers = [each["decision"] for each in asked(loans, rows)]
    assert answers == [batch[row["loan_id"]] for row in rows]
    assert set(answers) == {"grant", "refuse"}
    made = [money(batch[row["loan_id"]], row["lost"], row["amount"]) for row in newest]
    assert sorted(at_the_gate.values) == pytest.approx(sorted(made))
    proven = decide_like(loans, history.evaluation)(scores, history.evaluation.frame)
    assert {decision: int((proven == decision).sum()) for decision in ("grant", "refuse")} == {
        decision: list(batch.values()).count(decision) for decision in ("grant", "refuse")
    }


def test_the_monitor_and_the_scorecard_count_the_amount_of_each_logged_row(
    loans: Pilot, history: History, newest: list[dict[str, Any]]
) -> None:
    rows = [row | {"loan_id": f"live-{number}"} for number, row in enumerate(newest[:1200])]
    with served_here(loans, from_cache=True) as client:
        answers = client.post("/predict", json={"records": [as_sent(row) for row in rows[:600]]}).json()["predictions"]
        answers += client.post("/predict", json={"records": [as_sent(row) for row in rows[600:]]}).json()["predictions"]
        told = [
            {"prediction_id": answer["prediction_id"], "outcome": row["lost"]}
            for answer, row in zip(answers, rows, strict=True)
        ]
        for begin in range(0, len(told), 500):
            client.post("/outcomes", json={"outcomes": told[begin : begin + 500]})
    gains = [
        money(answer["decision"], row["lost"], row["amount"])
        - money("grant" if row["income"] >= 30000 else "refuse", row["lost"], row["amount"])
        for answer, row in zip(answers, rows, strict=True)
    ]
    with Store(loans.settings.store) as store:
        now = datetime.now(UTC)
        live = gain_in_service(loans, store, now - timedelta(days=1), now + timedelta(days=1))
        answered = [each for each in logged(loans, "champion") if each.entity_key.startswith("live-")]
        found = findings_in_service(loans, store, history.judged)
    assert live.samples == 1200
    assert live.value == pytest.approx(1000 * np.mean(gains))
    [quality] = [each for each in found if each.check == "monitor-quality"]
    assert f"gain over today's rule EUR {1000 * np.mean(gains):,.0f} per 1,000 decisions" in quality.seen
    assert all("name" not in json.loads(each.record) for each in answered)


def test_a_challenger_and_todays_rule_decide_by_the_amount_too(
    loans: Pilot, newest: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    number = register_again(loans).number
    set_alias(loans, CHALLENGER, number)
    monkeypatch.setenv("GROUNDWORK_CANARY_SHARE", "0.5")
    rows = [row | {"loan_id": f"shared-{place}"} for place, row in enumerate(newest[:400])]
    with served_here(Pilot.here()) as client:
        client.post("/predict", json={"records": [as_sent(row) for row in rows]})
    amounts = {row["loan_id"]: row["amount"] for row in rows}
    for role in ("canary", "shadow"):
        entries = [each for each in logged(loans, role) if each.entity_key in amounts]
        assert len(entries) > 100
        assert [each.decision for each in entries] == [
            granted(float(each.score or 0), amounts[each.entity_key]) for each in entries
        ]


def test_everything_about_the_version_counts_the_amount(loans: Pilot, history: History) -> None:
    """The card's figures are the gate's, and the version can be made again with its proof."""
    from groundwork.models.evaluation.evaluate import evaluate
    from groundwork.models.training.reproduce import reproduce

    registry = Registry(loans)
    scores = registry.predictor(registry.required_champion()).scores(history.evaluation.columns)
    at_the_gate = decided(loans, scores, history.evaluation)
    found = evaluate(loans)
    assert found.performance.value_per_1000 == pytest.approx(float(at_the_gate.values.mean() * 1000))
    assert {each.feature for each in found.importance} == {"income", "years"}
    assert found.importance[0].value_per_1000 > 0
    assert reproduce(loans, "1").status == "equal"
