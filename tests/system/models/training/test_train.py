"""Training registers what came from what, takes no step twice, and puts nothing in service that the gate refuses."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import mlflow
import pytest
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.bundles import SIGNATURE
from groundwork.models.serving.predictor import Bundle, bundle_digest
from groundwork.models.serving.signing import sign
from groundwork.models.training import train as train_module
from groundwork.models.training.lineage import lineage
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from groundwork.store.runs import FlowRun
from sklearn.dummy import DummyClassifier
from use_case import model

GIVEN_LATER = ("run_id", "gate", "gain_per_1000", "evidence_sha256", "judged_against", "promotion")


def champion(pilot: Pilot) -> Version:
    found = Registry(pilot).champion()
    assert found is not None
    return found


def versions(pilot: Pilot) -> dict[str, str]:
    """Every registered version, with what the gate said."""
    found = mlflow.MlflowClient().search_model_versions(f"name = '{Registry(pilot).name}'")
    return {str(version.version): version.tags["gate"] for version in found}


def append(pilot: Pilot, document: str, text: str) -> None:
    with (pilot.settings.home / document).open("a", encoding="utf-8") as file:
        file.write(text)


def test_a_version_says_what_it_was_made_from(pilot: Pilot) -> None:
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
    told = Pilot(pilot.settings.model_copy(update={"git_commit": "0123abcd"}))
    assert lineage(told, int(tags["snapshot_version"]))["git_commit"] == "0123abcd"
    assert (
        mlflow.get_run(champion(pilot).run_id).data.tags.items()
        >= {name: value for name, value in tags.items() if name not in GIVEN_LATER}.items()
    )


def test_the_gates_evidence_is_kept_with_the_run(pilot: Pilot) -> None:
    version = champion(pilot)
    text = mlflow.artifacts.load_text(f"runs:/{version.run_id}/gate/{version.number}.json")
    evidence = json.loads(text)
    assert evidence["passed"]
    assert evidence["window"] == "2013-02-01 to 2013-02-28"
    assert all(check["passed"] for check in evidence["checks"])
    assert [check["name"] for check in evidence["checks"]] == [
        "features match contract.yaml",
        "rows with a known outcome",
        "roc_auc",
        "gain per 1,000 decisions over the no-model rule",
        "CPU time for one row",
        "size of the bundle",
    ]
    assert 0 < evidence["footprint"]["latency_ms"] < 100
    assert 0 < evidence["footprint"]["size_mb"] < 10


def test_an_old_ingest_is_told(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    with Store(f"sqlite:///{tmp_path / 'store.db'}") as store:
        assert train_module._problem_of_ingest(store, "week") == ""
        for age, told in ((9, "more than a week ago: run `groundwork ingest`"), (6, "")):
            store.runs.record(FlowRun(flow="ingest", started_at=now - timedelta(days=age), succeeded=True))
            problem = train_module._problem_of_ingest(store, "week")
            assert told in problem if told else problem == ""


def test_the_same_inputs_make_no_second_version(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model, "build", lambda: pytest.fail("there is nothing new to fit"))
    trained = by_hand.train(Pilot.here())
    assert (trained.new, trained.version, trained.champion_before) == (False, "1", "1")
    assert trained.verdict.passed
    assert versions(pilot_copy) == {"1": "promoted"}
    assert champion(pilot_copy).number == "1"


def test_a_candidate_no_better_than_chance_is_refused(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is registered, with its reasons, and the champion stays."""
    monkeypatch.setattr(model, "build", lambda: DummyClassifier(strategy="prior"))
    append(pilot_copy, "charter.yaml", "# another try\n")
    trained = by_hand.train(Pilot.here())
    assert (trained.new, trained.version, trained.champion_before) == (True, "2", "1")
    assert not trained.verdict.passed
    assert any(
        reason.startswith("roc_auc: required at least 0.55, found 0.5, at") for reason in trained.verdict.reasons
    )
    assert champion(pilot_copy).number == "1"
    assert versions(pilot_copy) == {"1": "promoted", "2": "refused"}
    [run] = [run for run in Store(pilot_copy.settings.store).runs.latest(succeeded=True) if run.flow == "train"]
    assert run.message.startswith("refused: roc_auc")


