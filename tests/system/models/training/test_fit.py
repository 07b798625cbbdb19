"""Parameters are chosen on rows that are later than those of the fit."""

import json
from collections.abc import Callable

import mlflow
import pytest
from groundwork.core.errors import NotEnoughData
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.models.training.reproduce import reproduce
from groundwork.pipeline import by_hand
from use_case import model


def test_parameters_are_searched_on_later_rows_and_every_trial_is_kept(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch, set_in: Callable
) -> None:
    name = "histgradientboostingclassifier__max_iter"
    monkeypatch.setattr(model, "search", lambda: [{name: 1}, {name: 30}], raising=False)
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minRows", 999)
    version = Registry(pilot_copy).version(by_hand.train(Pilot.here()).version)
    assert version is not None
    assert version.number == "2"
    parent = f"tags.mlflow.parentRunId = '{version.run_id}'"
    trials = mlflow.search_runs(
        experiment_names=[Registry(pilot_copy).name], filter_string=parent, output_format="list"
    )
    values = {trial.data.params[name]: trial.data.metrics["value_per_1000"] for trial in trials}
    assert set(values) == {"1", "30"}
    chosen = json.loads(version.tags["parameters"])
    assert str(chosen[name]) == max(values, key=lambda each: values[each])
    assert reproduce(pilot_copy, "2").status == "equal"  # with what was chosen, without searching again


def test_a_search_without_candidates_is_an_error(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch, set_in: Callable
) -> None:
    monkeypatch.setattr(model, "search", list, raising=False)
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minRows", 999)
    with pytest.raises(NotEnoughData, match="gives no parameters to try"):
        by_hand.train(Pilot.here())
