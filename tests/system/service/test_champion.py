"""The model that serves stays until a better one has been loaded and checked, whatever the registry does."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commands import groundwork
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import switch
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.bundles import BUNDLE, CHALLENGER, CHAMPION, SIGNATURE
from groundwork.models.serving.predictor import Bundle, bundle_digest
from groundwork.models.serving.signing import sign
from groundwork.store.database import Store
from registries import client_of, put_in_service, set_alias, set_tag, write_entry
from serving import FROM_CACHE, Service, black_hole, closed, load, promote_altered, served_here, serving
from stores import change


@pytest.mark.parametrize("registry", ["closed", "black hole"])
def test_the_last_good_champion_serves_when_the_registry_does_not(
    shared_service: Service, pilot_copy: Pilot, registry: str
) -> None:
    shutil.copytree(shared_service.data / "champion", pilot_copy.settings.champion_cache, dirs_exist_ok=True)
    with black_hole() as hole:
        uri = {"closed": closed(), "black hole": hole}[registry]
        with serving(pilot_copy, ready=False, MLFLOW_TRACKING_URI=uri) as cut_off:
            live = time.monotonic()
            assert cut_off.wait("/health/ready")["model_source"] == "cache"
            assert time.monotonic() - live < 10
            assert cut_off.predict()[0] == 200


@pytest.mark.soak
def test_a_swap_under_load_fails_no_request(pilot_copy: Pilot, second_version: str) -> None:
    with serving(pilot_copy) as service, load(service) as answers:
        for version in (second_version, "1", second_version):
            put_in_service(pilot_copy, version)
            service.wait("/health/ready", model_version=version)
    assert {status for status, _ in answers} == {200}
    versions = {answer["predictions"][0]["model_version"] for _, answer in answers}
    assert versions == {"1", second_version}


@pytest.mark.soak
def test_the_rollback_drill(pilot_copy: Pilot, second_version: str) -> None:
    """One command, and within ten seconds the service serves the version before, though it asks the registry rarely."""
    put_in_service(pilot_copy, second_version)
    with serving(pilot_copy, GROUNDWORK_REGISTRY_POLL_SECONDS="600") as service:
        service.wait("/health/ready", model_version=second_version, model_source="registry")
        began = time.monotonic()
        command = [sys.executable, "-m", "groundwork.cli.main", "rollback", "--why", "it re-plans everything"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as rollback, load(service) as answers:
            service.wait("/health/ready", model_version="1")
            took = time.monotonic() - began
            assert rollback.wait(120) == 0
        assert took < 10
        assert service.predict()[1]["predictions"][0]["model_version"] == "1"
    assert {status for status, _ in answers} == {200}
    champion = Registry(pilot_copy).champion()
    assert champion is not None
    assert champion.number == "1"
    with Store(pilot_copy.settings.store) as store:
        entry = store.promotions.latest(Registry(pilot_copy).name)
    assert entry is not None
    assert (entry.from_version, entry.to_version, entry.why) == (second_version, "1", "it re-plans everything")


def test_a_bad_version_is_refused_and_the_old_one_stays(pilot_copy: Pilot, second_version: str) -> None:
    with serving(pilot_copy) as service:
        service.wait("/health/ready", model_source="registry")
        promote_altered(pilot_copy, second_version)
        deadline = time.monotonic() + 120
        while "groundwork_model_refresh_failures_total 0.0" in service.ask("/metrics")[1]["text"]:
            assert time.monotonic() < deadline, service.complaints()
            time.sleep(0.1)
        assert service.wait("/health/ready")["model_version"] == "1"
        assert service.predict()[1]["predictions"][0]["model_version"] == "1"
    assert "its digest differs" in service.complaints()


def test_a_bad_challenger_is_left_out_and_the_champion_serves(pilot_copy: Pilot, second_version: str) -> None:
    folder = next((pilot_copy.settings.champion_cache / "1").iterdir())
    fetched = pilot_copy.settings.champion_cache / second_version / folder.name
    shutil.copytree(folder, fetched)
    (fetched / "model.onnx").write_bytes(b"not a model")
    set_alias(pilot_copy, CHALLENGER, second_version)
    with serving(pilot_copy, GROUNDWORK_CANARY_SHARE="1") as service:
        service.wait("/health/ready", model_source="registry")
        metrics = service.ask("/metrics")[1]["text"]
        assert service.predict()[1]["predictions"][0]["role"] == "champion"
    assert 'alias="challenger"' not in metrics
    assert "its digest differs" in service.complaints()


def alone(pilot: Pilot) -> None:
    """As a new replica is: without a cache and a note of the last champion."""
    shutil.rmtree(pilot.settings.champion_cache)


@pytest.mark.parametrize("alias", ["moved", "missing"])
def test_a_cold_replica_goes_by_the_promotion_log_not_by_the_registry(
    alias: str, pilot_copy: Pilot, second_version: str
) -> None:
    set_tag(pilot_copy, second_version, gate="refused")
    if alias == "moved":
        set_alias(pilot_copy, CHAMPION, second_version)
    else:
        client_of(pilot_copy).delete_registered_model_alias(pilot_copy.name, CHAMPION)
    alone(pilot_copy)
    with serving(pilot_copy) as service:
        assert service.wait("/health/ready", model_source="registry")["model_version"] == "1"
        assert service.predict()[1]["predictions"][0]["model_version"] == "1"


def test_a_cold_replica_loads_no_other_bundle_under_a_versions_number(pilot_copy: Pilot, tmp_path: Path) -> None:
    """Another bundle that was signed for this pilot, in the run of the champion, and with its digest in the tags."""
    registry = Registry(pilot_copy)
    version = registry.required_champion()
    run = client_of(pilot_copy).get_run(version.run_id)
    bundle = Path(run.info.artifact_uri.removeprefix("file://")) / BUNDLE
    described = Bundle.model_validate_json((bundle / "bundle.json").read_bytes()).model_copy(update={"reason": "older"})
    described.sha256 = bundle_digest(described, (bundle / described.file).read_bytes())
    (bundle / "bundle.json").write_text(described.model_dump_json())
    (bundle / SIGNATURE).write_text(sign(pilot_copy, described.sha256))
    set_tag(pilot_copy, "1", bundle_sha256=described.sha256)
    alone(pilot_copy)
    with serving(pilot_copy, ready=False) as service:
        service.wait_until(lambda: "its digest differs" in service.ask("/health/ready")[1].get("detail", ""))
        assert service.predict()[0] == 503


@pytest.mark.parametrize("cold", [True, False])
def test_a_forged_promotion_is_not_followed_and_told(cold: bool, pilot_copy: Pilot, second_version: str) -> None:
    def forge() -> None:
        with Store(pilot_copy.settings.store) as store:
            newest = store.promotions.latest(pilot_copy.name)
            assert newest is not None
            forged = newest._replace(number=2, from_version="1", to_version=second_version, promoted_by="ada")
            assert store.promotions.append(forged)

    if cold:
        forge()
        alone(pilot_copy)
    with serving(pilot_copy) as service:
        if not cold:
            forge()
        service.wait_until(lambda: "groundwork_promotion_log_whole 0.0" in service.ask("/metrics")[1]["text"])
        assert service.wait("/health/ready")["model_version"] == "1"
        assert "entry 2 is not signed by a trusted key" in service.ask("/")[1]["text"]
        assert service.predict()[1]["predictions"][0]["model_version"] == "1"
        assert "promotion log broken" in service.complaints()
        done = groundwork("verify", "--mend", "--by", "ada", "--approved-by", "grace", "--why", "forged")
        assert done.returncode == 0, done.stderr
        service.wait_until(lambda: "groundwork_promotion_log_whole 1.0" in service.ask("/metrics")[1]["text"])


def test_a_log_that_ends_before_what_was_followed_is_not_followed(pilot_copy: Pilot, second_version: str) -> None:
    put_in_service(pilot_copy, second_version)
    with serving(pilot_copy) as service:
        service.wait("/health/ready", model_version=second_version)
        change(pilot_copy.settings.store, "drop trigger promotions_are_not_deleted")
        change(pilot_copy.settings.store, "delete from promotions where number = 2")
        service.wait_until(lambda: "entry 2, which this service has followed, is gone" in service.ask("/")[1]["text"])
        assert service.predict()[1]["predictions"][0]["model_version"] == second_version
    with serving(pilot_copy, **FROM_CACHE) as service:  # started anew
        assert service.wait("/health/ready")["model_version"] == second_version


def test_switch_and_rollback_do_not_wait_for_a_registry_that_hangs(
    pilot_copy: Pilot, second_version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is in the middle of asking it, and so would the command be."""
    put_in_service(pilot_copy, second_version)
    with black_hole() as hole, serving(pilot_copy, MLFLOW_TRACKING_URI=hole) as service:
        assert service.wait("/health/ready", model_version=second_version)["model_source"] == "cache"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", hole)
        for verb, having in (
            (("rollback", "--why", "it harms"), {"model_version": "1"}),
            (("switch", "no-model", "--by", "ada", "--why", "it harms too"), {"mode": "no-model"}),
            (("switch", "model", "--by", "ada", "--why", "mended"), {"model_version": "1"}),
        ):
            done = groundwork(*verb)
            assert done.returncode == 0, done.stderr
            told = time.monotonic()
            service.wait("/health/ready", **having)
            assert time.monotonic() - told < 3
            role = "no-model" if "mode" in having else "champion"
            assert service.predict()[1]["predictions"][0]["role"] == role


def test_a_switched_off_model_never_answers_a_replica_that_starts(pilot_copy: Pilot) -> None:
    with Store(pilot_copy.settings.store) as store:
        switch(pilot_copy, store, "no-model", by="ada", why="it harms")
    with served_here(pilot_copy, from_cache=True) as client:
        assert client.get("/health/ready").json() == {"status": "ready", "mode": "no-model"}
        assert "Switched off by ada: it harms" in client.get("/").text


def test_an_entry_of_a_machine_whose_clock_is_behind_is_followed(pilot_copy: Pilot) -> None:
    with served_here(pilot_copy, from_cache=True) as client:
        write_entry(pilot_copy, promoted_at="2020-01-01T00:00:00.000+00:00", serves="no-model")
        deadline = time.monotonic() + 30
        while "mode" not in client.get("/health/ready").json():
            assert time.monotonic() < deadline
            time.sleep(0.1)
