"""Prove: run the checks that are part of no other command's work."""

import time

from groundwork.core.errors import GroundworkError
from groundwork.documents import sealing
from groundwork.documents.pilot import Pilot
from groundwork.findings import Finding, keep, summary
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.registry import Registry
from groundwork.models.training.reproduce import reproduce
from groundwork.readiness.code_review import review_findings
from groundwork.readiness.ml_test_score import PROVE, ProofError, run_tests
from groundwork.store import Proof, Store


def prove(pilot: Pilot) -> list[Proof]:
    """Evaluate and reproduce the champion, look at the history, and run the project's tests.

    Returns the newest proof of each check. Raises ProofError, once everything else was done, for what could not be run.
    """
    troubles = []
    with Store(pilot.settings.store) as store, store.recorded("prove") as run:
        champion = Registry(pilot).champion()
        began = time.monotonic()
        keep(pilot, store, PROVE, [*seal_findings(pilot), *review_findings(pilot, store, champion)], began)
        if champion:
            for show in (evaluate, reproduce):
                try:
                    show(pilot, champion.number)
                except GroundworkError as error:
                    troubles.append(f"{show.__name__}: {error}")
        began = time.monotonic()
        try:
            keep(pilot, store, PROVE, run_tests(pilot), began)
        except ProofError as error:
            troubles.append(str(error))
        newest = [proofs[-1] for proofs in store.proofs().values()]
        run.message = summary(newest)
        if troubles:
            raise ProofError("; ".join(troubles))
    return newest


def seal_findings(pilot: Pilot) -> list[Finding]:
    """What git tells of the seals, kept for where there is no history, as in an image."""
    if not pilot.charter.seals or sealing.cannot_tell(pilot.settings.home):
        return []
    broken = sealing.findings(pilot.settings.home)
    text = (
        (pilot.settings.home / "charter.yaml").read_bytes().decode()
    )  # to the byte, as `sealing.file_digest` takes it
    return [Finding("locked", not broken, "; ".join(broken) or "no seal is broken", text)]
