"""The chain of the promotion log: which entry decides what serves, and whether an entry was forged, altered or removed.

An entry is signed by the key of who made it, over the pilot, its number, the version, the digests of its bundle and of
the gate's evidence, the verdict, and the hash of the signed entry before it. So nobody who can write to the store or to
the registry, but holds no trusted key, can decide what serves. The newest signed entry decides; entries without a
trusted signature are ignored, and told.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from groundwork.core.errors import PromotionError
from groundwork.documents.pilot import Pilot
from groundwork.models.serving.signing import UNTRUSTED, is_signed, sign, trusted_keys
from groundwork.store.database import Store
from groundwork.store.promotion_log import Promotion

UNSIGNED = "its entries are of a release that signed none: run `groundwork migrate` where the signing key is"


@dataclass(frozen=True)
class Chain:
    """What the promotion log says, once it is verified."""

    entries: tuple[Promotion, ...]  # that count: the signed ones, and unsigned ones that a signed one accounts for
    unsigned: tuple[Promotion, ...]  # before the first signed entry
    breaks: tuple[str, ...]  # what was forged, altered or removed since it was last mended, one sentence each
    last_number: int  # of all entries in the store, signed or not

    @property
    def deciding(self) -> Promotion | None:
        """The newest signed entry, which decides what serves; None if there is none."""
        return self.entries[-1] if self.entries else None

    @property
    def forged(self) -> bool:
        """Whether the chain is broken, and not only because no key is trusted here or the log is not migrated."""
        return bool(self.breaks) and self.breaks[0] not in (UNSIGNED, UNTRUSTED)

    @property
    def remarks(self) -> list[str]:
        """What a reader of the pilot's state must know, one line each; empty if the champion serves."""
        off = self.deciding is not None and self.deciding.serves == "no-model"
        lines = ["switched off, today's rule decides; `groundwork switch model` ends that"] if off else []
        return lines + (["the promotion log is broken: run `groundwork verify`"] if self.breaks else [])

    def require_whole(self) -> None:
        """Raise PromotionError if the chain is broken."""
        if self.breaks:
            raise PromotionError(
                f"the promotion log is not as it was written: {'; '.join(self.breaks)}. The last good champion serves "
                "on, and nothing is promoted; `groundwork verify` shows the state, and how two people mend it"
            )


def read_chain(pilot: Pilot, store: Store) -> Chain:
    """Return the verified promotion log. Raises StoreError if it cannot be read."""
    return verified(pilot, store.promotions.of(pilot.name))


def verified(pilot: Pilot, log: Sequence[Promotion]) -> Chain:
    """Return what these entries, oldest first, say."""
    entries: list[Promotion] = []
    unsigned: list[Promotion] = []
    breaks: list[str] = []
    for entry in log:
        if not is_genuine(pilot, entry):
            if entries or entry.signature:
                breaks.append(f"entry {entry.number} is not signed by a trusted key")
            else:
                unsigned.append(entry)
            continue
        if entry.kind == "mended":
            breaks.clear()
        elif not entries and entry.kind == "adopted" and entry.previous_sha256 == _digest_of_all(unsigned):
            entries += unsigned
        elif entry.previous_sha256 != (digest(entries[-1]) if entries else ""):
            breaks.append(f"entry {entry.number} does not follow the one before it, which was altered or removed")
        elif unsigned and not entries:
            breaks.append(f"the entries before entry {entry.number} are not signed")
        entries.append(entry)
    if log and not trusted_keys(pilot):
        breaks = [UNTRUSTED]
    elif not entries and unsigned:
        breaks.append(UNSIGNED)
    return Chain(tuple(entries), tuple(unsigned), tuple(breaks), log[-1].number if log else 0)


def is_genuine(pilot: Pilot, entry: Promotion) -> bool:
    """Return whether a trusted key has signed the entry, and had not ended on the day of the entry."""
    try:
        day = date.fromisoformat(entry.promoted_at[:10])
    except (ValueError, TypeError):
        return False
    return (
        isinstance(entry.signature, str)
        and entry.signature != ""
        and entry.model == pilot.name
        and is_signed(pilot, _content(entry._replace(signature="")), entry.signature, "promotion", day)
    )


def append(pilot: Pilot, store: Store, chain: Chain, draft: Promotion) -> Promotion | None:
    """Number, link and sign the entry, write it, and return it; None if another process was faster.

    Raises PromotionError if the key of this machine is not trusted: no service would follow the entry.
    """
    previous = chain.deciding
    linked = _digest_of_all(chain.unsigned) if draft.kind == "adopted" else digest(previous) if previous else ""
    entry = draft._replace(number=chain.last_number + 1, previous_sha256=linked, signature="")
    entry = entry._replace(signature=sign(pilot, _content(entry), "promotion"))
    if not is_genuine(pilot, entry):
        raise PromotionError(
            "the promotion log was not changed: the signing key of this machine is not among GROUNDWORK_TRUSTED_KEYS, "
            "or has ended. Run this where models are trained, or set GROUNDWORK_SIGNING_KEY"
        )
    return entry if store.promotions.append(entry) else None


def digest(entry: Promotion) -> str:
    """Return the SHA-256 of the whole entry, as the next one carries it."""
    return hashlib.sha256(_content(entry).encode()).hexdigest()


def _digest_of_all(entries: Sequence[Promotion]) -> str:
    return hashlib.sha256("".join(map(digest, entries)).encode()).hexdigest()


def _content(entry: Promotion) -> str:
    """Return the entry as JSON, without empty fields, so that a later release may add fields."""
    return json.dumps({name: value for name, value in entry._asdict().items() if value != ""}, sort_keys=True)
