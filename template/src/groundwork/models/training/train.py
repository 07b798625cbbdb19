"""Trains a candidate: fits, packs, signs and registers it, and has the gate judge it."""

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import mlflow
from numpy.typing import NDArray

from groundwork.core.errors import PromotionError, shortened
from groundwork.core.windows import Step, Window, window_of
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.diagnostics import calibration_of, leanings
from groundwork.models.evaluation.estimates import SEED, Performance
from groundwork.models.evaluation.performance import decide_like
from groundwork.models.gate.judge import Verdict
from groundwork.models.gate.judgement import Judgement, gate_findings, judge_version
from groundwork.models.packaging.pack import mlflow_options, pack
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.registry.promotion import champions_of, login, promote, reconcile
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.serving.bundles import BUNDLE, SIGNATURE
from groundwork.models.serving.chain import read_chain
from groundwork.models.serving.predictor import Predictor
from groundwork.models.serving.signing import sign
from groundwork.models.training.dry_run import dry_run
from groundwork.models.training.fit import constant_features, fit, search
from groundwork.models.training.history import Examples, History, read_history
from groundwork.models.training.lineage import PACKAGES, environment, lineage, sha256_of
from groundwork.store.database import Store
from groundwork.store.findings import keep
from groundwork.store.promotion_log import Promotion


def fit_and_register(pilot: Pilot, registry: Registry, history: History, made_from: dict[str, str]) -> Version:
    """Fit the use case's model on the past, or fetch the one it names; return it packed, signed and registered."""
    dry_run(pilot, history.training)
    registry.use_experiment()
    evaluation = history.evaluation if len(history.evaluation) else history.training
    with mlflow.start_run(run_name="train") as run, tempfile.TemporaryDirectory() as folder:
        chosen, trials = search(pilot, history.training)
        dataset = pilot.contract.dataset
        model, name = fit(history.training, dataset, chosen)
        windows = {"the newest window": history.evaluation.frame, "the training window": history.training.frame}
        bundle = pack(model, windows, decide_like(pilot, evaluation), Path(folder) / BUNDLE, dataset)
        (Path(folder) / BUNDLE / SIGNATURE).write_text(sign(pilot, bundle.sha256), encoding="ascii")
        tags = made_from | {
            "bundle_sha256": bundle.sha256,
            "bundle_format": bundle.format,
            "bundle_reason": bundle.reason,
            "train_start": history.past.start.isoformat(),
            "train_end": history.past.end.isoformat(),
            "evaluation_end": history.judged.end.isoformat(),
            "parameters": json.dumps(chosen, sort_keys=True),
            "trials": str(trials),
            "seed": str(SEED),
            "packages_sha256": sha256_of("\n".join(environment()).encode()),
        }
        predictor = Predictor(Path(folder) / BUNDLE, bundle.sha256, bundle.features, dataset.task)
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
            else mlflow.sklearn.log_model(model, name="model", **mlflow_options(model, evaluation.frame, dataset))
        )
    return registry.register(logged, run.info.run_id, tags)


def _log_diagnostics(pilot: Pilot, predictor: Predictor, scores: NDArray, evaluation: Examples) -> None:
    """Log feature importance and calibration, which are cheap, to the run; `groundwork evaluate` computes the rest."""
    leaning = leanings(pilot, predictor, evaluation)
    calibrated = calibration_of(pilot, scores, evaluation)
    mlflow.log_dict({"features": [asdict(each) for each in leaning]}, "evaluation/importance.json")
    mlflow.log_metrics({f"importance.{each.feature}": each.value_per_1000 for each in leaning})
    if calibrated:
        mlflow.log_dict(asdict(calibrated), "evaluation/calibration.json")
        mlflow.log_metric("calibration_error", calibrated.error)


Standing = Literal["champion", "promoted", "pending", "refused", "taken out"]


@dataclass(frozen=True)
class Trained:
    """The result of a training run."""

    version: str
    new: bool  # false if a version with the same data, code and documents existed
    standing: Standing  # champion: it was already champion; taken out: it was champion once and stays out of service
    champion_before: str | None
    verdict: Verdict
    candidate: Performance
    rule: Performance
    champion: Performance | None
    gain_per_1000: float  # gain over the no-model rule, in money per 1,000 decisions
    bundle: str
    rows: int
    past: Window  # that the rows to train on are from
    rows_judged: int
    judged: Window
    judged_because: str  # why it is not the newest window alone; empty if it is
    ingest_problem: str  # the last ingest failed, or is old; empty if neither
    constant: list[str]  # features with one value in all rows

    @property
    def in_service(self) -> bool:
        """Whether the version is the champion now."""
        return self.standing in ("champion", "promoted")


