"""A registered version of the model. A note of the champion on this disk can be read without the registry."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from groundwork.core.files import write_atomically
from groundwork.core.settings import Settings
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.chain import read_chain
from groundwork.store.database import Store


@dataclass(frozen=True)
class Version:
    """A registered version of the pilot's model: its number, MLflow run and tags."""

    number: str
    run_id: str
    tags: dict[str, str]

    @property
    def judged(self) -> str | None:
        """The gate's verdict: promoted, pending (passed, waits for approval) or refused; None if not judged yet."""
        return self.tags.get("gate")

    @property
    def bundle_sha256(self) -> str:
        """The digest of the serving bundle; empty if there is none."""
        return self.tags.get("bundle_sha256", "")

    @property
    def evidence_sha256(self) -> str:
        """The digest of the gate's verdict that is stored with the run; empty if there is none."""
        return self.tags.get("evidence_sha256", "")


def note(settings: Settings, version: Version) -> None:
    """Write the champion to this disk, for `champion_of`."""
    write_atomically({_note(settings, version.number): json.dumps(asdict(version))})


def noted_version(settings: Settings, number: str) -> Version | None:
    """Return the version from its note on this disk; None if there is none."""
    try:
        return Version(**json.loads(_note(settings, number).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def champion_of(pilot: Pilot, store: Store) -> Version | None:
    """Return the champion of the promotion log; None if it names none.

    It is read from the note on this disk. The registry, whose library takes seconds to import, is asked only if there
    is no note, because another machine promoted it. Raises PromotionError if the registry does not have it either.
    """
    newest = read_chain(pilot, store).deciding
    if newest is None or not newest.to_version:
        return None
    noted = noted_version(pilot.settings, newest.to_version)
    if noted and noted.bundle_sha256 == newest.bundle_sha256:
        return noted
    from groundwork.models.registry.promotion import reconcile
    from groundwork.models.registry.registry import Registry

    registry = Registry(pilot)
    reconcile(store, registry)
    champion = registry.required_champion()
    note(pilot.settings, champion)
    return champion


def _note(settings: Settings, number: str) -> Path:
    return settings.champion_cache / f"version-{number}.json"
