"""Train: fit on the past, register the candidate with its lineage, and let the gate judge it on the newest window."""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import platform
import random
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import mlflow
import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray
from prefect import task
from prefect.cache_policies import NO_CACHE
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import TimeSeriesSplit

from groundwork.core.errors import FeatureMismatch, NotEnoughData, UntrustedBundle
from groundwork.core.git import git
from groundwork.core.progress import track
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.documents.charter import Gate
from groundwork.documents.contract.contract import Dataset
from groundwork.documents.contract.task import Task
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.diagnostics import Calibration, Importance, Judge, calibration, importance
from groundwork.models.gate.gate import SEED, Check, Decided, Footprint, Metric, Performance, Slice, Verdict, judge
from groundwork.models.packaging.pack import mlflow_options, pack
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.registry.promotion import login, promote, reconcile
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.bundles import BUNDLE, SIGNATURE
from groundwork.models.serving.features import arrays
from groundwork.models.serving.predictor import Predictor, pipeline_scores
from groundwork.models.serving.signing import sign
from groundwork.pipeline import artifacts
from groundwork.pipeline.flow import pipeline_flow
from groundwork.readiness.proofs import Finding, keep
from groundwork.store import Promotion, Store
from use_case import decision
from use_case import model as use_case_model

# Of targets, as `Task.targets` gives them, and scores.
METRICS: dict[str, Metric] = {
    "roc_auc": roc_auc_score,
    "average_precision": average_precision_score,
    "accuracy": lambda targets, scores: accuracy_score(targets, scores.argmax(1)),
    "macro_f1": lambda targets, scores: f1_score(targets, scores.argmax(1), average="macro"),
    "log_loss": lambda targets, scores: log_loss(targets, scores, labels=range(scores.shape[1])),
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
}
ROWS_TIMED = 50  # one by one
SPLITS = 3  # of the past, by time, to choose parameters on
PACKAGES = "packages.txt"

Standing = Literal["champion", "promoted", "pending", "refused", "taken out"]


@dataclass(frozen=True)
class Examples:
    """Rows whose outcome is known."""

    columns: dict[str, NDArray]  # one array per feature
    outcomes: NDArray  # as `Task.outcomes` gives them
    slices: dict[str, NDArray] = field(default_factory=dict)  # one array of texts per column with the tag `slice`
    days: NDArray[np.datetime64] | None = None  # of the event times

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.columns)

    def __len__(self) -> int:
        return len(self.outcomes)

    def part(self, rows: NDArray) -> "Examples":
        """Some of the rows."""
        return Examples(
            {name: values[rows] for name, values in self.columns.items()},
            self.outcomes[rows],
            {name: values[rows] for name, values in self.slices.items()},
            None if self.days is None else self.days[rows],
        )


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
    standing: Standing  # champion: it was already; taken out: it was once, and stays out
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
        return self.standing in ("champion", "promoted")


def read_history(pilot: Pilot) -> History:
    """Split the newest snapshot by time. Raises NotEnoughData where there is nothing to learn or to judge from."""
    dataset = pilot.contract.dataset
    snapshots = Snapshots(pilot.snapshots, dataset)
    newest = snapshots.newest_window(pilot.charter.monitoring.window)
    version = snapshots.version
    assert version is not None  # there is a newest window, hence a table
    needed = (dataset.event_time, dataset.outcome, *dataset.features, *dataset.slices)
    columns = list(dict.fromkeys(column.name for column in needed))
    rows = snapshots.read(end=newest.start, version=version, columns=columns)
    training = examples(rows, dataset)
    missing = not_among(training.outcomes, dataset.task)
    if missing:
        raise NotEnoughData(
            f"before the newest window ({newest}) there are {len(training):,} rows with a known outcome, and not "
            f"{missing} among them; ingest at least one window more"
        )
    past = Window(rows[dataset.event_time.name][0].as_py(), newest.start)
    return History(
        version, past, newest, training, examples(snapshots.read(*newest, version=version, columns=columns), dataset)
    )


