"""The promotion log says who is champion; the registry's alias follows it, whatever comes between."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import mlflow
import pytest
from commands import groundwork
from groundwork.core.errors import BundleError, FeatureMismatch, PromotionError
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import approve, promote, reconcile, roll_back
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.bundles import CHALLENGER
from groundwork.pipeline import by_hand
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion
from registries import client_of, register_again, set_alias, set_tag, write_entry
from serving import served_here


def log(pilot: Pilot) -> list[Promotion]:
    with Store(pilot.settings.store) as store:
        return store.promotions.of(pilot.name)


def champion(pilot: Pilot) -> str:
    found = Registry(pilot).champion()
    assert found is not None
    return found.number


def promoted(pilot: Pilot, version: Version) -> Promotion:
    with Store(pilot.settings.store) as store:
        registry = Registry(pilot)
        return promote(store, registry, version, reconcile(store, registry), by="ada", why="better")


def rolled_back(pilot: Pilot, to: str | None = None) -> Promotion:
    with Store(pilot.settings.store) as store:
        entry = roll_back(pilot, store, to, "worse than it seemed")
        reconcile(store, Registry(pilot))
        return entry


def test_the_log_says_who_when_what_and_why_with_the_digest_of_the_evidence(pilot: Pilot) -> None:
    [entry] = log(pilot)
    version = Registry(pilot).champion()
    assert version is not None
    assert (entry.number, entry.from_version, entry.to_version) == (1, "", "1")
    assert entry.promoted_by
    assert entry.promoted_at.endswith("+00:00")
    assert entry.why.startswith("passed the gate: ")
    verdict = Path(mlflow.artifacts.download_artifacts(f"runs:/{version.run_id}/gate/1.json")).read_bytes()
    assert entry.evidence_sha256 == hashlib.sha256(verdict).hexdigest() == version.evidence_sha256
    assert entry.bundle_sha256 == version.bundle_sha256


def test_who_has_not_seen_the_newest_entry_promotes_nothing(pilot_copy: Pilot) -> None:
    second, third = register_again(pilot_copy), register_again(pilot_copy)
    [seen] = log(pilot_copy)
    promoted(pilot_copy, second)
    with (
        Store(pilot_copy.settings.store) as store,
        pytest.raises(PromotionError, match="another version has been promoted since"),
    ):
        promote(store, Registry(pilot_copy), third, seen, by="ada", why="better than version 1")
    assert champion(pilot_copy) == "2"
    assert [entry.to_version for entry in log(pilot_copy)] == ["1", "2"]


def test_a_bundle_that_no_service_would_load_is_not_written_down(pilot_copy: Pilot) -> None:
    sound = register_again(pilot_copy)
    altered = replace(sound, tags=sound.tags | {"bundle_sha256": "0" * 64})
    with Store(pilot_copy.settings.store) as store, pytest.raises(BundleError):
        promote(
            store, Registry(pilot_copy), altered, store.promotions.latest(Registry(pilot_copy).name), by="ada", why="x"
        )
    assert [entry.to_version for entry in log(pilot_copy)] == ["1"]
    assert champion(pilot_copy) == "1"


DIE_BEFORE_THE_ALIAS = """
import os, signal, sys
from groundwork.models.registry.promotion import approve, promote, reconcile
from groundwork.models.registry.registry import Registry
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.store.database import Store

pilot = Pilot.here()
registry, store = Registry(pilot), Store(pilot.settings.store)
Registry.put_in_service = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
promote(store, registry, registry.version(sys.argv[1]), store.promotions.latest(registry.name), by="ada", why="better")
"""


@pytest.mark.parametrize("put_right_by", ["a run", "status"])
def test_a_kill_between_log_and_registry_is_put_right(pilot_copy: Pilot, put_right_by: str) -> None:
    second = register_again(pilot_copy).number
    killed = subprocess.run([sys.executable, "-c", DIE_BEFORE_THE_ALIAS, second], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [entry.to_version for entry in log(pilot_copy)] == ["1", second]
    assert champion(pilot_copy) == "1"
    if put_right_by == "status":
        status = [sys.executable, "-m", "groundwork.cli.main", "status"]
        said = subprocess.run(status, capture_output=True, text=True, check=True, env=os.environ).stdout
        assert f"champion  version {second}" in said
        assert f"1 → {second} by ada: better" in said
    else:
        by_hand.train(Pilot.here())
    assert champion(pilot_copy) == second
    found = Registry(pilot_copy).champion()
    assert found is not None
    assert found.judged == "promoted"


def test_an_alias_that_was_moved_by_hand_is_put_back(pilot_copy: Pilot) -> None:
    register_again(pilot_copy)
    set_alias(pilot_copy, "champion", "2")
    with Store(pilot_copy.settings.store) as store:
        reconcile(store, Registry(pilot_copy))
    assert champion(pilot_copy) == "1"


def test_an_alias_alone_makes_no_champion(pilot_copy: Pilot, tmp_path: Path) -> None:
    """The version has the first one's tags, with the signed entry, which is of another version."""
    set_alias(pilot_copy, "champion", register_again(pilot_copy).number)
    with Store(f"sqlite:///{tmp_path / 'empty.db'}") as store:
        assert reconcile(store, Registry(pilot_copy)) is None
        assert store.promotions.of(Registry(pilot_copy).name) == []
    assert Registry(pilot_copy).champion() is None


