"""Promotes versions to champion: the promotion log decides, and the registry's alias follows it.

A promotion appends an entry to the log; of two processes that append at the same time, only one succeeds. If a process
crashes between the entry and the alias, `reconcile`, which starts every run, repairs the alias.
"""

import getpass
import os
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from groundwork.core.errors import BundleError, PromotionError
from groundwork.documents.document import UNANSWERED
from groundwork.documents.pilot import Pilot
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion

if TYPE_CHECKING:  # importing MLflow takes seconds, and a rollback must not wait for it
    from groundwork.models.registry.registry import Registry
    from groundwork.models.registry.version import Version


def promote(
    store: Store, registry: "Registry", version: "Version", seen: Promotion | None, *, by: str, why: str
) -> Promotion:
    """Make `version` the champion, if `seen` is still the newest entry of the log, and return the new entry.

    Raises PromotionError if `seen` is not the newest entry: the version was compared with an earlier champion and may
    be no better than the present one. Raises BundleError, before anything is written, if no service would load it.
    """
    registry.pull(version)
    chosen = _Chosen(version.number, version.evidence_sha256, version.bundle_sha256)
    entry = _append(store, registry.name, seen, chosen, by=by, why=why)
    registry.put_in_service(version)
    return entry


def reconcile(store: Store, registry: "Registry") -> Promotion | None:
    """Set the registry's alias to the champion of the log, and return the log's newest entry; None if it is empty.

    If the log is empty and the registry has a champion, that champion becomes the first entry. If the log names no
    champion, the alias is removed. Raises PromotionError if the registry does not have the champion of the log.
    """
    newest = store.promotions.latest(registry.name)
    champion = registry.champion()
    if newest is None:
        if champion is None:
            return None
        return promote(store, registry, champion, None, by=login(), why="was in service before the promotion log began")
    if not newest.to_version:
        registry.take_out_of_service()
    elif champion is None or champion.number != newest.to_version or champion.judged != "promoted":
        version = registry.version(newest.to_version)
        if version is None or version.bundle_sha256 != newest.bundle_sha256:
            raise PromotionError(
                f"the promotion log names version {newest.to_version} of {registry.name} as champion, but the registry "
                f"does not have it. If it was deleted there, `groundwork rollback --to {newest.to_version}` registers "
                "it again, and `groundwork rollback` goes back to the champion before it. Otherwise check that "
                "MLFLOW_TRACKING_URI and GROUNDWORK_STORE_URL belong to the same pilot"
            )
        registry.put_in_service(version)
    return newest


def approve(pilot: Pilot, store: Store, registry: "Registry", number: str, *, by: str, why: str) -> Promotion:
    """Promote a version that passed the gate and waits for approval, and return its entry in the log.

    Raises PromotionError if `by` is not an approver in OWNERS, if the version does not wait for approval, or if the
    champion has changed since the comparison. Raises BundleError if the version cannot serve.
    """
    if by not in pilot.owners.approvers or by == UNANSWERED:
        raise PromotionError(f"{by} is not among the approvers of OWNERS: {', '.join(pilot.owners.approvers)}")
    newest = reconcile(store, registry)
    version = registry.version(number)
    if version is None or version.judged != "pending":
        state = "is unknown" if version is None else f"is {version.judged or 'not judged'}"
        raise PromotionError(f"version {number} of {registry.name} {state}: it does not wait for approval")
    if version.judged_against != (newest.to_version if newest else ""):
        raise PromotionError(
            f"version {number} was compared with {version.judged_against or 'no champion'}, and the champion has "
            "changed since: run `groundwork train`, which judges the version again"
        )
    registry.predictor(version)
    system = login()
    signed = by if by == system else f"{by} (logged in as {system})"
    return promote(store, registry, version, newest, by=signed, why=why)


