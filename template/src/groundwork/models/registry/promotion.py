"""Promotes versions to champion: the promotion log decides, and the registry's alias follows it.

A promotion appends a signed entry to the log; of two processes that append at the same time, only one succeeds. If a
process crashes between the entry and the alias, `reconcile`, which starts every run, repairs the alias. `roll_back` and
`switch` need the store alone, and also work while the log is broken: nobody can hinder them by forging entries.
"""

import getpass
import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from groundwork.core.errors import BundleError, PromotionError
from groundwork.documents.document import UNANSWERED
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.addresses import answers
from groundwork.models.serving.bundles import PROMOTION, BundleCache
from groundwork.models.serving.chain import Chain, append, is_genuine, read_chain
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
    be no better than the present one; also if the log is broken. Raises BundleError, before anything is written, if no
    service would load it.
    """
    chain = read_chain(registry.pilot, store)
    chain.require_whole()
    registry.pull(version)
    chosen = _Chosen.of(version)
    if chain.deciding != seen:
        raise _outrun(chosen, seen)
    entry = _append(registry.pilot, store, chain, chosen, by=by, why=why)
    registry.put_in_service(version, entry)
    return entry


def reconcile(store: Store, registry: "Registry") -> Promotion | None:
    """Set the registry's alias to the champion of the log, and return the entry that decides; None if there is none.

    If the log names no champion, the alias is removed. A store of its own, whose log is empty, says nothing about the
    champion: the alias stays if the signed entry beside it in the registry names that version. Raises PromotionError if
    the registry does not have the champion of the log.
    """
    chain = read_chain(registry.pilot, store)
    newest, champion = chain.deciding, registry.champion()
    if not chain.last_number and champion is not None and _is_signed_elsewhere(registry.pilot, champion):
        return None
    if newest is None or not newest.to_version:
        registry.take_out_of_service()
    elif champion is None or champion.tags.get(PROMOTION) != newest.as_json() or champion.judged != "promoted":
        version = registry.version(newest.to_version)
        if version is None or version.bundle_sha256 != newest.bundle_sha256:
            raise PromotionError(
                f"the promotion log names version {newest.to_version} of {registry.name} as champion, but the registry "
                f"does not have it. If it was deleted there, `groundwork rollback --to {newest.to_version}` registers "
                "it again, and `groundwork rollback` goes back to the champion before it. Otherwise check that "
                "MLFLOW_TRACKING_URI and GROUNDWORK_STORE_URL belong to the same pilot"
            )
        registry.put_in_service(version, newest)
    return newest


def _is_signed_elsewhere(pilot: Pilot, champion: "Version") -> bool:
    """Return whether a trusted key has signed the entry that is beside the champion, for this very bundle."""
    entry = Promotion.from_json(champion.tags.get(PROMOTION, ""))
    if entry is None or not is_genuine(pilot, entry):
        return False
    return (entry.to_version, entry.bundle_sha256) == (champion.number, champion.bundle_sha256)


def approve(pilot: Pilot, store: Store, registry: "Registry", number: str, *, by: str, why: str) -> Promotion:
    """Promote a version that passed the gate and waits for approval, and return its entry in the log.

    The verdict that was signed when the version was judged is read again; no tag in the registry is believed. Raises
    PromotionError if `by` is not an approver in OWNERS, if the version does not wait for approval, if its verdict is
    missing or was altered, or if the champion has changed since. Raises BundleError if the version cannot serve.
    """
    if by not in pilot.owners.approvers or by == UNANSWERED:
        raise PromotionError(f"{by} is not among the approvers of OWNERS: {', '.join(pilot.owners.approvers)}")
    newest = reconcile(store, registry)
    version = registry.version(number)
    judged = None
    if version is None:
        state = "is unknown"
    elif number in champions_of(pilot, store):
        state = "is promoted"
    else:
        version, judged = registry.verdict(version)
        checks = judged.get("checks", [])
        state = "" if checks and all(check["passed"] is True for check in checks) else "is refused"
    if version is None or judged is None or state:
        raise PromotionError(f"version {number} of {registry.name} {state}: it does not wait for approval")
    if judged["judged_against"] != (newest.to_version if newest else ""):
        raise PromotionError(
            f"version {number} was compared with {judged['judged_against'] or 'no champion'}, and the champion has "
            "changed since: run `groundwork train`, which judges the version again"
        )
    registry.predictor(version)
    return promote(store, registry, version, newest, by=signed_by(by), why=why)


def champions_of(pilot: Pilot, store: Store) -> dict[str, Promotion]:
    """Return the newest entry that put each version in service, by its number; the earliest champion first."""
    entries = read_chain(pilot, store).entries
    return {entry.to_version: entry for entry in entries if entry.to_version not in ("", entry.from_version)}


def switch(pilot: Pilot, store: Store, serves: Literal["model", "no-model"], *, by: str, why: str) -> Promotion:
    """Have today's rule answer instead of the champion, or the champion again, and return the entry that says so.

    Every service follows within seconds, whatever the registry does. Promotions and rollbacks leave the switch alone.
    """
    while True:
        chain = read_chain(pilot, store)
        newest = chain.deciding
        if newest and newest.serves == serves:
            return newest
        entry = append(pilot, store, chain, draft_again(pilot, newest, by=by, why=why)._replace(serves=serves))
        if entry:
            return entry


def roll_back(pilot: Pilot, store: Store, to: str | None, why: str) -> Promotion:
    """Make an earlier champion the champion again, by default the previous one, and return the new entry of the log.

    Only the log changes; `reconcile` updates the registry later, so that a service with the version in its cache need
    not wait for the registry. A champion that was deleted in the registry is registered again, if `to` names it or if
    there is no earlier one. Raises PromotionError if there is no such champion, BundleError if it cannot serve.
    """
    name = pilot.name
    chain = read_chain(pilot, store)
    log = chain.entries
    champions = {entry.to_version: entry for entry in log if entry.to_version}
    if not champions:
        chain.require_whole()
        raise PromotionError(f"no version of {name} has been promoted: there is nothing to roll back")
    present = log[-1].to_version
    before = [number for number in _in_turn(log) if number != present]
    if present and to in (None, present) and not (to is None and before):
        return _replace_lost(pilot, store, chain, to, why)
    if to is None:
        if not before:
            raise PromotionError(f"{name} has no champion, and had none before: run `groundwork train`")
        to = before[-1]
    if to not in champions:
        raise PromotionError(f"version {to} has never been champion; champions so far: {', '.join(champions)}")
    wanted = champions[to]
    _check_it_serves(pilot, wanted)
    return _append(pilot, store, chain, _Chosen.again(wanted), by=login(), why=why)


def signed_by(handle: str) -> str:
    """Return the handle with the login name of the user of this process; the login name alone if they are the same."""
    system = login()
    return system if handle in ("", system) else f"{handle} (logged in as {system})"


def login() -> str:
    """Return the login name of the user of this process, or `uid NUMBER` if there is no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user often has no name
        return f"uid {os.getuid()}"


