"""Records the results of scorecard checks as evidence, so that the score depends on runs and not on claims."""

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
    """The result of one scorecard check."""

    check: str  # the check's id
    passed: bool | None  # None if unknown
    seen: str  # the value found, as text
    evidence: str = ""  # the text that is hashed; by default `seen`


def keep(pilot: Pilot, store: Store, command: str, findings: Iterable[Finding], began: float) -> list[Proof]:
    """Store the findings of a command and return them as proofs. `began` is the command's start, `time.monotonic()`."""
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
    """Returns how many of the proofs passed, as text."""
    return f"{sum(proof.exit_code == PASSED for proof in proofs)} of {len(proofs)} checks passed"
