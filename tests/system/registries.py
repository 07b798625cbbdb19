"""What a registry holds beside what the flows put there."""

from pathlib import Path

import mlflow
from alembic import command
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import draft_again, promote, reconcile
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.serving.chain import append, read_chain
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion
from mlflow.store.db.utils import _get_alembic_config


def client_of(pilot: Pilot) -> mlflow.MlflowClient:
    """MLflow's client of this pilot's registry, whichever was used last."""
    return mlflow.MlflowClient(pilot.settings.tracking_uri)


def register_again(pilot: Pilot) -> Version:
    """One more version in the registry, with the first one's bundle."""
    registry, client = Registry(pilot), client_of(pilot)
    first = client.get_model_version(registry.name, "1")
    tags = {name: value for name, value in first.tags.items() if name not in ("gate", "lineage")}
    made = client.create_model_version(registry.name, str(first.source), first.run_id, tags)
    found = registry.version(str(made.version))
    assert found is not None
    return found


def put_in_service(pilot: Pilot, number: str) -> Promotion:
    """Promote this version, whatever the gate says."""
    registry = Registry(pilot)
    version = registry.version(number)
    assert version is not None
    with Store(pilot.settings.store) as store:
        return promote(store, registry, version, reconcile(store, registry), by="ada", why="for the test")


def write_entry(pilot: Pilot, **fields: str) -> Promotion:
    """Write a signed entry to the promotion log, whatever it says; the rest is as in the entry before it."""
    with Store(pilot.settings.store) as store:
        chain = read_chain(pilot, store)
        made = append(pilot, store, chain, draft_again(pilot, chain.deciding, by="ada", why="so")._replace(**fields))
    assert made is not None
    return made


def set_alias(pilot: Pilot, alias: str, number: str) -> None:
    client_of(pilot).set_registered_model_alias(pilot.name, alias, number)


def set_tag(pilot: Pilot, number: str, **tags: str) -> None:
    for name, value in tags.items():
        client_of(pilot).set_model_version_tag(pilot.name, number, name, value)


def take_back_a_revision(database: Path) -> None:
    """MLflow's database as the version of MLflow before the newest change of the schema left it."""
    command.downgrade(_get_alembic_config(f"sqlite:///{database}"), "-1")