def examples(rows: pa.Table, dataset: Dataset) -> Examples:
    """The rows whose outcome is known, as the model's inputs and outcomes."""
    known = rows.filter(rows[dataset.outcome.name].is_valid())
    columns = {column.name: known[column.name] for column in dataset.features}
    slices = {
        column.name: np.array(["missing" if value is None else str(value) for value in known[column.name].to_pylist()])
        for column in dataset.slices
    }
    outcomes = dataset.task.outcomes(known[dataset.outcome.name].to_pylist())
    days = known[dataset.event_time.name].cast(pa.date32()).to_numpy()
    return Examples(arrays(columns, dataset.features), outcomes, slices, days)


def not_among(outcomes: NDArray, task: Task) -> str:
    """What is missing to learn from; empty if nothing is."""
    if task.kind == "multiclass":
        return ", ".join(sorted(set(task.classes) - set(outcomes.tolist())))
    if len(np.unique(outcomes)) < 2:
        return "both outcomes" if task.kind == "binary" else "two that differ"
    return ""


def lineage(pilot: Pilot, snapshot_version: int) -> dict[str, str]:
    """What a version was made from. `lineage` is the digest of all that decides what comes out."""
    use_case = Path(use_case_model.__file__).parent
    made_from = {
        "snapshot_table": str(Snapshots(pilot.snapshots, pilot.contract.dataset).table_id),
        "snapshot_version": str(snapshot_version),
        "contract_sha256": _digest(pilot.settings.home / "contract.yaml"),
        "charter_sha256": _digest(pilot.settings.home / "charter.yaml"),
        "use_case_sha256": _digest(*sorted(use_case.glob("*.py"))),
    }
    digest = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    # An update of the template alone makes no new version; to reproduce one, its code must be the same all the same.
    system = Path(__file__).parents[1]
    return made_from | {
        "lineage": digest,
        "groundwork_sha256": _digest(*sorted(system.rglob("*.py"))),
        "git_commit": _git_commit(pilot),
    }


def environment() -> list[str]:
    """What is installed, Python first, as name==version."""
    installed = {f"{each.name.lower()}=={each.version}" for each in importlib.metadata.distributions()}
    return [f"python=={platform.python_version()}", *sorted(installed)]


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fit(training: Examples, dataset: Dataset, parameters: Mapping[str, Any]) -> tuple[Any, str]:
    """What `use_case/model.py` builds, fitted, or what it names by an MLflow address; and what to call it.

    The same rows and parameters give the same model: everything that draws at random is seeded.
    """
    random.seed(SEED)
    np.random.seed(SEED)  # what scikit-learn draws from where the use case names no random_state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(SEED)
    built = use_case_model.build()
    if isinstance(built, str):
        pretrained = Pretrained(built, dataset)
        return pretrained.pipeline() or pretrained, built
    if parameters:
        built.set_params(**parameters)
    return built.fit(training.frame, dataset.task.targets(training.outcomes)), type(built).__name__


def search(pilot: Pilot, training: Examples) -> tuple[dict[str, Any], int]:
    """The parameters of `search()` in use_case/model.py that make most money on later rows, and of how many sets.

    Without it, none of none.

    Each trial is a nested run in MLflow: fitted on the past and judged on what came after it, three times over.
    """
    candidates = getattr(use_case_model, "search", None)
    if candidates is None:
        return {}, 0
    trials: list[tuple[Performance, dict[str, Any]]] = []
    for parameters in track("trials", list(candidates())):
        with mlflow.start_run(run_name="trial", nested=True):
            found = []
            for past, later in TimeSeriesSplit(SPLITS).split(training.outcomes):
                judged_on = training.part(later)
                model, _ = fit(training.part(past), pilot.contract.dataset, parameters)
                scores = pipeline_scores(model, judged_on.frame, pilot.contract.dataset.task).astype(np.float32)
                found.append(performance(pilot, decided(pilot, scores, judged_on), judged_on))
            mean = Performance(
                float(np.mean([each.value_per_1000 for each in found])), float(np.mean([each.metric for each in found]))
            )
            mlflow.log_params(parameters)
            mlflow.log_metrics({"value_per_1000": mean.value_per_1000, "metric": mean.metric})
        trials.append((mean, dict(parameters)))
    if not trials:
        raise NotEnoughData("search() in use_case/model.py gives no parameters to try")
    return max(trials, key=lambda trial: trial[0].value_per_1000)[1], len(trials)


