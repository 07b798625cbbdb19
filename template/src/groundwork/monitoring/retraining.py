"""When to train again: after drift, or at the age at which the back-test saw the gain fall."""

from collections.abc import Callable
from dataclasses import dataclass

from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import age
from groundwork.models.registry.promotion import reconcile
from groundwork.models.registry.registry import Registry
from groundwork.models.training.train import Trained
from groundwork.store.database import Store


@dataclass(frozen=True)
class Retrained:
    """Why it was trained, and what came of it; no reasons, no training."""

    reasons: list[str]
    trained: Trained | None


def reasons_to_train(pilot: Pilot, store: Store) -> list[str]:
    """What calls for a new model: drift, and the age at which the back-test saw the gain fall.

    What nobody knows calls for one too, as soon as a window has come in: the gate still stands between it and service.
    """
    registry = Registry(pilot)
    reconcile(store, registry)
    champion = registry.champion()
    if champion is None:
        return ["no version has been promoted yet"]
    reasons = []
    drift = store.drift.latest()
    if drift is None or drift.model_version != champion.number:
        reasons.append(f"drift since version {champion.number} was trained has not been measured")
    elif drift.status != "ok":
        reasons.append(f"drift: {drift.reason}" if drift.status == "drift" else f"drift is unknown: {drift.reason}")
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    newest = snapshots.newest_window(pilot.charter.monitoring.window)
    aged = age(pilot, champion, newest)
    if aged.is_due or (aged.is_due is None and aged.windows):
        reasons.append(str(aged))
    return reasons


def retrain(pilot: Pilot, ingest: Callable[[], object], train: Callable[[], Trained]) -> Retrained:
    """Ingest what is due, then train if anything calls for it; the gate decides as ever.

    `ingest` and `train` run these two: plainly, or as flows that are tried again by themselves.
    """
    with Store(pilot.settings.store) as store, store.runs.recorded("retrain") as run:
        ingest()
        reasons = reasons_to_train(pilot, store)
        trained = train() if reasons else None
        run.message = "; ".join(reasons) or "nothing calls for a new model"
    return Retrained(reasons, trained)
