"""Keeps what a command showed of the pilot, so that the score grows by running and not by claiming."""

import hashlib
import time
from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from groundwork.documents.pilot import Pilot
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from groundwork.store.proofs import Proof

PASSED, FAILED, UNKNOWN = 0, 1, 2  # the exit codes of a proof


class Finding(NamedTuple):
    """What was seen of one check of the scorecard."""

    check: str
    passed: bool | None  # None where nobody can tell
    seen: str
    evidence: str = ""  # what the digest is of; by default what was seen


def keep(pilot: Pilot, store: Store, command: str, findings: Iterable[Finding], began: float) -> list[Proof]:
    """Keep the findings of a command that began at `began`, as `time.monotonic` tells it."""
    now, seconds = utc_text(datetime.now(UTC)), time.monotonic() - began
    kept = [
        Proof(
            check_id=each.check,
            proven_at=now,
            command=command,
            exit_code=UNKNOWN if each.passed is None else PASSED if each.passed else FAILED,
            digest=hashlib.sha256((each.evidence or each.seen).encode()).hexdigest(),
            seconds=seconds,
            own_data=bool(pilot.settings.source_url),
            on_schedule=pilot.settings.on_schedule,
            seen=each.seen,
        )
        for each in findings
    ]
    store.proofs.record(kept)
    return kept


def summary(proofs: Collection[Proof]) -> str:
    """How many of them pass, in words."""
    return f"{sum(proof.exit_code == PASSED for proof in proofs)} of {len(proofs)} checks pass"
