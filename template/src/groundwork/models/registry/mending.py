"""Puts the promotion log in order: signs one of a release that did not, and starts anew after what broke it."""

from groundwork.core.errors import PromotionError
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.promotion import draft_again, login, signed_by
from groundwork.models.serving.bundles import BundleCache
from groundwork.models.serving.chain import UNSIGNED, Chain, append, read_chain
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion


def is_unsigned(pilot: Pilot, store: Store) -> bool:
    """Return whether the log has entries of a release that signed none, and no signed one.

    False on a machine that has seen a signed entry: then somebody has replaced the log.
    """
    return read_chain(pilot, store).breaks == (UNSIGNED,) and BundleCache(pilot).remembered() is None


def adopt(pilot: Pilot, store: Store) -> Promotion:
    """Append an entry that signs the log as it is, with its present champion, and return it.

    Raises PromotionError if this machine holds no trusted key, BundleError if the champion's bundle in the cache of
    this machine is not as it was signed.
    """
    chain = read_chain(pilot, store)
    newest = chain.unsigned[-1]
    if newest.to_version:
        BundleCache(pilot).cached(newest.to_version, newest.bundle_sha256)
    why = f"{len(chain.unsigned)} earlier entries were not signed; `groundwork migrate` adopted them as they were"
    draft = draft_again(pilot, newest, by=login(), why=why)
    entry = _written(pilot, store, chain, draft._replace(kind="adopted"))
    BundleCache(pilot).remember(entry)
    return entry


def mend(pilot: Pilot, store: Store, *, by: str, approved_by: str, why: str) -> Promotion:
    """Append an entry that accepts the log as it is, and return it: the champion is that of the last signed entry.

    Entries that nobody trusted has signed stay in the log, and count for nothing. Raises PromotionError if the log is
    whole, if the two are not two people of OWNERS, or if this machine holds no trusted key.
    """
    people = pilot.owners.handles
    for handle in (by, approved_by):
        if handle not in people:
            raise PromotionError(f"{handle} is not a handle in OWNERS: {', '.join(sorted(people))}")
    if by == approved_by:
        raise PromotionError("two people must agree: name a second one in --approved-by")
    if not why.strip():
        raise PromotionError("give the reason with --why: it is written to the promotion log")
    chain = read_chain(pilot, store)
    if not chain.breaks:
        raise PromotionError("the promotion log is whole: there is nothing to mend")
    if not chain.forged:
        raise PromotionError(chain.breaks[0])
    what = f"{why}; accepted as it is: {'; '.join(chain.breaks)}"
    draft = draft_again(pilot, chain.deciding, by=signed_by(f"{by} and {approved_by}"), why=what)
    return _written(pilot, store, chain, draft._replace(kind="mended"))


def _written(pilot: Pilot, store: Store, chain: Chain, draft: Promotion) -> Promotion:
    entry = append(pilot, store, chain, draft)
    if entry is None:
        raise PromotionError("another process has changed the promotion log: run the same command again")
    return entry