def decided(pilot: Pilot, scores: NDArray, evaluation: Examples) -> Decided:
    """What deciding by these scores would have made, row by row."""
    decisions = decision.decide(scores, pilot.charter.value.parameters)
    return Decided(_values(pilot, decisions, evaluation), scores, evaluation.days)


def decided_by_rule(pilot: Pilot, evaluation: Examples) -> Decided:
    """What the no-model rule would have made; it has no scores."""
    decisions = decision.without_model(evaluation.columns)
    return Decided(_values(pilot, decisions, evaluation), days=evaluation.days)


def targets_of(pilot: Pilot, evaluation: Examples) -> NDArray:
    """The outcomes as metrics take them."""
    return pilot.contract.dataset.task.targets(evaluation.outcomes)


def metric_of(pilot: Pilot) -> Metric:
    """The charter's metric, of targets and scores; NaN without rows, and where of yes and no only one occurs."""
    measure = METRICS[pilot.charter.gate.metric]
    least = 2 if pilot.contract.dataset.task.kind == "binary" else 1

    def metric(targets: NDArray, scores: NDArray) -> float:
        return float(measure(targets, scores)) if len(np.unique(targets)) >= least else float("nan")

    return metric


def performance(pilot: Pilot, made: Decided, evaluation: Examples) -> Performance:
    """The same in two figures. Without scores there is no metric, without rows neither."""
    metric = float("nan") if made.scores is None else metric_of(pilot)(targets_of(pilot, evaluation), made.scores)
    return Performance(float(made.values.mean() * 1000) if len(evaluation) else float("nan"), metric)


def footprint(predictor: Predictor, bundle: Path, evaluation: Examples) -> Footprint:
    """What serving costs: the median CPU time of one row, which a busy machine does not change much, and the size."""
    times = []
    for row in range(min(ROWS_TIMED, len(evaluation))):
        columns = {name: values[row : row + 1] for name, values in evaluation.columns.items()}
        began = time.process_time()
        predictor.scores(columns)
        times.append((time.process_time() - began) * 1000)
    size = sum(file.stat().st_size for file in bundle.rglob("*") if file.is_file())
    return Footprint(float(np.median(times)) if times else float("nan"), size / 1e6)


@task(name="fit-and-register", cache_policy=NO_CACHE)
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


def judge_on(pilot: Pilot, predictor: Predictor) -> Judge:
    """The predictor's performance as a function of features and outcomes."""

    def performed(columns: dict[str, NDArray], outcomes: NDArray) -> Performance:
        rows = Examples(columns, outcomes)
        return performance(pilot, decided(pilot, predictor.scores(columns), rows), rows)

    return performed


def leanings(pilot: Pilot, predictor: Predictor, evaluation: Examples) -> list[Importance]:
    """What the predictor leans on. To lose is always positive, be more of the metric better or less."""
    found = importance(evaluation.columns, evaluation.outcomes, judge_on(pilot, predictor))
    return [replace(each, metric=pilot.charter.gate.loss(each.metric)) for each in found]


def calibration_of(pilot: Pilot, scores: NDArray, evaluation: Examples) -> Calibration | None:
    """Whether probabilities mean what they say; of several classes, that of the likeliest. A quantity has none."""
    task = pilot.contract.dataset.task
    if task.kind == "regression":
        return None
    if task.kind == "multiclass":
        return calibration(task.predicted(scores) == evaluation.outcomes, scores.max(1))
    return calibration(evaluation.outcomes, scores)


def _log_diagnostics(pilot: Pilot, predictor: Predictor, scores: NDArray, evaluation: Examples) -> None:
    """Keep what is cheap to know of every candidate with its run; `groundwork evaluate` finds out more."""
    leaning = leanings(pilot, predictor, evaluation)
    calibrated = calibration_of(pilot, scores, evaluation)
    mlflow.log_dict({"features": [asdict(each) for each in leaning]}, "evaluation/importance.json")
    mlflow.log_metrics({f"importance.{each.feature}": each.value_per_1000 for each in leaning})
    if calibrated:
        mlflow.log_dict(asdict(calibrated), "evaluation/calibration.json")
        mlflow.log_metric("calibration_error", calibrated.error)


