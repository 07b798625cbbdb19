"""What is known of a version is written on its card and kept with its run."""

from pathlib import Path

import mlflow
import pytest
from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.registry import Registry
from groundwork.models.training.reproduce import reproduce
from groundwork.pipeline import by_hand
from other_tasks import Ran
from registries import set_tag


@pytest.mark.soak
@pytest.mark.slow  # a fit for each feature, and one for each window
def test_the_evaluation_names_what_it_could_do_without_and_how_it_ages(
    months: Pilot,
) -> None:
    version = by_hand.train(Pilot.here()).version
    found = evaluate(months, version)
    assert found.dropped is not None
    assert [each.feature for each in found.dropped] == months.contract.dataset.feature_names
    assert found.ageing is not None
    assert [each.windows for each in found.ageing.ages] == [0, 1, 2, 3]
    assert [each.models for each in found.ageing.ages] == [4, 3, 2, 1]
    page = Path(found.page).read_text()
    for said in ("## Feature importance", "## Ageing", "Expected calibration error", "without"):
        assert said in page
    kept = Registry(months).version(version)
    assert kept is not None
    names = {each.path for each in mlflow.MlflowClient().list_artifacts(kept.run_id, "evaluation")}
    assert {f"evaluation/model-{version}.md", f"evaluation/model-{version}.png"} <= names
    assert reproduce(months, version).status == "equal"


def test_what_needs_the_code_of_then_is_unknown_without_it(pilot_copy: Pilot) -> None:
    set_tag(pilot_copy, "1", use_case_sha256="another")
    found = evaluate(pilot_copy)
    assert (found.dropped, found.ageing) == (None, None)
    assert "is unknown: src/use_case changed" in Path(found.page).read_text()
    with pytest.raises(GroundworkError, match="has no version 7"):
        evaluate(pilot_copy, "7")


@pytest.mark.slow  # a fit for each feature, and one for each window
def test_it_is_evaluated_in_its_own_terms(ran: Ran) -> None:
    """To lose is positive, though less of the metric is better; a quantity has no calibration."""
    version = Registry(ran.pilot).champion()
    assert version is not None
    found = evaluate(ran.pilot)
    worst = max(found.importance, key=lambda each: each.metric)
    assert worst.feature == "departure_minute"
    assert worst.metric > 0
    card = Path(found.page).read_text(encoding="utf-8")
    if ran.variant.task.kind == "multiclass":
        assert found.calibration is not None
        assert found.calibration.bins[0].low >= 0.3  # the likeliest of three classes
        assert "## Calibration" in card
    else:
        assert found.calibration is None
        assert "## Calibration" not in card
    assert reproduce(ran.pilot, version.number).status == "equal"
