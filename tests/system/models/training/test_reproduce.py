"""A version comes out the same again from what it was made from, and it is said where that cannot be told."""

import shutil
from collections.abc import Callable
from datetime import datetime

import numpy as np
import pytest
from groundwork.core.windows import Window
from groundwork.data.erasure import erase
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.training import reproduce as reproduce_module
from groundwork.models.training.lineage import environment
from groundwork.models.training.reproduce import reproduce
from groundwork.monitoring.monitor import check_drift
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from registries import set_tag
from use_case import model

FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))


def champion(pilot: Pilot) -> Version:
    return Registry(pilot).required_champion()


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
    version = by_hand.train(Pilot.here()).version
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
    assert "trained from uncommitted files" in found.reason


def test_it_says_how_to_go_back_to_the_commit(pilot_copy: Pilot) -> None:
    set_tag(pilot_copy, "1", git_commit="0123abcd", use_case_sha256="another")
    found = reproduce(pilot_copy, "1")
    assert found.status == "unknown"
    assert "src/use_case differs" in found.reason
    assert "git worktree add ../version-1 0123abcd" in found.reason


def test_other_packages_are_named(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = [each for each in environment() if not each.startswith("scikit-learn==")]
    monkeypatch.setattr(reproduce_module, "environment", lambda: [*installed, "scikit-learn==0.1"])
    found = reproduce(pilot, "1")
    assert found.status == "unknown"
    assert "other packages are installed: the version was trained with scikit-learn==" in found.reason


def test_a_table_made_anew_holds_other_data_under_the_same_version(pilot_copy: Pilot, sql: Callable) -> None:
    shutil.rmtree(pilot_copy.snapshots)
    sql(pilot_copy, "delete from flights where flight % 2 = 0")
    by_hand.ingest(Pilot.here())
    found = reproduce(pilot_copy, "1")
    assert (found.status, found.reason.partition(".")[0]) == ("unknown", "the table of the snapshots differs")
    assert evaluate(pilot_copy, "1").reason == "the table of the snapshots changed since the version was trained"
    with Store(pilot_copy.settings.store) as store:
        drift = check_drift(pilot_copy, store, FEBRUARY)
    assert (drift.status, drift.reason) == ("unknown", "the snapshots that version 1 was trained on are gone")
    trained = by_hand.train(Pilot.here())
    assert (trained.version, trained.new) == ("2", True)


def test_a_snapshot_that_is_gone_is_no_pass(pilot_copy: Pilot) -> None:
    subject = Snapshots(pilot_copy.snapshots, pilot_copy.contract.dataset).read()["flight_id"][0].as_py()
    with Store(pilot_copy.settings.store) as store:
        erase(pilot_copy, store, subject)
    found = reproduce(pilot_copy, "1")
    assert found.status == "unknown"
    assert "of the snapshots cannot be read" in found.reason
    assert reproduce(pilot_copy, "7").reason.endswith("has no version 7")
