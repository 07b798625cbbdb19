"""What is known of a version: that it comes out the same again, what it leans on, how it ages."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import mlflow
import numpy as np
import pytest
from groundwork.core.errors import GroundworkError, NotEnoughData
from groundwork.core.windows import Window
from groundwork.data.erasure import erase
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import back_test
from groundwork.models.evaluation.diagnostics import calibration, importance
from groundwork.models.evaluation.estimates import Performance
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.training import reproduce as reproduce_module
from groundwork.models.training.reproduce import reproduce
from groundwork.monitoring.monitor import check_drift
from groundwork.pipeline import work
from groundwork.store.database import Store
from pilots import enter
from use_case import model

FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))

pytestmark = pytest.mark.usefixtures("plain_steps")


def champion(pilot: Pilot) -> Version:
    return Registry(pilot).required_champion()


def evidence(pilot: Pilot, name: str) -> dict:
    return json.loads(mlflow.artifacts.load_text(f"runs:/{champion(pilot).run_id}/evaluation/{name}.json"))


def test_a_version_is_reproduced_bit_by_bit(pilot: Pilot) -> None:
    found = reproduce(pilot, "1")
    assert found.status == "equal", found.reason
    assert champion(pilot).tags["seed"] == "0"
    assert len(champion(pilot).tags["predictions_sha256"]) == 64


def test_a_model_that_comes_out_otherwise_is_not_equal(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    build = model.build

    def slower() -> object:
        return build().set_params(histgradientboostingclassifier__learning_rate=0.01)

    monkeypatch.setattr(model, "build", slower)  # as if the random numbers fell otherwise: no file has changed
    found = reproduce(pilot, "1")
    assert found.status == "different"
    assert "predictions" in found.reason


def test_what_the_use_case_draws_at_random_is_drawn_again(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch, set_in: Callable
) -> None:
    build = model.build

    def unseeded() -> object:
        return build().set_params(
            histgradientboostingclassifier__random_state=None, histgradientboostingclassifier__max_features=0.5
        )

    monkeypatch.setattr(model, "build", unseeded)
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minRows", 999)
    version = work.train(Pilot.here()).version
    assert version == "2"
    np.random.random(5)
    assert reproduce(pilot_copy, version).status == "equal"


@pytest.mark.parametrize(
    ("document", "named"), [("contract.yaml", "contract.yaml differs"), ("charter.yaml", "charter.yaml differs")]
)
def test_where_something_differs_nobody_can_tell(document: str, named: str, pilot_copy: Pilot) -> None:
    with (pilot_copy.settings.home / document).open("a") as file:
        file.write("# a word\n")
    found = reproduce(Pilot.here(), "1")
    assert found.status == "unknown"
    assert named in found.reason
    assert "trained from files that were not committed" in found.reason


def test_it_says_how_to_go_back_to_the_commit(pilot_copy: Pilot) -> None:
    registry = Registry(pilot_copy)
    registry._client.set_model_version_tag(registry.name, "1", "git_commit", "0123abcd")
    registry._client.set_model_version_tag(registry.name, "1", "use_case_sha256", "another")
    found = reproduce(pilot_copy, "1")
    assert found.status == "unknown"
    assert "src/use_case differs" in found.reason
    assert "git worktree add ../version-1 0123abcd" in found.reason


def test_other_packages_are_named(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [each for each in reproduce_module.environment() if not each.startswith("scikit-learn==")]
    monkeypatch.setattr(reproduce_module, "environment", lambda: [*installed, "scikit-learn==0.1"])
    found = reproduce(pilot, "1")
    assert found.status == "unknown"
    assert "other packages are installed: it was made with scikit-learn==" in found.reason


def test_a_table_made_anew_holds_other_data_under_the_same_version(pilot_copy: Pilot, sql: Callable) -> None:
    shutil.rmtree(pilot_copy.snapshots)
    sql(pilot_copy, "delete from flights where flight % 2 = 0")
    work.ingest(Pilot.here())
    found = reproduce(pilot_copy, "1")
    assert (found.status, found.reason.partition(".")[0]) == ("unknown", "the table of the snapshots differs")
    assert evaluate(pilot_copy, "1").reason == "the table of the snapshots changed since the version was trained"
    with Store(pilot_copy.settings.store) as store:
        drift = check_drift(pilot_copy, store, FEBRUARY)
    assert (drift.status, drift.reason) == ("unknown", "the snapshots that version 1 was trained on are gone")
    trained = work.train(Pilot.here())
    assert (trained.version, trained.new) == ("2", True)


def test_a_snapshot_that_is_gone_is_no_pass(pilot_copy: Pilot) -> None:
    subject = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset).read()["flight_id"][0].as_py()
    with Store(pilot_copy.settings.store) as store:
        erase(pilot_copy, store, subject)
    found = reproduce(pilot_copy, "1")
    assert found.status == "unknown"
    assert "of the snapshots cannot be read" in found.reason
    assert reproduce(pilot_copy, "7").reason.endswith("has no version 7")


def test_importance_finds_what_the_decisions_depend_on() -> None:
    rng = np.random.default_rng(1)
    columns = {"idle": rng.random(2000), "used": rng.random(2000)}
    outcomes = columns["used"] > 0.5

    def judged(columns: dict, outcomes: np.ndarray) -> Performance:
        right = float(((columns["used"] > 0.5) == outcomes).mean())
        return Performance(1000 * right, right)

    first, second = importance(columns, outcomes, judged)
    assert (first.feature, second.feature) == ("used", "idle")
    assert first.value_per_1000 == pytest.approx(500, abs=50)
    assert second.value_per_1000 == second.metric == 0


def test_the_calibration_error_is_the_mean_distance_from_what_came_true() -> None:
    scores = np.repeat([0.25, 0.85], 100)
    outcomes = np.concatenate([np.arange(100) < 25, np.arange(100) < 65])
    found = calibration(outcomes, scores)
    assert [(each.rows, round(each.share_true, 2)) for each in found.bins] == [(100, 0.25), (100, 0.65)]
    assert found.error == pytest.approx(0.1)  # 0 in one half, 0.2 in the other
    assert np.isnan(calibration(outcomes[:0], scores[:0]).error)


def test_every_training_keeps_what_is_cheap_to_know(pilot: Pilot) -> None:
    assert {each["feature"] for each in evidence(pilot, "importance")["features"]} == set(
        pilot.contract.dataset.feature_names
    )
    assert 0 <= evidence(pilot, "calibration")["error"] < 0.5
    run = mlflow.get_run(champion(pilot).run_id)
    assert "calibration_error" in run.data.metrics


@pytest.fixture(scope="module")
def months(
    tmp_path_factory: pytest.TempPathFactory, pilot: Pilot, first_weeks: Path, plain_steps: None
) -> Iterator[Pilot]:
    """A pilot with five months, in each of whose windows a model can be judged."""
    import duckdb

    home = tmp_path_factory.mktemp("months") / "pilot"
    shutil.copytree(pilot.settings.home, home)
    with duckdb.connect(str(home / "data" / "operational.duckdb")) as connection:
        connection.execute(f"attach '{first_weeks}' as weeks (read_only)")
        connection.execute("insert into flights from weeks.flights where month between 3 and 5")
    with pytest.MonkeyPatch.context() as patch:
        pilot = enter(home, patch)
        work.ingest(Pilot.here())
        yield pilot


def test_the_evaluation_names_what_it_could_do_without_and_how_it_ages(
    months: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWORK_HOME", str(months.settings.home))
    version = work.train(Pilot.here()).version
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


def test_the_age_at_which_the_gain_falls_below_the_line_is_found(
    months: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWORK_HOME", str(months.settings.home))
    registry = Registry(months)
    version = registry.version("2") or registry.required_champion()
    set_in(months.settings.home / "charter.yaml", "gate.minGainOverRule", 10**9)
    assert back_test(Pilot.here(), version).retrain_after == 0
    set_in(months.settings.home / "charter.yaml", "gate.minGainOverRule", -(10**9))
    assert back_test(Pilot.here(), version).retrain_after is None


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
    version = work.train(Pilot.here()).version
    found = evaluate(pilot_copy, version)
    assert found.dropped is not None
    needed = [each.feature for each in found.dropped if each.needed]
    assert set(needed) <= {"departure_minute"}
    assert "leaving out any one of these loses no more than chance: carrier" in "\n".join(found.summary)


def test_what_needs_the_code_of_then_is_unknown_without_it(pilot_copy: Pilot) -> None:
    registry = Registry(pilot_copy)
    registry._client.set_model_version_tag(registry.name, "1", "use_case_sha256", "another")
    found = evaluate(pilot_copy)
    assert (found.dropped, found.ageing) == (None, None)
    assert "is unknown: src/use_case changed" in Path(found.page).read_text()
    with pytest.raises(GroundworkError, match="has no version 7"):
        evaluate(pilot_copy, "7")


def test_parameters_are_searched_on_later_rows_and_every_trial_is_kept(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch, set_in: Callable
) -> None:
    name = "histgradientboostingclassifier__max_iter"
    monkeypatch.setattr(model, "search", lambda: [{name: 1}, {name: 30}], raising=False)
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minRows", 999)
    version = Registry(pilot_copy).version(work.train(Pilot.here()).version)
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
        work.train(Pilot.here())