def test_a_store_of_its_own_leaves_the_signed_champion_in_service(pilot_copy: Pilot, tmp_path: Path) -> None:
    """Such as that of a container that scores, and shares the registry alone."""
    with Store(f"sqlite:///{tmp_path / 'empty.db'}") as store:
        assert reconcile(store, Registry(pilot_copy)) is None
        assert store.promotions.of(Registry(pilot_copy).name) == []
    assert champion(pilot_copy) == "1"


def test_after_the_loss_of_the_store_the_champion_is_judged_again(pilot_copy: Pilot) -> None:
    for file in pilot_copy.settings.data_folder.glob("groundwork.db*"):
        file.unlink()
    trained = by_hand.train(pilot_copy)
    assert (trained.version, trained.standing, trained.champion_before) == ("1", "promoted", None)


def test_a_registry_without_the_champion_of_the_log_is_not_believed(pilot_copy: Pilot) -> None:
    second = register_again(pilot_copy)
    promoted(pilot_copy, second)
    registry = Registry(pilot_copy)
    client_of(pilot_copy).delete_model_version(registry.name, second.number)
    with (
        Store(pilot_copy.settings.store) as store,
        pytest.raises(PromotionError, match="the registry does not have it"),
    ):
        reconcile(store, registry)


def delete_version(pilot: Pilot) -> None:
    client_of(pilot).delete_model_version(pilot.name, "1")


def delete_run_too(pilot: Pilot) -> None:
    run = client_of(pilot).get_model_version(pilot.name, "1").run_id
    delete_version(pilot)
    client_of(pilot).delete_run(run)


def delete_model(pilot: Pilot) -> None:
    client_of(pilot).delete_registered_model(pilot.name)


def lose_database(pilot: Pilot) -> None:
    (pilot.settings.data_folder / "mlflow.db").write_bytes((pilot.settings.data_folder / "empty.db").read_bytes())


def empty_cache(pilot: Pilot) -> None:
    shutil.rmtree(pilot.settings.champion_cache)


@pytest.mark.parametrize("lose", [delete_version, delete_run_too, delete_model, lose_database])
def test_the_only_champion_is_registered_again_by_a_rollback_if_the_registry_lost_it(
    lose: Callable[[Pilot], None], pilot_copy: Pilot
) -> None:
    [before] = log(pilot_copy)
    if lose is lose_database:
        mlflow.MlflowClient(f"sqlite:///{pilot_copy.settings.data_folder / 'empty.db'}").search_experiments()
    lose(pilot_copy)
    if lose is delete_version:
        empty_cache(pilot_copy)  # the run still has its files
    with (
        Store(pilot_copy.settings.store) as store,
        pytest.raises(PromotionError, match=r"If it was deleted there, `groundwork rollback --to 1`"),
    ):
        reconcile(store, Registry(pilot_copy))
    entry = rolled_back(pilot_copy, "1" if lose is delete_model else None)
    assert entry.to_version == champion(pilot_copy) == "2"
    assert (entry.from_version, entry.number) == ("1", 2)
    assert (entry.bundle_sha256, entry.evidence_sha256) == (before.bundle_sha256, before.evidence_sha256)
    assert entry.why == "version 1 was deleted in the registry, and is registered again: worse than it seemed"
    assert by_hand.train(pilot_copy).standing == "champion"
    assert groundwork("status").returncode == 0