def test_a_better_candidate_takes_over(pilot_copy: Pilot) -> None:
    """Here an equal one: the charter asks for no gain over the champion."""
    append(pilot_copy, "contract.yaml", "# a word of explanation\n")
    trained = by_hand.train(Pilot.here())
    assert trained.verdict.passed
    assert champion(pilot_copy).number == trained.version == "2"
    assert trained.candidate == trained.champion


def test_a_candidate_that_gains_too_little_over_the_champion_is_refused(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minGainOverChampion", 1)
    trained = by_hand.train(Pilot.here())
    assert trained.verdict.reasons == [
        "gain per 1,000 decisions over the champion: required at least 1, found 0, at 95% confidence at least 0"
    ]
    assert champion(pilot_copy).number == "1"


def test_a_champion_of_an_earlier_contract_does_not_stand_in_the_way(pilot_copy: Pilot, set_in: Callable) -> None:
    """It takes features that the contract no longer has; it can neither be compared nor serve."""
    set_in(pilot_copy.settings.home / "contract.yaml", "schema.0.properties.8.tags", [])
    assert pilot_copy.contract.dataset.columns[8].name == "weekday"
    trained = by_hand.train(Pilot.here())
    assert trained.verdict.passed
    assert trained.champion is None
    assert (trained.champion_before, champion(pilot_copy).number) == ("1", "2")


def test_a_slice_in_which_the_model_is_bad_blocks(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "contract.yaml", "schema.0.properties.3.tags", ["feature", "slice"])
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.sliceMinimum", 0.99)
    assert pilot_copy.contract.dataset.columns[3].name == "origin"
    trained = by_hand.train(Pilot.here())
    assert trained.standing == "refused"
    assert {each.value for each in trained.verdict.slices} == {"EWR", "JFK", "LGA"}
    assert [reason.partition(":")[0] for reason in trained.verdict.reasons] == ["roc_auc in each slice of origin"]
    assert champion(pilot_copy).number == "1"


def test_a_model_that_is_too_big_is_refused(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.maxSizeMb", 0.001)
    trained = by_hand.train(Pilot.here())
    assert [reason.partition(":")[0] for reason in trained.verdict.reasons] == ["size of the bundle"]
    assert champion(pilot_copy).number == "1"


def test_a_model_of_other_features_than_the_contract_has_is_refused(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(pilot_copy, "charter.yaml", "# another try\n")
    fitted = train_module.fit_and_register

    def strange(*arguments: Any) -> Version:
        version: Version = fitted(*arguments)
        folder = Path(Registry(pilot_copy).pull(version).folder)
        bundle = Bundle.model_validate_json((folder / "bundle.json").read_bytes())
        bundle.features.reverse()
        bundle.sha256 = bundle_digest(bundle, (folder / bundle.file).read_bytes())
        target = pilot_copy.settings.champion_cache / version.number / bundle.sha256[:16]
        shutil.copytree(folder, target)
        (target / SIGNATURE).write_text(sign(pilot_copy, bundle.sha256))
        (target / "bundle.json").write_text(bundle.model_dump_json())
        return replace(version, tags=version.tags | {"bundle_sha256": bundle.sha256})

    monkeypatch.setattr(train_module, "fit_and_register", strange)
    trained = by_hand.train(Pilot.here())
    assert trained.standing == "refused"
    assert trained.verdict.reasons[0].startswith("features match contract.yaml: required yes, found no")
    assert champion(pilot_copy).number == "1"


def test_nothing_is_promoted_before_outcomes_are_known(pilot_copy: Pilot, sql: Callable) -> None:
    sql(pilot_copy, "update flights set arr_delay = null where month = 2")
    by_hand.ingest(Pilot.here())
    trained = by_hand.train(Pilot.here())
    assert not trained.verdict.passed
    assert trained.verdict.reasons[0] == "rows with a known outcome: required at least 1,000, found 0"
    assert champion(pilot_copy).number == "1"


def evidence(pilot: Pilot, name: str) -> dict:
    return json.loads(mlflow.artifacts.load_text(f"runs:/{champion(pilot).run_id}/evaluation/{name}.json"))


def test_every_training_keeps_what_is_cheap_to_know(pilot: Pilot) -> None:
    assert {each["feature"] for each in evidence(pilot, "importance")["features"]} == set(
        pilot.contract.dataset.feature_names
    )
    assert 0 <= evidence(pilot, "calibration")["error"] < 0.5
    run = mlflow.get_run(champion(pilot).run_id)
    assert "calibration_error" in run.data.metrics
