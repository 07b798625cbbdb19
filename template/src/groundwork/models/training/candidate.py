"""A candidate: fitted, packed for serving, signed and registered with its lineage."""

import json
import tempfile
from dataclasses import asdict
from pathlib import Path

import mlflow
from numpy.typing import NDArray

from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.estimates import SEED
from groundwork.models.evaluation.importance import calibration_of, leanings
from groundwork.models.packaging.pack import mlflow_options, pack
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.bundles import BUNDLE, SIGNATURE
from groundwork.models.serving.predictor import Predictor
from groundwork.models.serving.signing import sign
from groundwork.models.training.fit import fit
from groundwork.models.training.history import Examples, History
from groundwork.models.training.lineage import PACKAGES, environment, sha256_of
from groundwork.models.training.search import search
from use_case import decision


def fit_and_register(pilot: Pilot, registry: Registry, history: History, made_from: dict[str, str]) -> Version:
    """Fit the use case's model on the past, or fetch the one it names, pack it for serving, and register it."""
    registry.use_experiment()
    evaluation = history.evaluation if len(history.evaluation) else history.training
    with mlflow.start_run(run_name="train") as run, tempfile.TemporaryDirectory() as folder:
        chosen, trials = search(pilot, history.training)
        model, name = fit(history.training, pilot.contract.dataset, chosen)
        frame, task = evaluation.frame, pilot.contract.dataset.task
        parameters = pilot.charter.value.parameters
        bundle = pack(model, frame, lambda scores: decision.decide(scores, parameters), Path(folder) / BUNDLE, task)
        (Path(folder) / BUNDLE / SIGNATURE).write_text(sign(pilot, bundle.sha256), encoding="ascii")
        tags = made_from | {
            "bundle_sha256": bundle.sha256,
            "bundle_format": bundle.format,
            "bundle_reason": bundle.reason,
            "train_start": history.past.start.isoformat(),
            "train_end": history.past.end.isoformat(),
            "evaluation_end": history.newest.end.isoformat(),
            "parameters": json.dumps(chosen, sort_keys=True),
            "trials": str(trials),
            "seed": str(SEED),
            "packages_sha256": sha256_of("\n".join(environment()).encode()),
        }
        predictor = Predictor(Path(folder) / BUNDLE, bundle.sha256, bundle.features, task)
        scores = predictor.scores(evaluation.columns)
        tags["predictions_sha256"] = sha256_of(scores.tobytes())
        _log_diagnostics(pilot, predictor, scores, evaluation)
        mlflow.set_tags(tags)
        mlflow.log_text("\n".join(environment()), PACKAGES)
        mlflow.log_params({"rows": len(history.training), "model": name} | chosen)
        mlflow.log_artifact(str(Path(folder) / BUNDLE))
        logged = (
            model.info
            if isinstance(model, Pretrained)
            else mlflow.sklearn.log_model(model, name="model", **mlflow_options(model, frame, task))
        )
    return registry.register(logged, run.info.run_id, tags)


def _log_diagnostics(pilot: Pilot, predictor: Predictor, scores: NDArray, evaluation: Examples) -> None:
    """Keep what is cheap to know of every candidate with its run; `groundwork evaluate` finds out more."""
    leaning = leanings(pilot, predictor, evaluation)
    calibrated = calibration_of(pilot, scores, evaluation)
    mlflow.log_dict({"features": [asdict(each) for each in leaning]}, "evaluation/importance.json")
    mlflow.log_metrics({f"importance.{each.feature}": each.value_per_1000 for each in leaning})
    if calibrated:
        mlflow.log_dict(asdict(calibrated), "evaluation/calibration.json")
        mlflow.log_metric("calibration_error", calibrated.error)