@pipeline_flow(artifacts.of_train)
def train() -> Trained:
    """Train a candidate, judge it, and promote it if the gate lets it through.

    Training again on the same data, code and documents takes the version that is there. It is judged once: a version
    that was taken out of service since is not put back by training again. One that waits for approval is judged anew
    once there is another champion.
    """
    pilot = Pilot.here()
    began = time.monotonic()
    with Store(pilot.settings.store) as store, store.recorded("train") as run:
        registry = Registry(pilot)
        newest = reconcile(store, registry)
        history = read_history(pilot)
        run.rows_in = len(history.training) + len(history.evaluation)
        made_from = lineage(pilot, history.snapshot_version)
        found = registry.find(made_from["lineage"])
        version = found or fit_and_register(pilot, registry, history, made_from)
        judged = _judge(pilot, registry, version, history.evaluation)
        champion = judged.champion_number
        standing: Standing
        if version.number == champion:
            standing = "champion"
        elif version.judged == "promoted":
            standing = "taken out"
        elif version.judged == "refused":
            standing = "refused"
        elif version.judged == "pending" and version.judged_against == champion:
            standing = "pending"
        else:
            version = registry.record_evidence(version, judged.evidence(pilot, history))
            standing = _let_in(pilot, store, registry, version, newest, judged)
        served = version if standing in ("champion", "promoted") or not champion else registry.required_champion()
        keep(pilot, store, "groundwork train", _findings(pilot, served, version, judged), began)
        run.message = standing if standing != "refused" else "refused: " + "; ".join(judged.verdict.reasons)
    return Trained(
        version.number,
        found is None,
        standing,
        champion or None,
        judged.verdict,
        judged.candidate,
        judged.rule,
        judged.champion,
        judged.gain_per_1000,
        version.tags["bundle_reason"],
        len(history.training),
    )


@dataclass(frozen=True)
class _Judged:
    """The gate's verdict on a version, and what it was compared with."""

    champion_number: str  # empty if there is none
    verdict: Verdict
    candidate: Performance
    rule: Performance
    champion: Performance | None

    @property
    def gain_per_1000(self) -> float:
        return self.candidate.value_per_1000 - self.rule.value_per_1000

    def evidence(self, pilot: Pilot, history: History) -> dict[str, Any]:
        return self.verdict.as_dict() | {
            "judged_against": self.champion_number,
            "window": str(history.newest),
            "snapshot_version": history.snapshot_version,
            "rows": len(history.evaluation),
            "confidence": pilot.charter.gate.confidence,
            "candidate": asdict(self.candidate),
            "rule": asdict(self.rule),
            "champion": asdict(self.champion) if self.champion else None,
            "gain_per_1000": self.gain_per_1000,
        }


def _findings(pilot: Pilot, served: Version, candidate: Version, judged: _Judged) -> list[Finding]:
    """What the gate saw of the version that serves, or of the candidate where none does."""
    gate, slices, own = pilot.charter.gate, judged.verdict.slices, served.number == candidate.number
    performed = judged.candidate if own else judged.champion
    if performed is None:
        return []  # it could not be loaded, so nothing was seen of it
    name = f"version {served.number}"
    gain = performed.value_per_1000 - judged.rule.value_per_1000
    worth = f"{gain:,.0f} {pilot.charter.value.currency} per 1,000 decisions"
    measured = [(each, each.metric if own else each.champion_metric) for each in slices]
    about_people = [column.name for column in pilot.contract.dataset.slices if column.sensitive]
    trials = int(served.tags.get("trials", "0"))
    tuned = f"{name} has the best of {trials} sets of parameters" if trials else "use_case/model.py has no search()"
    beats = None if math.isnan(gain) else gain > 0 and gain >= gate.min_gain_over_rule
    found = [
        Finding("model-baseline", beats, f"{name} makes {worth} more than the rule"),
        _of_slices("model-slices", gate, measured, "no column of contract.yaml has the tag slice"),
        _of_slices(
            "model-inclusion",
            gate,
            [(each, metric) for each, metric in measured if each.column in about_people],
            "no slice is about people: its column would have a classification",
        ),
        Finding("model-tuned", trials > 1 if trials else None, tuned),
    ]
    costs = judged.verdict.footprint
    if own and costs:
        said = (
            f"with all features, {name} takes {costs.latency_ms:.2f} of {gate.max_latency_ms:g} ms of CPU time for a "
            f"row and {costs.size_mb:.1f} of {gate.max_size_mb:g} MB"
        )
        within = costs.latency_ms <= gate.max_latency_ms and costs.size_mb <= gate.max_size_mb
        found.append(Finding("data-cost", within, said))
    return found


