"""Train: fit on the past, register the candidate with its lineage, and let the gate judge it on the newest window."""

import contextlib
import hashlib
import json
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from sklearn.metrics import average_precision_score, roc_auc_score

from groundwork.contract import Dataset
from groundwork.errors import FeatureMismatch, NotEnoughData
from groundwork.features import arrays
from groundwork.gate import Performance, Verdict, judge
from groundwork.packaging import mlflow_options, pack
from groundwork.pretrained import Pretrained
from groundwork.promotion import login, promote, reconcile
from groundwork.registry import BUNDLE, Registry, Version
from groundwork.settings import Settings
from groundwork.snapshots import Snapshots
from groundwork.store import Store
from groundwork.windows import Window
from use_case import decision
from use_case import model as use_case_model

METRICS = {"roc_auc": roc_auc_score, "average_precision": average_precision_score}


@dataclass(frozen=True)
class Examples:
    """Rows whose outcome is known."""

    columns: dict[str, NDArray]  # one array per feature
    outcomes: NDArray[np.bool_]

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.columns)

    def __len__(self) -> int:
        return len(self.outcomes)


@dataclass(frozen=True)
class History:
    """One version of the snapshots, split by time: everything before the newest window, and the newest window."""

    snapshot_version: int
    past: Window
    newest: Window
    training: Examples
    evaluation: Examples


@dataclass(frozen=True)
class Trained:
    """What a run came to."""

    version: str
    new: bool  # false if the same data, code and documents had been trained before
    judged_before: str | None  # the gate's verdict of that time, which stands: promoted or refused
    champion_before: str | None
    verdict: Verdict
    candidate: Performance
    rule: Performance
    champion: Performance | None
    gain_per_1000: float  # money more than the no-model rule made
    bundle: str
    rows: int

    @property
    def in_service(self) -> bool:
        """Whether it is the champion now."""
        return self.version == self.champion_before or (self.judged_before is None and self.verdict.promoted)


def read_history(settings: Settings) -> History:
    """Split the newest snapshot by time. Raises NotEnoughData where there is nothing to learn or to judge from."""
    dataset = settings.contract.dataset
    snapshots = Snapshots(settings.snapshots, dataset)
    newest = snapshots.newest_window(settings.charter.monitoring.window)
    version = snapshots.version
    assert version is not None  # there is a newest window, hence a table
    rows = snapshots.read(end=newest.start, version=version)
    training = examples(rows, dataset)
    if len(np.unique(training.outcomes)) < 2:
        raise NotEnoughData(
            f"before the newest window ({newest}) there are {len(training):,} rows with a known outcome, and not both "
            "outcomes among them; ingest at least one window more"
        )
    past = Window(rows[dataset.event_time.name][0].as_py(), newest.start)
    return History(version, past, newest, training, examples(snapshots.read(*newest, version=version), dataset))


def examples(rows: pa.Table, dataset: Dataset) -> Examples:
    """The rows whose outcome is known, as the model's inputs and outcomes."""
    known = rows.filter(rows[dataset.outcome.name].is_valid())
    columns = {column.name: known[column.name].to_pylist() for column in dataset.features}
    return Examples(arrays(columns, dataset.features), known[dataset.outcome.name].to_numpy().astype(bool))


def lineage(settings: Settings, snapshot_version: int) -> dict[str, str]:
    """What a version was made from. `lineage` is the digest of all that decides what comes out."""
    use_case = Path(use_case_model.__file__).parent
    made_from = {
        "snapshot_version": str(snapshot_version),
        "contract_sha256": _digest(settings.home / "contract.yaml"),
        "charter_sha256": _digest(settings.home / "charter.yaml"),
        "use_case_sha256": _digest(*sorted(use_case.glob("*.py"))),
    }
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    return made_from | {"lineage": digest, "git_commit": _git_commit(settings.home)}


def performance(settings: Settings, scores: NDArray, evaluation: Examples) -> Performance:
    """What deciding by these scores would have made."""
    value = _value_per_1000(settings, decision.decide(scores, settings.charter.value.parameters), evaluation)
    metric = float("nan")
    if len(np.unique(evaluation.outcomes)) == 2:
        metric = float(METRICS[settings.charter.gate.metric](evaluation.outcomes, scores))
    return Performance(value, metric)


def rule_performance(settings: Settings, evaluation: Examples) -> Performance:
    """What the no-model rule would have made; it has no scores, hence no metric."""
    return Performance(_value_per_1000(settings, decision.without_model(evaluation.columns), evaluation), float("nan"))