def _in_turn(log: Sequence[Promotion]) -> list[str]:
    """Return the line of champions up to the present one: a rollback removes the champions after its target."""
    line: list[str] = []
    for entry in log:
        if entry.to_version == entry.from_version:  # only the switch was thrown
            continue
        if not entry.to_version:  # the champion was lost
            line = [number for number in line if number != entry.from_version]
            continue
        if entry.to_version in line:
            del line[line.index(entry.to_version) :]
        line.append(entry.to_version)
    return line


def _replace_lost(pilot: Pilot, store: Store, chain: Chain, to: str | None, why: str) -> Promotion:
    """Register the champion again that was deleted, and return its entry; if its files are gone, none is champion.

    Raises PromotionError if it can serve, or if its files are gone and `to` names it.
    """
    from groundwork.models.registry.registry import Registry

    newest = chain.entries[-1]
    registry, lost = Registry(pilot), newest.to_version
    version = registry.version(lost)
    with suppress(BundleError):
        if version is not None and version.bundle_sha256 == newest.bundle_sha256:
            registry.pull(version)
            if to:
                raise PromotionError(f"version {lost} is already the champion")
            raise PromotionError(
                f"version {lost} is the first champion of {registry.name}: there is no earlier one. "
                "To decide by today's rule, run `groundwork switch no-model`."
            )
    found = registry.restore(lost, newest.bundle_sha256)
    if found is None and to:
        raise PromotionError(
            f"version {lost} cannot be registered again: neither its run in MLflow nor the cache of this machine has "
            "its files. `groundwork rollback` goes back to the champion before it, or to none"
        )
    if found is None:
        why = f"version {lost} is in neither the registry nor the cache: {why}"
        return _append(pilot, store, chain, _Chosen(), by=login(), why=why)
    why = f"version {lost} was deleted in the registry, and is registered again: {why}"
    chosen = _Chosen.again(newest)._replace(version=found.number)
    return _append(pilot, store, chain, chosen, by=login(), why=why)


