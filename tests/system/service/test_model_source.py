"""Where the models come from: a registry that is down, or cannot be read, is told in words."""

import shutil
import sys

import pytest
from groundwork.core.errors import BundleError
from groundwork.documents.pilot import Pilot
from groundwork.service.model_source import source_of
from serving import closed, serving


def test_where_mlflow_is_missing_another_registry_is_refused_in_words(
    pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "databricks")
    with pytest.raises(BundleError, match="set MLFLOW_TRACKING_URI to an MLflow server"):
        next(source_of(Pilot.here()).bundles("1", "0" * 64))


def test_a_registry_that_is_down_at_first_start_leaves_it_live_and_not_ready(pilot_copy: Pilot) -> None:
    shutil.rmtree(pilot_copy.settings.champion_cache, ignore_errors=True)
    with serving(pilot_copy, ready=False, MLFLOW_TRACKING_URI=closed()) as service:
        answer = service.wait("/health/ready", 503)
        assert "no model is loaded yet" in answer["detail"]
        assert service.predict()[0] == 503
