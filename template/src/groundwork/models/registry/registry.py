"""The model registry in MLflow: versions, their lineage and serving bundle, and the alias of the one that serves.

Which one that is, the promotion log says (`promotion.py`).

`python -m groundwork.models.registry.registry` fetches the bundles of champion and challenger; where there is no MLflow
server, the service runs it as a child process, so that the process which answers requests never imports MLflow.
"""

import contextlib
import hashlib
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from groundwork.core.environment import prepare
from groundwork.core.errors import BundleError, NoChampion
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.version import Version, note
from groundwork.models.serving.bundles import BUNDLE, CHALLENGER, CHAMPION, BundleCache, SignedBundle
from groundwork.models.serving.predictor import Predictor


class Registry:
    """The versions of this pilot's model."""

    def __init__(self, pilot: Pilot) -> None:
        mlflow.set_tracking_uri(pilot.settings.tracking_uri)
        self.name = pilot.name
        self._settings = pilot.settings
        self._cache = BundleCache(pilot)
        self._dataset = pilot.contract.dataset
        self._artifacts = pilot.settings.data_folder / "mlartifacts"
        self._local = pilot.settings.tracking_uri.startswith("sqlite:")
        self._client = MlflowClient()

    def use_experiment(self) -> None:
        """Runs that start from now on belong to the pilot's experiment."""
        if self._client.get_experiment_by_name(self.name) is None:
            # A server says where artefacts go; without one they would land in the current folder.
            location = self._artifacts.as_uri() if self._local else None
            mlflow.create_experiment(self.name, artifact_location=location)
        mlflow.set_experiment(self.name)

    def register(self, model: ModelInfo, run_id: str, tags: dict[str, str]) -> Version:
        """Register a logged model with its lineage and the run that holds its serving bundle."""
        with contextlib.suppress(MlflowException):  # it is there already
            self._client.create_registered_model(self.name)
        return _version(
            self._client.create_model_version(
                self.name, model.model_uri, run_id, {"run_id": run_id} | tags, model_id=model.model_id
            )
        )

    def find(self, lineage: str) -> Version | None:
        """The version that was made from exactly this data, code and documents, and that may still be served."""
        try:
            found = self._client.search_model_versions(f"name = '{self.name}' and tag.lineage = '{lineage}'")
        except MlflowException:
            return None
        for version in map(_version, found):
            with contextlib.suppress(BundleError):
                self.pull(version)
                return version
        return None

    def version(self, number: str) -> Version | None:
        """The version with this number; None if there is none."""
        try:
            return _version(self._client.get_model_version(self.name, number))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def champion(self) -> Version | None:
        """The promoted version; None if there is none."""
        return self.aliased(CHAMPION)

    def required_champion(self) -> Version:
        """The promoted version. Raises NoChampion if there is none."""
        champion = self.champion()
        if champion is None:
            raise NoChampion(f"no version of {self.name} has been promoted: run `groundwork train`")
        return champion

    def aliased(self, alias: str) -> Version | None:
        """The version with this alias; None if there is none."""
        try:
            return _version(self._client.get_model_version_by_alias(self.name, alias))
        except MlflowException as error:
            # MLflow answers a missing alias with INVALID_PARAMETER_VALUE, a missing model with RESOURCE_DOES_NOT_EXIST.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def record_evidence(self, version: Version, verdict: dict[str, Any]) -> Version:
        """Keep the gate's verdict with the run, and its digest with the version, which is returned with it."""
        text = json.dumps(verdict, indent=1)
        self._client.log_text(version.run_id, text, f"gate/{version.number}.json")
        tags = {
            "gain_per_1000": f"{verdict['gain_per_1000']:.2f}",
            "judged_against": verdict["judged_against"],
            "evidence_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        for name, value in tags.items():
            self._tag(version, name, value)
        return replace(version, tags=version.tags | tags)

    def refuse(self, version: Version) -> None:
        """Note that it is not let into service, not as a challenger either."""
        self._tag(version, "gate", "refused")
        self._challenges_no_more(version)

    def hold(self, version: Version) -> None:
        """Note that it passed and waits for approval; until then it decides in the champion's shadow."""
        self._tag(version, "gate", "pending")
        self._client.set_registered_model_alias(self.name, CHALLENGER, version.number)

    def put_in_service(self, version: Version) -> None:
        """Make it the one that serves. A service that starts on this machine has it at once, from the cache."""
        bundle = self.pull(version)
        self._client.set_registered_model_alias(self.name, CHAMPION, version.number)
        self._tag(version, "gate", "promoted")
        self._challenges_no_more(version)
        self._cache.remember(bundle)
        note(self._settings, replace(version, tags=version.tags | {"gate": "promoted"}))

    def _challenges_no_more(self, version: Version) -> None:
        challenger = self.aliased(CHALLENGER)
        if challenger and challenger.number == version.number:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _tag(self, version: Version, name: str, value: str) -> None:
        self._client.set_model_version_tag(self.name, version.number, name, value)

    def pull(self, version: Version) -> SignedBundle:
        """The version's serving bundle, fetched if it is not in the cache. Raises UntrustedBundle, BundleError."""

        def download(folder: Path) -> Path:
            return Path(
                mlflow.artifacts.download_artifacts(run_id=version.run_id, artifact_path=BUNDLE, dst_path=str(folder))
            )

        return self._cache.fetch(version.number, version.bundle_sha256, download)

    def predictor(self, version: Version) -> Predictor:
        """The version, loaded. Raises BundleError if it is not what was registered, or does not fit the contract."""
        return self.pull(version).predictor(self._dataset)


def _version(found: ModelVersion) -> Version:
    return Version(str(found.version), found.tags["run_id"], dict(found.tags))


def main() -> int:
    """Print the bundles of champion and challenger as JSON, and the latter's `trouble`; exit 1 without a champion."""
    pilot = Pilot.here()
    prepare(pilot.settings)
    registry = Registry(pilot)
    champion, challenger = registry.aliased(CHAMPION), registry.aliased(CHALLENGER)
    if champion is None:
        print(f"no version of {registry.name} has the alias {CHAMPION}: run `groundwork train`", file=sys.stderr)
        return 1
    said: dict[str, Any] = {CHAMPION: asdict(registry.pull(champion)), CHALLENGER: None, "trouble": None}
    if challenger is not None:
        try:
            said[CHALLENGER] = asdict(registry.pull(challenger))
        except Exception as error:  # it is none of the champion's
            said["trouble"] = str(error)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
