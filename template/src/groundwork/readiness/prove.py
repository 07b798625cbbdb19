"""Prove: runs the checks that no other command runs."""

import time

from groundwork.core.errors import GroundworkError
from groundwork.core.git import git, is_shallow
from groundwork.documents import sealing
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.evaluate import evaluate
from groundwork.models.registry.promotion import champions_of
from groundwork.models.registry.registry import Registry
from groundwork.models.registry.version import Version
from groundwork.models.training.reproduce import reproduce
from groundwork.readiness.ml_test_score import PROVE, ProofError, run_tests
from groundwork.store.database import Store
from groundwork.store.findings import Finding, keep, summary
from groundwork.store.proofs import Proof


def prove(pilot: Pilot) -> list[Proof]:
    """Evaluate and reproduce the champion, check the git history, and run the project's tests.

    Returns the newest proof of each check. Raises ProofError at the end if a step could not run.
    """
    troubles = []
    with Store(pilot.settings.store) as store, store.runs.recorded("prove") as run:
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
        newest = [proofs[-1] for proofs in store.proofs.by_check().values()]
        run.message = summary(newest)
        if troubles:
            raise ProofError("; ".join(troubles))
    return newest


def seal_findings(pilot: Pilot) -> list[Finding]:
    """Return the check of the seals against the git history, to be kept for an image, which has no history."""
    if not pilot.charter.seals or sealing.cannot_tell(pilot.settings.home, pilot.charter):
        return []
    broken = sealing.findings(pilot.settings.home, pilot.charter)
    text = (pilot.settings.home / "charter.yaml").read_bytes().decode()  # byte for byte, as in `sealing.file_digest`
    return [Finding("locked", not broken, "; ".join(broken) or "no seal is broken", text)]


USE_CASE = "src/use_case"
MACHINES = ("noreply@github.com",)  # the committer of a change that was merged in the browser


def review_findings(pilot: Pilot, store: Store, champion: Version | None) -> list[Finding]:
    """Return whether a second person reviewed the champion's training code; unknown if git names no second person."""
    if champion is None:
        return []
    check, name, commit = "model-reviewed", f"version {champion.number}", champion.tags["git_commit"]
    if commit == "none":
        return [Finding(check, None, f"{name} was not trained in a git repository")]
    if commit.endswith("-dirty"):
        return [Finding(check, False, f"{name} was trained from files that were not committed")]
    promoted = champions_of(pilot, store).get(champion.number)
    approver = promoted.promoted_by.partition(" (")[0] if promoted else ""
    if pilot.charter.gate.approval == "required" and approver in pilot.owners.approvers:
        return [Finding(check, True, f"{name} was approved by {approver}")]
    change = git(pilot.settings.home, "log", "-1", "--format=%H", commit, "--", USE_CASE)
    if is_shallow(pilot.settings.home):
        return [Finding(check, None, "this clone lacks the older commits: run `git fetch --unshallow`")]
    if not change:
        return [Finding(check, None, f"this repository lacks the commit {commit[:10]} from which {name} was trained")]
    author, *others = _people(pilot, change, commit)
    said = f"{USE_CASE} as of {name} was last changed by {author} in {change[:10]}"
    if others:
        return [Finding(check, True, f"{said}; second person: {', '.join(others)}")]
    return [Finding(check, None, f"{said}; no second person committed it, merged it or signed it with Reviewed-by")]


def _people(pilot: Pilot, change: str, until: str) -> list[str]:
    """Return the email address of the author, then those of other people who committed, reviewed or merged it."""

    def told(*arguments: str) -> list[str]:
        return (git(pilot.settings.home, "log", *arguments) or "").splitlines()

    [author] = told("-1", "--format=%ae", change)
    reviewers = told("-1", "--format=%ce%n%(trailers:key=Reviewed-by,valueonly)", change)
    mergers = told("--merges", "--ancestry-path", "--reverse", "--format=%ae", f"{change}..{until}")[:1]
    seen = [each.rpartition("<")[2].strip(" >") for each in (*reviewers, *mergers)]
    return [author, *dict.fromkeys(each for each in seen if each and each not in (author, *MACHINES))]
