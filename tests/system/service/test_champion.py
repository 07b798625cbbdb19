"""The model that serves stays until a better one has been loaded and checked, whatever the registry does."""

import shutil
import subprocess
import sys
import time

import pytest
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.bundles import CHALLENGER
from groundwork.store.database import Store
from registries import client_of, put_in_service, set_alias
from serving import Service, black_hole, closed, load, promote_altered, serving


@pytest.mark.parametrize("registry", ["closed", "black hole", "alias missing"])
def test_the_last_good_champion_serves_when_the_registry_does_not(
    shared_service: Service, pilot_copy: Pilot, registry: str
) -> None:
    shutil.copytree(shared_service.data / "champion", pilot_copy.settings.champion_cache, dirs_exist_ok=True)
    with black_hole() as hole:
        uri = {"closed": closed(), "black hole": hole, "alias missing": pilot_copy.settings.tracking_uri}[registry]
        if registry == "alias missing":
            client_of(pilot_copy).delete_registered_model_alias(pilot_copy.name, "champion")
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