def test_a_champion_that_is_lost_everywhere_leaves_none_until_one_is_trained(pilot_copy: Pilot) -> None:
    registry = Registry(pilot_copy)  # from here on, nothing leads to the pilot that it is a copy of
    empty_cache(pilot_copy)
    shutil.rmtree(pilot_copy.settings.data_folder / "mlartifacts")
    with pytest.raises(BundleError, match=r"cannot be fetched from MLflow: .* If they are gone, `groundwork rollback`"):
        registry.predictor(registry.required_champion())
    with Store(pilot_copy.settings.store) as store, pytest.raises(PromotionError, match="cannot be registered again"):
        roll_back(pilot_copy, store, "1", "again")
    done = groundwork("rollback", "--why", "it is gone")
    assert "no version is champion now: version 1 is in neither the registry nor the cache: it is gone" in done.stdout
    assert [entry.to_version for entry in log(pilot_copy)] == ["1", ""]
    assert Registry(pilot_copy).champion() is None
    assert "champion  none: run `groundwork train`" in groundwork("status").stdout
    done = groundwork("rollback")
    assert done.returncode == 1
    assert "has no champion, and had none before: run `groundwork train`" in done.stderr
    trained = by_hand.train(pilot_copy)
    assert (trained.version, trained.standing, trained.champion_before) == ("2", "promoted", None)
    with served_here(pilot_copy, from_cache=True) as client:
        assert client.get("/health/ready").json()["model_version"] == "2"


def test_nothing_is_promoted_while_the_log_is_broken_and_a_rollback_works(pilot_copy: Pilot) -> None:
    promoted(pilot_copy, register_again(pilot_copy))
    third = register_again(pilot_copy)
    with Store(pilot_copy.settings.store) as store:
        assert store.promotions.append(log(pilot_copy)[-1]._replace(number=3, to_version=third.number, why="forged"))
    for refused in (lambda: promoted(pilot_copy, third), lambda: by_hand.train(Pilot.here())):
        with pytest.raises(PromotionError, match="entry 3 is not signed by a trusted key"):
            refused()
    assert champion(pilot_copy) == "2"
    assert rolled_back(pilot_copy).to_version == champion(pilot_copy) == "1"


def test_a_service_lets_go_of_a_champion_that_the_log_has_taken_out(pilot_copy: Pilot) -> None:
    with served_here(pilot_copy, from_cache=True) as client:
        assert client.get("/health/ready").status_code == 200
        write_entry(pilot_copy, from_version="1", to_version="", bundle_sha256="")
        deadline = time.monotonic() + 30
        while client.get("/health/ready").status_code == 200:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert "no version is champion: run `groundwork train`" in client.get("/health/ready").json()["detail"]


def test_a_rollback_goes_to_the_champion_before_and_then_to_the_one_before_that(pilot_copy: Pilot) -> None:
    for _ in range(2):
        promoted(pilot_copy, register_again(pilot_copy))
    assert champion(pilot_copy) == "3"
    entry = rolled_back(pilot_copy)
    assert (entry.from_version, entry.to_version, entry.why) == ("3", "2", "worse than it seemed")
    assert champion(pilot_copy) == "2"
    assert rolled_back(pilot_copy).to_version == "1"
    with pytest.raises(PromotionError, match="version 1 is the first champion"):
        rolled_back(pilot_copy)
    assert rolled_back(pilot_copy, to="3").from_version == "1"  # and forward again, if it must be
    assert rolled_back(pilot_copy).to_version == "1"


def test_a_version_that_was_rolled_back_is_not_put_back_by_training_again(pilot_copy: Pilot, set_in: Callable) -> None:
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minRows", 999)
    assert by_hand.train(Pilot.here()).version == champion(pilot_copy) == "2"
    rolled_back(pilot_copy)
    trained = by_hand.train(Pilot.here())
    assert (trained.version, trained.standing, trained.in_service) == ("2", "taken out", False)
    assert champion(pilot_copy) == "1"


@pytest.fixture
def waiting(pilot_copy: Pilot, set_in: Callable) -> Pilot:
    """A pilot whose charter asks for approval, with a version that waits for it."""
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.approval", "required")
    pilot = Pilot.here()
    assert by_hand.train(Pilot.here()).standing == "pending"
    return pilot


def approved(pilot: Pilot, number: str, by: str = "ada") -> Promotion:
    with Store(pilot.settings.store) as store:
        return approve(pilot, store, Registry(pilot), number, by=by, why="seen, and good")


def test_what_passed_waits_in_the_shadow_until_it_is_approved(waiting: Pilot) -> None:
    challenger = Registry(waiting).aliased(CHALLENGER)
    assert challenger is not None
    assert (challenger.number, challenger.judged, champion(waiting)) == ("2", "pending", "1")
    assert by_hand.train(Pilot.here()).standing == "pending"  # training again does not get around it
    assert champion(waiting) == "1"
    entry = approved(waiting, "2")
    assert (entry.from_version, entry.to_version, entry.why) == ("1", "2", "seen, and good")
    assert entry.promoted_by.startswith("ada")
    assert champion(waiting) == "2"
    assert Registry(waiting).aliased(CHALLENGER) is None


