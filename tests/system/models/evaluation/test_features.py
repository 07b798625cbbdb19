"""Features that the model does not need."""

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.pipeline import by_hand
from use_case import model


def test_a_feature_that_says_nothing_is_named(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model is told to look at nothing but the hour: what it does not look at, it can do without."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def narrow() -> object:
        return make_pipeline(
            make_column_transformer((StandardScaler(), ["departure_minute"]), remainder="drop"), LogisticRegression()
        )

    monkeypatch.setattr(model, "build", narrow)
    with (pilot_copy.settings.home / "charter.yaml").open("a") as file:
        file.write("# another try\n")
    version = by_hand.train(Pilot.here()).version
    found = evaluate(pilot_copy, version)
    assert found.dropped is not None
    needed = [each.feature for each in found.dropped if each.needed]
    assert set(needed) <= {"departure_minute"}
    assert "training without any one of these features loses no significant gain: carrier" in "\n".join(found.summary)