def _check_it_serves(pilot: Pilot, wanted: Promotion) -> None:
    bundle = BundleCache(pilot).cached(wanted.to_version, wanted.bundle_sha256)
    if bundle is not None:
        bundle.predictor(pilot.contract.dataset)
        return
    if not answers(pilot.settings):
        return  # each service checks it all the same, and serves on as before if it cannot load it
    from groundwork.models.registry.registry import Registry

    registry = Registry(pilot)
    version = registry.version(wanted.to_version)
    if version is None:
        raise BundleError(f"version {wanted.to_version} of {registry.name} is neither in the cache nor in the registry")
    registry.predictor(version)


class _Chosen(NamedTuple):
    """The version to promote, with the digests of its evidence and of its bundle; all empty for none."""

    version: str = ""
    evidence_sha256: str = ""
    bundle_sha256: str = ""
    verdict: str = ""

    @classmethod
    def of(cls, version: "Version") -> "_Chosen":
        """Return a version that has passed the gate."""
        evidence = version.evidence_sha256
        return cls(version.number, evidence, version.bundle_sha256, "passed" if evidence else "")

    @classmethod
    def again(cls, entry: Promotion | None) -> "_Chosen":
        """Return the version of an earlier entry, with what was known of it."""
        return cls(entry.to_version, entry.evidence_sha256, entry.bundle_sha256, entry.verdict) if entry else cls()


def _draft(pilot: Pilot, present: Promotion | None, chosen: _Chosen, by: str, why: str) -> Promotion:
    """Return the entry as it is before it is numbered, linked and signed."""
    return Promotion(
        model=pilot.name,
        number=0,
        promoted_at=utc_text(datetime.now(UTC)),
        promoted_by=by,
        from_version=present.to_version if present else "",
        to_version=chosen.version,
        why=why,
        evidence_sha256=chosen.evidence_sha256,
        bundle_sha256=chosen.bundle_sha256,
        verdict=chosen.verdict,
        serves=present.serves if present else "model",
    )


def draft_again(pilot: Pilot, present: Promotion | None, *, by: str, why: str) -> Promotion:
    """Return an entry that leaves the champion as it is, before it is numbered, linked and signed."""
    return _draft(pilot, present, _Chosen.again(present), by, why)


def _append(pilot: Pilot, store: Store, chain: Chain, chosen: _Chosen, *, by: str, why: str) -> Promotion:
    entry = append(pilot, store, chain, _draft(pilot, chain.deciding, chosen, by, why))
    if entry is None:
        raise _outrun(chosen, chain.deciding)
    return entry


def _outrun(chosen: _Chosen, seen: Promotion | None) -> PromotionError:
    present = f"version {seen.to_version}" if seen and seen.to_version else "no champion"
    return PromotionError(
        f"version {chosen.version} was not promoted: it was compared with {present}, and another version has been "
        "promoted since. Run the same command again."
    )
