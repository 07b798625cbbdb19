"""The model registry in MLflow: versions with their lineage and serving bundle, and the alias of the champion.

The promotion log decides which version is the champion (`promotion.py`).

`python -m groundwork.models.registry.registry NUMBER SHA256` fetches the bundle of that version, the champion, and of
the challenger. If there is no MLflow server, the service runs it as a child process, so that the process that answers
requests never imports MLflow.
"""

import contextlib
import hashlib
import json
import logging
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
from groundwork.core.errors import BundleError, NoChampion, PromotionError, causes
from groundwork.documents.pilot import Pilot
from groundwork.models.registry import mlflow_schema
from groundwork.models.registry.addresses import ARTIFACTS, bring_home, own_database
from groundwork.models.registry.version import Version, note, noted_version
from groundwork.models.serving.bundles import BUNDLE, CHALLENGER, CHAMPION, PROMOTION, BundleCache, SignedBundle
from groundwork.models.serving.chain import read_chain
from groundwork.models.serving.predictor import Predictor
from groundwork.models.serving.signing import is_signed, sign
from groundwork.store.connection import sqlite_file
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion

_log = logging.getLogger(__name__)


class Registry:
    """The versions of this pilot's model."""

    def __init__(self, pilot: Pilot) -> None:
        """Open the registry; the addresses in a pilot that was moved or copied are put right, and a warning says so.

        Raises SchemaMismatch if another version of MLflow wrote the pilot's own registry.
        """
        mlflow.set_tracking_uri(pilot.settings.tracking_uri)
        self.name = pilot.name
        self.pilot = pilot
        self._settings = pilot.settings
        self._cache = BundleCache(pilot)
        self._dataset = pilot.contract.dataset
        self._artifacts = pilot.settings.data_folder / ARTIFACTS
        self._local = sqlite_file(pilot.settings.tracking_uri) is not None
        if database := own_database(pilot.settings):
            mlflow_schema.require(database)
            for line in bring_home(database, self._artifacts):
                _log.warning(line)
        self._client = MlflowClient()

    def use_experiment(self) -> str:
        """Make the pilot's experiment the current one, and return its id; create it if it does not exist."""
        if self._client.get_experiment_by_name(self.name) is None:
            # A server decides where artefacts go; without one, MLflow would write them to the current folder.
            location = self._artifacts.as_uri() if self._local else None
            mlflow.create_experiment(self.name, artifact_location=location)
        return str(mlflow.set_experiment(self.name).experiment_id)

    def register(self, model: ModelInfo, run_id: str, tags: dict[str, str]) -> Version:
        """Register a logged model with its lineage and the run that holds its serving bundle; return the version."""
        return self._register(model.model_uri, run_id, tags, model.model_id)

    def _register(self, source: str, run_id: str, tags: dict[str, str], model_id: str | None) -> Version:
        with contextlib.suppress(MlflowException):  # it exists already
            self._client.create_registered_model(self.name)
        with Store(self._settings.store) as store:
            taken = max((int(entry.to_version or 0) for entry in read_chain(self.pilot, store).entries), default=0)
        while True:
            version = _version(
                self._client.create_model_version(
                    self.name, source, run_id, {"run_id": run_id} | tags, model_id=model_id
                )
            )
            if int(version.number) > taken:
                return version
            # A registry that was lost counts from 1 again, and a number in the log must not mean two models.
            self._client.delete_model_version(self.name, version.number)

    def restore(self, number: str, sha256: str) -> Version | None:
        """Register a deleted version again under a new number, from its run or from this machine's cache.

        Returns None if neither has its serving bundle.
        """
        experiment = self.use_experiment()
        runs = self._client.search_runs([experiment], f"tags.bundle_sha256 = '{sha256}'", max_results=1)
        noted = noted_version(self._settings, number)
        tags = dict(noted.tags) if noted and noted.bundle_sha256 == sha256 else {}
        run_id, models = "", []
        if runs:
            run_id, models = runs[0].info.run_id, runs[0].outputs.model_outputs if runs[0].outputs else []
            tags |= {name: value for name, value in runs[0].data.tags.items() if not name.startswith("mlflow.")}
        try:
            bundle = self.pull(Version(number, run_id, {"bundle_sha256": sha256}))
        except BundleError:
            return None
        if not tags:
            return None
        if not runs:
            with mlflow.start_run(run_name="restored") as run:
                run_id = run.info.run_id
                mlflow.set_tags(tags)
                mlflow.log_artifacts(bundle.folder, BUNDLE)
        model_id = models[0].model_id if models else None
        source = f"models:/{model_id}" if model_id else f"runs:/{run_id}/{BUNDLE}"
        version = self._register(source, run_id, tags | {"run_id": run_id}, model_id)
        # After a new run the tags of the note have to do.
        with contextlib.suppress(MlflowException, OSError, PromotionError):
            _, verdict = self.verdict(Version(number, run_id, {"bundle_sha256": sha256}))
            version = self.record_evidence(version, verdict)
        return version

    def find(self, lineage: str) -> Version | None:
        """Return the version with this digest of data, code and documents, if a service would load it, else None."""
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
        """Return the version with this number; None if there is none."""
        try:
            return _version(self._client.get_model_version(self.name, number))
        except MlflowException as error:
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def newest(self) -> Version | None:
        """Return the version that was registered last; None if there is none."""
        found = self._client.search_model_versions(f"name = '{self.name}'", 1, ["version_number DESC"])
        return _version(found[0]) if found else None

    def champion(self) -> Version | None:
        """Return the champion; None if there is none."""
        return self.aliased(CHAMPION)

    def required_champion(self) -> Version:
        """Return the champion. Raises NoChampion if there is none."""
        champion = self.champion()
        if champion is None:
            raise NoChampion(f"no version of {self.name} has been promoted: run `groundwork train`")
        return champion

    def aliased(self, alias: str) -> Version | None:
        """Return the version with this alias; None if there is none."""
        try:
            return _version(self._client.get_model_version_by_alias(self.name, alias))
        except MlflowException as error:
            # MLflow answers a missing alias with INVALID_PARAMETER_VALUE, a missing model with RESOURCE_DOES_NOT_EXIST.
            if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
                return None
            raise

    def record_evidence(self, version: Version, verdict: dict[str, Any]) -> Version:
        """Store the gate's verdict, signed, with the run, and its digest with the version; return it with its tags."""
        text = json.dumps(verdict, indent=1)
        signature = sign(self.pilot, _judged(version, text), "verdict")
        self._client.log_text(version.run_id, text, f"gate/{version.number}.json")
        self._client.log_text(version.run_id, signature, f"gate/{version.number}.sig")
        tags = {
            "gain_per_1000": f"{verdict['gain_per_1000']:.2f}",
            "judged_against": verdict["judged_against"],
            "evidence_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        for name, value in tags.items():
            self._tag(version, name, value)
        return replace(version, tags=version.tags | tags)

    def verdict(self, version: Version) -> tuple[Version, dict[str, Any]]:
        """Return the gate's verdict on the version, and the version with the digest of that as its evidence.

        Raises PromotionError if it is missing, was altered, or belongs to another version or bundle.
        """
        text = signature = ""
        with contextlib.suppress(MlflowException, OSError):
            place = f"runs:/{version.run_id}/gate/{version.number}"
            text, signature = (mlflow.artifacts.load_text(f"{place}.{ending}") for ending in ("json", "sig"))
        if not is_signed(self.pilot, _judged(version, text), signature, "verdict"):
            raise PromotionError(
                f"version {version.number} has no verdict of the gate that a trusted key has signed: run `groundwork "
                "train`, which judges it again"
            )
        evidence = {"evidence_sha256": hashlib.sha256(text.encode()).hexdigest()}
        return replace(version, tags=version.tags | evidence), json.loads(text)

    def refuse(self, version: Version) -> None:
        """Mark the version as refused; it serves neither as champion nor as challenger."""
        self._tag(version, "gate", "refused")
        self._challenges_no_more(version)

    def hold(self, version: Version) -> None:
        """Mark the version as waiting for approval; until then it is the challenger."""
        self._tag(version, "gate", "pending")
        self._client.set_registered_model_alias(self.name, CHALLENGER, version.number)

    def put_in_service(self, version: Version, entry: Promotion) -> None:
        """Make the version, which the entry names, the champion in the registry and in the cache of this machine."""
        self.pull(version)
        self._client.set_registered_model_alias(self.name, CHAMPION, version.number)
        self._tag(version, "gate", "promoted")
        self._tag(version, PROMOTION, entry.as_json())
        self._challenges_no_more(version)
        self._cache.remember(entry)
        tags = {"gate": "promoted", PROMOTION: entry.as_json()}
        note(self._settings, replace(version, tags=version.tags | tags))

    def take_out_of_service(self) -> None:
        """Remove the alias of the champion, if there is one."""
        if self.champion():
            self._client.delete_registered_model_alias(self.name, CHAMPION)

    def _challenges_no_more(self, version: Version) -> None:
        challenger = self.aliased(CHALLENGER)
        if challenger and challenger.number == version.number:
            self._client.delete_registered_model_alias(self.name, CHALLENGER)

    def _tag(self, version: Version, name: str, value: str) -> None:
        self._client.set_model_version_tag(self.name, version.number, name, value)

    def pull(self, version: Version) -> SignedBundle:
        """Return the version's serving bundle, from the cache or the registry. Raises BundleError, UntrustedBundle."""

        def download(folder: Path) -> Path:
            try:
                return Path(
                    mlflow.artifacts.download_artifacts(
                        run_id=version.run_id, artifact_path=BUNDLE, dst_path=str(folder)
                    )
                )
            except (MlflowException, FileNotFoundError) as error:
                if any(isinstance(each, OSError) and not isinstance(each, FileNotFoundError) for each in causes(error)):
                    raise  # a server that cannot be reached may come back
                raise BundleError(
                    f"the files of version {version.number} cannot be fetched from MLflow: {error}. If they are gone, "
                    "`groundwork rollback` goes back to an earlier champion"
                ) from None

        return self._cache.fetch(version.number, version.bundle_sha256, download)

    def predictor(self, version: Version) -> Predictor:
        """Return the loaded version. Raises BundleError if its digest is wrong, or if it does not fit the contract."""
        return self.pull(version).predictor(self._dataset)


def _judged(version: Version, verdict: str) -> str:
    """Return what is signed of a verdict: the version, its bundle, and the digest of the verdict."""
    return f"{version.number}\n{version.bundle_sha256}\n{hashlib.sha256(verdict.encode()).hexdigest()}"


def _version(found: ModelVersion) -> Version:
    return Version(str(found.version), found.tags["run_id"], dict(found.tags))


def main(number: str, sha256: str) -> int:
    """Print the bundles of champion and challenger as JSON, with the challenger's error as `trouble`.

    Returns the exit code: 1 if the registry does not have the champion, the version with this number and digest.
    """
    pilot = Pilot.here()
    prepare(pilot.settings)
    registry = Registry(pilot)
    champion, challenger = registry.version(number), registry.aliased(CHALLENGER)
    if champion is None:
        print(f"version {number} of {registry.name} is no longer in the registry", file=sys.stderr)
        return 1
    champion = replace(champion, tags=champion.tags | {"bundle_sha256": sha256})
    said: dict[str, Any] = {CHAMPION: asdict(registry.pull(champion)), CHALLENGER: None, "trouble": None}
    if challenger is not None:
        try:
            said[CHALLENGER] = asdict(registry.pull(challenger))
        except Exception as error:  # a bad challenger must not stop the champion
            said["trouble"] = str(error)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