@pytest.mark.parametrize(
    ("number", "by", "reason"),
    [
        ("2", "mallory", "mallory is not among the approvers of OWNERS: ada"),
        ("1", "ada", "version 1 of .* is promoted: it does not wait for approval"),
        ("7", "ada", "version 7 of .* is unknown"),
    ],
)
def test_only_an_approver_approves_and_only_what_waits(waiting: Pilot, number: str, by: str, reason: str) -> None:
    with pytest.raises(PromotionError, match=reason):
        approved(waiting, number, by)
    assert champion(waiting) == "1"


def test_a_tag_in_the_registry_makes_no_refused_version_pass(waiting: Pilot) -> None:
    """Nor do the stored figures, once somebody with the registry has changed them; nor another version's verdict."""
    client = client_of(waiting)
    second = client.get_model_version(waiting.name, "2")
    run, tags = second.run_id, {name: each for name, each in second.tags.items() if name not in ("gate", "lineage")}
    refused = str(client.create_model_version(waiting.name, second.source, run, tags).version)
    set_tag(waiting, refused, gate="pending", judged_against="1")
    with pytest.raises(PromotionError, match="version 3 has no verdict of the gate that a trusted key has signed"):
        approved(waiting, refused)
    registry = Registry(waiting)
    version = registry.version(refused)
    assert version is not None
    _, verdict = registry.verdict(registry.version("2"))  # type: ignore[arg-type]
    checks = [check | {"passed": False} for check in verdict["checks"]]
    version = registry.record_evidence(version, verdict | {"passed": True, "checks": checks, "judged_against": "1"})
    with pytest.raises(PromotionError, match=r"version 3 of .* is refused: it does not wait for approval"):
        approved(waiting, refused)
    for place, text in (
        (f"{refused}.json", json.dumps(verdict)),  # the figures of version 2, under the signature of 3
        ("2.json", json.dumps(verdict | {"gain_per_1000": 1e9})),
    ):
        client.log_text(run, text, f"gate/{place}")
        with pytest.raises(PromotionError, match="has no verdict of the gate that a trusted key has signed"):
            approved(waiting, place.partition(".")[0])
    assert champion(waiting) == "1"
    assert by_hand.train(Pilot.here()).standing == "pending"  # judged again, and signed
    assert approved(waiting, "2").verdict == "passed"


def test_an_approver_who_is_still_to_be_named_approves_nothing(waiting: Pilot, set_in: Callable) -> None:
    set_in(waiting.settings.home / "OWNERS", "approvers", ["TBD"])
    with pytest.raises(PromotionError, match="TBD is not among the approvers"):
        approved(Pilot.here(), "2", "TBD")


def test_what_was_compared_with_another_champion_is_judged_anew_first(waiting: Pilot) -> None:
    promoted(waiting, register_again(waiting))
    with pytest.raises(PromotionError, match="was compared with 1, and the champion has changed since"):
        approved(waiting, "2")
    assert by_hand.train(Pilot.here()).standing == "pending"
    assert approved(waiting, "2").from_version == champion_before(waiting) == "3"


def test_what_is_refused_after_all_challenges_no_more(waiting: Pilot) -> None:
    """It was good beside the champion of then; beside the next it is not."""
    promoted(waiting, register_again(waiting))
    registry = Registry(waiting)
    version = registry.version("2")
    assert version is not None
    registry.refuse(version)
    assert registry.aliased(CHALLENGER) is None


def champion_before(pilot: Pilot) -> str:
    return log(pilot)[-1].from_version


def test_a_version_that_was_never_champion_is_no_way_back(pilot_copy: Pilot) -> None:
    register_again(pilot_copy)
    with pytest.raises(PromotionError, match="version 2 has never been champion; champions so far: 1"):
        rolled_back(pilot_copy, to="2")
    with pytest.raises(PromotionError, match="version 1 is already the champion"):
        rolled_back(pilot_copy, to="1")


def test_without_a_promotion_there_is_nothing_to_roll_back(new_pilot: Pilot) -> None:
    with pytest.raises(PromotionError, match="there is nothing to roll back"):
        rolled_back(new_pilot)


@pytest.mark.parametrize("cached", [True, False])
def test_a_champion_that_could_not_serve_any_more_is_no_way_back(
    pilot_copy: Pilot, set_in: Callable, cached: bool
) -> None:
    """The contract has changed since. What serves goes on serving, and the log says nothing else."""
    promoted(pilot_copy, register_again(pilot_copy))
    if not cached:
        pilot_copy.settings.champion_cache.rename(pilot_copy.settings.data_folder / "elsewhere")
    set_in(pilot_copy.settings.home / "contract.yaml", "schema.0.properties.8.tags", [])
    changed = Pilot.here()
    with Store(changed.settings.store) as store, pytest.raises(FeatureMismatch):
        roll_back(changed, store, None, "worse")
    assert champion(changed) == log(changed)[-1].to_version == "2"