def roll_back(pilot: Pilot, store: Store, to: str | None, why: str) -> Promotion:
    """Make an earlier champion the champion again, by default the previous one, and return the new entry of the log.

    Only the log changes; `reconcile` updates the registry later, so that a service with the version in its cache need
    not wait for the registry. A champion that was deleted in the registry is registered again, if `to` names it or if
    there is no earlier one. Raises PromotionError if there is no such champion, BundleError if it cannot serve.
    """
    name = pilot.name
    log = store.promotions.of(name)
    if not log:
        raise PromotionError(f"no version of {name} has been promoted: there is nothing to roll back")
    champions = {entry.to_version: entry for entry in log if entry.to_version}
    present = log[-1].to_version
    before = [number for number in _in_turn(log) if number != present]
    if present and to in (None, present) and not (to is None and before):
        return _replace_lost(pilot, store, log[-1], to, why)
    if to is None:
        if not before:
            raise PromotionError(f"{name} has no champion, and had none before: run `groundwork train`")
        to = before[-1]
    if to not in champions:
        raise PromotionError(f"version {to} has never been champion; champions so far: {', '.join(champions)}")
    wanted = champions[to]
    _check_it_serves(pilot, wanted)
    return _append(store, name, log[-1], _Chosen(to, wanted.evidence_sha256, wanted.bundle_sha256), by=login(), why=why)


def login() -> str:
    """Return the login name of the user of this process, or `uid NUMBER` if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"


def _in_turn(log: list[Promotion]) -> list[str]:
    """Return the line of champions up to the present one: a rollback removes the champions after its target."""
    line: list[str] = []
    for entry in log:
        if not entry.to_version:  # the champion was lost
            line.remove(entry.from_version)
            continue
        if entry.to_version in line:
            del line[line.index(entry.to_version) :]
        line.append(entry.to_version)
    return line


def _replace_lost(pilot: Pilot, store: Store, newest: Promotion, to: str | None, why: str) -> Promotion:
    """Register the champion again that was deleted, and return its entry; if its files are gone, none is champion.

    Raises PromotionError if it can serve, or if its files are gone and `to` names it.
    """
    from groundwork.models.registry.registry import Registry

    registry, lost = Registry(pilot), newest.to_version
    version = registry.version(lost)
    with suppress(BundleError):
        if version is not None and version.bundle_sha256 == newest.bundle_sha256:
            registry.pull(version)
            if to:
                raise PromotionError(f"version {lost} is already the champion")
            raise PromotionError(
                f"version {lost} is the first champion of {registry.name}: there is no earlier one. "
                "To decide by today's rule, run `SERVE_MODE=no-model groundwork serve`."
            )
    found = registry.restore(lost, newest.bundle_sha256)
    if found is None and to:
        raise PromotionError(
            f"version {lost} cannot be registered again: neither its run in MLflow nor the cache of this machine has "
            "its files. `groundwork rollback` goes back to the champion before it, or to none"
        )
    if found is None:
        why = f"version {lost} is in neither the registry nor the cache: {why}"
        return _append(store, registry.name, newest, _Chosen("", "", ""), by=login(), why=why)
    why = f"version {lost} was deleted in the registry, and is registered again: {why}"
    chosen = _Chosen(found.number, newest.evidence_sha256, newest.bundle_sha256)
    return _append(store, registry.name, newest, chosen, by=login(), why=why)


def _check_it_serves(pilot: Pilot, wanted: Promotion) -> None:
    from groundwork.models.serving.bundles import BundleCache

    bundle = BundleCache(pilot).cached(wanted.to_version, wanted.bundle_sha256)
    if bundle is not None:
        bundle.predictor(pilot.contract.dataset)
        return
    from groundwork.models.registry.registry import Registry

    registry = Registry(pilot)
    version = registry.version(wanted.to_version)
    if version is None:
        raise BundleError(f"version {wanted.to_version} of {registry.name} is neither in the cache nor in the registry")
    registry.predictor(version)


class _Chosen(NamedTuple):
    """The version to promote, with the digests of its evidence and of its bundle."""

    version: str
    evidence_sha256: str
    bundle_sha256: str


def _append(store: Store, name: str, seen: Promotion | None, chosen: _Chosen, *, by: str, why: str) -> Promotion:
    number, present = (seen.number, seen.to_version) if seen else (0, "")
    entry = Promotion(
        model=name,
        number=number + 1,
        promoted_at=utc_text(datetime.now(UTC)),
        promoted_by=by,
        from_version=present,
        to_version=chosen.version,
        why=why,
        evidence_sha256=chosen.evidence_sha256,
        bundle_sha256=chosen.bundle_sha256,
    )
    if not store.promotions.append(entry):
        raise PromotionError(
            f"version {chosen.version} was not promoted: it was compared with "
            f"{f'version {present}' if present else 'no champion'}, and another version has been promoted since. "
            "Run the same command again."
        )
    return entry
