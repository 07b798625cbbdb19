"""The gate judges classes and quantities by metrics of their own."""

import pytest
from groundwork.core.errors import DocumentError
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.pipeline import by_hand
from other_tasks import Ran, change


def test_the_gate_lets_it_in_by_its_own_metric(ran: Ran) -> None:
    assert ran.trained.in_service
    assert 0 < ran.trained.candidate.metric < ran.pilot.charter.gate.line
    assert ran.trained.gain_per_1000 > 0


def test_the_gate_blocks_what_misses_the_line(ran: Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line for a metric of which less is better."""
    charter = ran.pilot.settings.home / "charter.yaml"
    before = charter.read_text(encoding="utf-8")
    try:
        change(charter, "gate", ran.variant.unreachable)
        trained = by_hand.train(Pilot.here())
    finally:
        charter.write_text(before, encoding="utf-8")
    assert not trained.in_service
    assert [reason for reason in trained.verdict.reasons if reason.startswith(ran.variant.refused)]
    champion = Registry(ran.pilot).champion()
    assert champion is not None
    assert champion.number == ran.trained.version


def test_a_metric_of_another_kind_of_outcome_is_refused(ran: Ran) -> None:
    charter = ran.pilot.settings.home / "charter.yaml"
    before = charter.read_text(encoding="utf-8")
    try:
        change(charter, "gate", {"metric": "roc_auc", "maximum": None, "minimum": 0.6})
        with pytest.raises(DocumentError, match=r"gate\.metric: roc_auc does not measure a \w+, the type of late in"):
            Pilot.here().contract  # noqa: B018
    finally:
        charter.write_text(before, encoding="utf-8")
