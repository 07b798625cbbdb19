"""Training registers what came from what, takes no step twice, and puts nothing in service that the gate refuses."""

import json
from collections.abc import Callable

import mlflow
import pytest
from sklearn.dummy import DummyClassifier

from groundwork.errors import NotEnoughData
from groundwork.pipeline.ingest import ingest
from groundwork.pipeline.train import read_history, train
from groundwork.registry import Registry, Version
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Store
from use_case import model

GIVEN_LATER = ("run_id", "gate", "gain_per_1000", "evidence_sha256")

pytestmark = pytest.mark.usefixtures("plain_steps")


def champion(settings: Settings) -> Version:
    found = Registry(settings).champion()
    assert found is not None
    return found


def versions(settings: Settings) -> dict[str, str]:
    """Every registered version, with what the gate said."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{Registry(settings).name}'")
    return {str(version.version): version.tags["gate"] for version in found}


def append(settings: Settings, document: str, text: str) -> None:
    with (settings.home / document).open("a", encoding="utf-8") as file:
        file.write(text)


def test_training_sees_the_past_and_the_gate_the_newest_window(pilot: Settings) -> None:
    history = read_history(pilot)
    assert str(history.past) == "2013-01-01 to 2013-01-31"
    assert str(history.newest) == "2013-02-01 to 2013-02-28"
    rows = Snapshots(pilot.snapshots, pilot.contract.dataset).read().to_pylist()
    known = [row["scheduled_departure"].month for row in rows if row["late"] is not None]
    assert (len(history.training), len(history.evaluation)) == (known.count(1), known.count(2))
    assert "late" not in history.training.columns


def test_a_version_says_what_it_was_made_from(pilot: Settings) -> None:
    tags = champion(pilot).tags
    assert tags["snapshot_version"] == str(Snapshots(pilot.snapshots, pilot.contract.dataset).version)
    assert (tags["train_start"], tags["train_end"]) == ("2013-01-01T05:15:00", "2013-02-01T00:00:00")
    assert tags["bundle_format"] == "onnx"
    assert tags["bundle_reason"].startswith("proven equal to the pipeline")
    assert tags["gate"] == "promoted"
    assert float(tags["gain_per_1000"]) > 0
    for digest in ("contract_sha256", "charter_sha256", "use_case_sha256", "lineage", "bundle_sha256"):
        assert len(tags[digest]) == 64
    assert tags["git_commit"] == "none"  # this pilot is in no repository
    assert (
        mlflow.get_run(champion(pilot).run_id).data.tags.items()
        >= {name: value for name, value in tags.items() if name not in GIVEN_LATER}.items()
    )


def test_the_gates_evidence_is_kept_with_the_run(pilot: Settings) -> None:
    version = champion(pilot)
    text = mlflow.artifacts.load_text(f"runs:/{version.run_id}/gate/{version.number}.json")
    evidence = json.loads(text)
    assert evidence["promoted"]
    assert evidence["window"] == "2013-02-01 to 2013-02-28"
    assert [check["passed"] for check in evidence["checks"]] == [True] * 3


def test_the_same_inputs_make_no_second_version(pilot_copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "build", lambda: pytest.fail("there is nothing new to fit"))
    trained = train.fn()
    assert (trained.new, trained.version, trained.champion_before) == (False, "1", "1")
    assert trained.verdict.promoted
    assert versions(pilot_copy) == {"1": "promoted"}
    assert champion(pilot_copy).number == "1"


def test_a_candidate_no_better_than_chance_is_refused(pilot_copy: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is registered, with its reasons, and the champion stays."""
    monkeypatch.setattr(model, "build", lambda: DummyClassifier(strategy="prior"))
    append(pilot_copy, "charter.yaml", "# another try\n")
    trained = train.fn()
    assert (trained.new, trained.version, trained.champion_before) == (True, "2", "1")
    assert not trained.verdict.promoted
    assert "roc_auc: wanted at least 0.55, seen 0.5000" in trained.verdict.reasons
    assert champion(pilot_copy).number == "1"
    assert versions(pilot_copy) == {"1": "promoted", "2": "refused"}
    [run] = [run for run in Store(pilot_copy.store).latest_runs(succeeded=True) if run.flow == "train"]
    assert run.message.startswith("refused: roc_auc")


def test_a_better_candidate_takes_over(pilot_copy: Settings) -> None:
    """Here an equal one: the charter asks for no gain over the champion."""
    append(pilot_copy, "contract.yaml", "# a word of explanation\n")
    trained = train.fn()
    assert trained.verdict.promoted
    assert champion(pilot_copy).number == trained.version == "2"
    assert trained.candidate == trained.champion


def test_a_candidate_that_gains_too_little_over_the_champion_is_refused(pilot_copy: Settings, set_in: Callable) -> None:
    set_in(pilot_copy.home / "charter.yaml", "gate.minGainOverChampion", 1)
    trained = train.fn()
    assert trained.verdict.reasons == ["gain per 1,000 decisions over the champion: wanted at least 1, seen 0"]
    assert champion(pilot_copy).number == "1"


def test_a_champion_of_an_earlier_contract_does_not_stand_in_the_way(pilot_copy: Settings, set_in: Callable) -> None:
    """It takes features that the contract no longer has; it can neither be compared nor serve."""
    set_in(pilot_copy.home / "contract.yaml", "schema.0.properties.8.tags", [])
    assert pilot_copy.contract.dataset.columns[8].name == "weekday"
    trained = train.fn()
    assert trained.verdict.promoted
    assert trained.champion is None
    assert (trained.champion_before, champion(pilot_copy).number) == ("1", "2")


def test_nothing_is_promoted_before_outcomes_are_known(pilot_copy: Settings, sql: Callable) -> None:
    sql(pilot_copy, "update flights set arr_delay = null where month = 2")
    ingest.fn()
    trained = train.fn()
    assert not trained.verdict.promoted
    assert trained.verdict.reasons[0] == "rows with a known outcome: wanted at least 1,000, seen 0"
    assert champion(pilot_copy).number == "1"


def test_without_snapshots_there_is_nothing_to_train_on(new_pilot: Settings) -> None:
    with pytest.raises(NotEnoughData, match="run `groundwork ingest` first"):
        read_history(new_pilot)


@pytest.mark.parametrize("change", ["delete from flights where month = 1", "update flights set arr_delay = -5"])
def test_without_both_outcomes_in_the_past_there_is_nothing_to_learn(
    change: str, new_pilot: Settings, sql: Callable
) -> None:
    sql(new_pilot, change)
    ingest.fn()
    with pytest.raises(NotEnoughData, match="not both outcomes among them"):
        train.fn()
    [failed] = Store(new_pilot.store).latest_runs(succeeded=False)
    assert failed.message.startswith("NotEnoughData: before the newest window (2013-02-01 to 2013-02-28)")