def train(pilot: Pilot) -> Trained:
    """Train a candidate, judge it, and promote it if it passes the gate.

    With the same data, code and documents as an existing version, that version is used instead of a new one. A version
    is judged once, so training again does not promote a version that was taken out of service. A version that waits for
    approval is judged again if the champion has changed. Raises NotEnoughData if there are too few rows to train on.
    """
    began = time.monotonic()
    with Store(pilot.settings.store) as store, store.runs.recorded("train") as run:
        registry = Registry(pilot)
        read_chain(pilot, store).require_whole()
        newest = reconcile(store, registry)
        if newest is None:
            registry.take_out_of_service()  # after the loss of the store, the champion is judged again
        problem = _problem_of_ingest(store, pilot.charter.monitoring.window)
        history = read_history(pilot)
        run.rows_in = len(history.training) + len(history.evaluation)
        made_from = lineage(pilot, history.snapshot_version)
        found = registry.find(made_from["lineage"])
        version = found or fit_and_register(pilot, registry, history, made_from)
        judged = judge_version(pilot, registry, version, history.evaluation)
        champion = judged.champion_number
        standing: Standing
        if version.number == champion:
            standing = "champion"
        elif version.number in champions_of(pilot, store):
            standing = "taken out"
        elif version.judged == "refused":
            standing = "refused"
        elif version.judged == "pending" and _judged_against(registry, version) == champion:
            standing = "pending"
        else:
            version = registry.record_evidence(version, judged.evidence(pilot, history))
            standing = _let_in(pilot, store, registry, version, judged, seen=newest)
        served = version if standing in ("champion", "promoted") or not champion else registry.required_champion()
        keep(pilot, store, "groundwork train", gate_findings(pilot, served, version, judged), began)
        run.message = standing if standing != "refused" else "refused: " + "; ".join(judged.verdict.reasons)
    return Trained(
        version=version.number,
        new=found is None,
        standing=standing,
        champion_before=champion or None,
        verdict=judged.verdict,
        candidate=judged.candidate,
        rule=judged.rule,
        champion=judged.champion,
        gain_per_1000=judged.gain_per_1000,
        bundle=version.tags["bundle_reason"],
        rows=len(history.training),
        past=history.past,
        rows_judged=len(history.evaluation),
        judged=history.judged,
        judged_because=history.judged_because,
        ingest_problem=problem,
        constant=constant_features(history.training),
    )


def _problem_of_ingest(store: Store, step: Step) -> str:
    """Return in words that the last ingest failed, or was longer than a window ago; empty if neither."""
    ended = [run for succeeded in (True, False) for run in store.runs.latest(succeeded) if run.flow == "ingest"]
    if not ended:
        return ""
    last = max(ended, key=lambda run: run.started_at)
    at = f"{last.started_at:%Y-%m-%d %H:%M} UTC"
    if not last.succeeded:
        return f"the last ingest, {at}, failed: {shortened(last.message)}"
    now = datetime.now(UTC)
    window = window_of(now, step)
    if now - last.started_at > window.end - window.start:
        return f"the last ingest was {at}, more than a {step} ago: run `groundwork ingest` for newer rows"
    return ""


def _judged_against(registry: Registry, version: Version) -> str | None:
    """Return the champion that the version was compared with; None if no trusted key has signed the verdict."""
    try:
        return str(registry.verdict(version)[1]["judged_against"])
    except PromotionError:
        return None


def _let_in(
    pilot: Pilot, store: Store, registry: Registry, version: Version, judged: Judgement, *, seen: Promotion | None
) -> Standing:
    if not judged.verdict.passed:
        registry.refuse(version)
        return "refused"
    if pilot.charter.gate.approval == "required":
        registry.hold(version)
        return "pending"
    gain = f"{pilot.charter.value.currency} {judged.gain_per_1000:,.0f} per 1,000 decisions"
    promote(store, registry, version, seen, by=login(), why=f"passed the gate: gain over the no-model rule {gain}")
    return "promoted"