@task(name="fit-and-register", cache_policy=NO_CACHE)
def fit_and_register(settings: Settings, registry: Registry, history: History, made_from: dict[str, str]) -> Version:
    """Fit the use case's model on the past, or fetch the one it names, pack it for serving, and register it."""
    registry.use_experiment()
    evaluation = history.evaluation if len(history.evaluation) else history.training
    with mlflow.start_run(run_name="train") as run, tempfile.TemporaryDirectory() as folder:
        model, name = _model(history.training, settings.contract.dataset)
        frame = evaluation.frame
        parameters = settings.charter.value.parameters
        bundle = pack(model, frame, lambda scores: decision.decide(scores, parameters), Path(folder) / BUNDLE)
        tags = made_from | {
            "bundle_sha256": bundle.sha256,
            "bundle_format": bundle.format,
            "bundle_reason": bundle.reason,
            "train_start": history.past.start.isoformat(),
            "train_end": history.past.end.isoformat(),
        }
        mlflow.set_tags(tags)
        mlflow.log_params({"rows": len(history.training), "model": name})
        mlflow.log_artifact(str(Path(folder) / BUNDLE))
        logged = (
            model.info
            if isinstance(model, Pretrained)
            else mlflow.sklearn.log_model(model, name="model", **mlflow_options(model, frame))
        )
    return registry.register(logged, run.info.run_id, tags)


@flow(name="train")
def train() -> Trained:
    """Train a candidate, judge it, and promote it if the gate lets it through.

    Training again on the same data, code and documents takes the version that is there. It is judged once: a version
    that was taken out of service since is not put back by training again.
    """
    settings = Settings()
    with Store(settings.store) as store, store.recorded("train") as run:
        registry = Registry(settings)
        newest = reconcile(store, registry)
        history = read_history(settings)
        run.rows_in = len(history.training) + len(history.evaluation)
        made_from = lineage(settings, history.snapshot_version)
        found = registry.find(made_from["lineage"])
        version = found or fit_and_register(settings, registry, history, made_from)
        champion = registry.champion()
        candidate = _judged(settings, registry, version, history.evaluation)
        rival = champion if champion and champion.number != version.number else None
        champion_performance = None
        if rival:
            with contextlib.suppress(FeatureMismatch):  # made for an earlier contract, it could not serve any more
                champion_performance = _judged(settings, registry, rival, history.evaluation)
        rule = rule_performance(settings, history.evaluation)
        verdict = judge(settings.charter.gate, len(history.evaluation), candidate, rule, champion_performance)
        gain = candidate.value_per_1000 - rule.value_per_1000
        if version.judged is None:
            evidence = verdict.as_dict() | {"window": str(history.newest), "gain_per_1000": gain}
            version = registry.record_evidence(version, evidence)
            if verdict.promoted:
                currency = settings.charter.value.currency
                why = f"passed the gate: {gain:,.0f} {currency} per 1,000 decisions more than the no-model rule"
                promote(store, registry, version, newest, login(), why)
            else:
                registry.refuse(version)
        run.message = "promoted" if verdict.promoted else "refused: " + "; ".join(verdict.reasons)
    return Trained(
        version.number,
        found is None,
        version.judged,
        champion.number if champion else None,
        verdict,
        candidate,
        rule,
        champion_performance,
        gain,
        version.tags["bundle_reason"],
        len(history.training),
    )


def _model(training: Examples, dataset: Dataset) -> tuple[Any, str]:
    """What `use_case/model.py` builds, fitted, or what it names by an MLflow address; and what to call it."""
    built = use_case_model.build()
    if not isinstance(built, str):
        return built.fit(training.frame, training.outcomes.astype(np.int64)), type(built).__name__
    pretrained = Pretrained(built, dataset.features)
    return pretrained.pipeline(dataset.features) or pretrained, built


def _judged(settings: Settings, registry: Registry, version: Version, evaluation: Examples) -> Performance:
    """Judge what would be served: the bundle, not the pipeline in memory."""
    predictor = registry.predictor(version)
    return performance(settings, predictor.scores(evaluation.columns), evaluation)


def _value_per_1000(settings: Settings, decisions: NDArray, evaluation: Examples) -> float:
    if not len(evaluation):
        return float("nan")
    return float(decision.value(decisions, evaluation.outcomes, settings.charter.value.parameters).mean() * 1000)


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _git_commit(home: Path) -> str:
    """The commit, marked where files differ from it; `none` outside of git."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "none"
    return described.stdout.strip()
