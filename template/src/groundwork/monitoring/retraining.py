"""Decides when to retrain: after drift, or at the age at which the back-test found the gain too low."""

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
    """The reasons to retrain, and the result; without reasons, `trained` is None."""

    reasons: list[str]
    trained: Trained | None


def reasons_to_train(pilot: Pilot, store: Store) -> list[str]:
    """Return the reasons to retrain, empty if there are none: drift, or the age at which the gain becomes too low.

    Unknown drift is a reason too. So is an unknown effect of age, once the champion is one window old. The new model
    must still pass the gate.
    """
    registry = Registry(pilot)
    reconcile(store, registry)
    champion = registry.champion()
    if champion is None:
        return ["no version has been promoted yet"]
    reasons = []
    drift = store.drift.latest()
    if drift is None or drift.model_version != champion.number:
        reasons.append(f"drift has not been measured for version {champion.number}")
    elif drift.status != "ok":
        reasons.append(f"drift: {drift.reason}" if drift.status == "drift" else f"drift is unknown: {drift.reason}")
    snapshots = Snapshots(pilot.snapshots, pilot.contract.dataset)
    newest = snapshots.newest_window(pilot.charter.monitoring.window)
    aged = age(pilot, champion, newest)
    if aged.is_due or (aged.is_due is None and aged.windows):
        reasons.append(str(aged))
    return reasons


def retrain(pilot: Pilot, ingest: Callable[[], object], train: Callable[[], Trained]) -> Retrained:
    """Ingest new data, then train if there is a reason to; the gate decides on promotion as usual.

    `ingest` and `train` run the two steps: as plain functions, or as Prefect flows with retries.
    """
    with Store(pilot.settings.store) as store, store.runs.recorded("retrain") as run:
        ingest()
        reasons = reasons_to_train(pilot, store)
        trained = train() if reasons else None
        run.message = "; ".join(reasons) or "no reason to retrain"
    return Retrained(reasons, trained)
