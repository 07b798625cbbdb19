"""The steps of `groundwork migrate`, one per kind of thing that a live pilot holds.

A step keeps a copy of what it changes, changes it as a whole, and has nothing to do when it is done. So a migration
that was killed is run again, with the same result. To migrate something new, add a step here.
"""

import os
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from groundwork.core.errors import BundleError, OutdatedBundle, PromotionError, UntrustedBundle
from groundwork.documents import proposals
from groundwork.documents.pilot import Pilot
from groundwork.models.registry import addresses, mlflow_schema
from groundwork.models.registry.mending import adopt, is_unsigned
from groundwork.models.serving.bundles import BundleCache
from groundwork.models.serving.chain import UNSIGNED, read_chain
from groundwork.models.serving.signing import holds_key
from groundwork.pipeline.by_hand import WORK
from groundwork.pipeline.prefect_server import connect
from groundwork.store import migrate as store_migration
from groundwork.store import schema
from groundwork.store.database import Store

SERVER_SECONDS = 5  # to wait for the Prefect server


@dataclass(frozen=True)
class Step:
    """One kind of thing to migrate."""

    name: str
    pending: Callable[[Pilot], list[str]]  # one line of text per change that `run` would make; changes nothing
    run: Callable[[Pilot], list[str]]  # makes the changes; returns one line of text per change and per copy
    needs_assent: bool = False  # changes what is the team's


def _store_pending(pilot: Pilot) -> list[str]:
    lines = store_migration.pending(pilot.settings.store)
    return lines and [*lines, "promotion log, models and schedules are looked at when the store is migrated"]


def _migrate_store(pilot: Pilot) -> list[str]:
    return store_migration.migrate(pilot.settings.store).summary


def _registry_pending(pilot: Pilot) -> list[str]:
    database = addresses.own_database(pilot.settings)
    if database is None:
        return []
    lines = ["upgrade the models' registry to the schema of MLflow"] if mlflow_schema.outdated(database) else []
    artifacts = pilot.settings.data_folder / addresses.ARTIFACTS
    if former := addresses.former_homes(database, artifacts):
        lines.append(f"the pilot was moved or copied from {addresses.told(former)}: change its models' addresses")
    return lines and [*lines, f"copy {database} first"]


def _migrate_registry(pilot: Pilot) -> list[str]:
    database = addresses.own_database(pilot.settings)
    if database is None:
        return []
    lines = []
    if mlflow_schema.outdated(database):
        copy = mlflow_schema.upgrade(database)
        lines = ["upgraded the models' registry to the schema of MLflow", f"copy of the registry before that: {copy}"]
    return lines + addresses.bring_home(database, pilot.settings.data_folder / addresses.ARTIFACTS)


def _chain_pending(pilot: Pilot) -> list[str]:
    if not _has_store(pilot):
        return []
    with Store(pilot.settings.store) as store:
        if not is_unsigned(pilot, store):
            return []
    if not holds_key(pilot):
        return [f"the promotion log of {pilot.name} counts for nothing yet: {UNSIGNED}"]
    return ["sign the promotion log as it is, with its present champion"]


def _sign_chain(pilot: Pilot) -> list[str]:
    lines = _chain_pending(pilot)
    if not lines or not holds_key(pilot):
        return lines
    try:
        with Store(pilot.settings.store) as store:
            entry = adopt(pilot, store)
    except (BundleError, PromotionError) as error:
        return [str(error)]
    champion = f"version {entry.to_version} stays champion" if entry.to_version else "no version is champion"
    return [f"signed the promotion log as it was: {champion}"]


def _unfit_champion(pilot: Pilot) -> list[str]:
    """Returns why the champion's bundle cannot serve any more: only training makes a bundle to sign.

    Raises BundleError if the bundle is damaged, or newer than this code.
    """
    if not _has_store(pilot):
        return []
    with Store(pilot.settings.store) as store:
        champion = read_chain(pilot, store).deciding or store.promotions.latest(pilot.name)
    if champion is None or not champion.to_version:
        return []
    try:
        BundleCache(pilot).cached(champion.to_version, champion.bundle_sha256)
    except OutdatedBundle:
        return [
            f"version {champion.to_version} of {pilot.name} has a format that this code does not read: train another "
            "version with `groundwork train`"
        ]
    except UntrustedBundle as error:
        return [str(error)]
    return []


def _schedules_pending(pilot: Pilot) -> list[str]:
    lines = [f"forget the schedule of {flow}, a flow that this code does not have" for flow in _former_flows(pilot)]
    return lines + _ask_prefect(pilot, "out_of_date")


def _migrate_schedules(pilot: Pilot) -> list[str]:
    former = _former_flows(pilot)
    if former:
        with Store(pilot.settings.store) as store:
            store.schedules.keep(store.schedules.since().keys() - set(former))
    lines = [f"forgot the schedule of {flow}, a flow that this code does not have" for flow in former]
    return lines + _ask_prefect(pilot, "bring_up_to_date")


def _former_flows(pilot: Pilot) -> list[str]:
    if not _has_store(pilot):
        return []
    with Store(pilot.settings.store) as store:
        return sorted(store.schedules.since().keys() - WORK.keys())


def _ask_prefect(pilot: Pilot, function: str) -> list[str]:
    """Returns the lines of this function of deployments.py; Prefect is imported only if there is a server."""
    if not connect(pilot.settings):
        return []
    address = os.environ["PREFECT_API_URL"]
    try:
        urllib.request.urlopen(f"{address}/health", timeout=SERVER_SECONDS).close()
    except OSError as error:
        if not isinstance(error, urllib.error.HTTPError):
            return [f"no answer from Prefect at {address}: `groundwork worker` checks its schedules when it starts"]
    from groundwork.pipeline import deployments

    lines: list[str] = getattr(deployments, function)(pilot)
    return lines


def _has_store(pilot: Pilot) -> bool:
    """Whether there is a store of this code's version."""
    return store_migration.version_of(pilot.settings.store) == schema.VERSION


STEPS = [  # the store and the registry first: their steps do not read the documents
    Step("store", _store_pending, _migrate_store),
    Step("registry", _registry_pending, _migrate_registry),
    Step(
        "documents",
        lambda pilot: proposals.proposed(pilot.settings),
        lambda pilot: proposals.accept(pilot.settings),
        needs_assent=True,
    ),
    Step("chain", _chain_pending, _sign_chain),
    Step("models", _unfit_champion, _unfit_champion),
    Step("schedules", _schedules_pending, _migrate_schedules),
]