def _of_slices(check: str, gate: Gate, measured: list[tuple[Slice, float | None]], without: str) -> Finding:
    """Every slice that has rows enough must reach the line, and one must have them."""
    known = [
        (each, metric)
        for each, metric in measured
        if metric is not None and not math.isnan(metric) and each.rows >= gate.slice_min_rows
    ]
    if not known:
        return Finding(check, None, without if not measured else f"no slice has {gate.slice_min_rows:,} rows")
    below = [
        f"{each.column} {each.value} {metric:.4f}"
        for each, metric in known
        if not gate.reaches(metric, gate.line_in_a_slice)
    ]
    said = f"{len(known)} of {len(measured)} slices have rows enough; "
    return Finding(check, not below, said + (f"behind the line: {', '.join(below)}" if below else "all reach the line"))


def _judge(pilot: Pilot, registry: Registry, version: Version, evaluation: Examples) -> _Judged:
    """Judge what would be served: the bundle, not the pipeline in memory."""
    champion, rival = registry.champion(), None
    rule = decided_by_rule(pilot, evaluation)
    wanted = "those of contract.yaml, by which the service checks requests"
    try:
        predictor = registry.predictor(version)
    except FeatureMismatch as error:
        misfit = Verdict([Check("features", wanted, str(error), False)])
        nothing = Performance(float("nan"), float("nan"))
        return _Judged(champion.number if champion else "", misfit, nothing, performance(pilot, rule, evaluation), None)
    candidate = decided(pilot, predictor.scores(evaluation.columns), evaluation)
    if champion and champion.number != version.number:
        # Made for an earlier contract, or signed by a key that is trusted no more, it could not serve.
        with contextlib.suppress(FeatureMismatch, UntrustedBundle):
            rival = decided(pilot, registry.predictor(champion).scores(evaluation.columns), evaluation)
    verdict = judge(
        pilot.charter.gate,
        metric_of(pilot),
        targets_of(pilot, evaluation),
        candidate,
        rule,
        rival,
        evaluation.slices,
        footprint(predictor, Path(registry.pull(version).folder), evaluation),
    )
    return _Judged(
        champion.number if champion else "",
        replace(verdict, checks=[Check("features", wanted, "the same", True), *verdict.checks]),
        performance(pilot, candidate, evaluation),
        performance(pilot, rule, evaluation),
        performance(pilot, rival, evaluation) if rival else None,
    )


def _let_in(
    pilot: Pilot, store: Store, registry: Registry, version: Version, newest: Promotion | None, judged: _Judged
) -> Standing:
    if not judged.verdict.passed:
        registry.refuse(version)
        return "refused"
    if pilot.charter.gate.approval == "required":
        registry.hold(version)
        return "pending"
    why = f"passed the gate: {judged.gain_per_1000:,.0f} {pilot.charter.value.currency} per 1,000 decisions more than "
    promote(store, registry, version, newest, login(), why + "the no-model rule")
    return "promoted"


def _values(pilot: Pilot, decisions: NDArray, evaluation: Examples) -> NDArray[np.float64]:
    values: NDArray[np.float64] = decision.value(decisions, evaluation.outcomes, pilot.charter.value.parameters)
    return values


def _digest(*files: Path) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def _git_commit(pilot: Pilot) -> str:
    """The commit, marked where files differ from it; outside of git what the pilot say, or `none`."""
    said = git(pilot.settings.home, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    return said or pilot.settings.git_commit or "none"
