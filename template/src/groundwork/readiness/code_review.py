"""Did a second person see the code that the champion was trained by? Git knows."""

from groundwork.core.git import git, is_shallow
from groundwork.documents.pilot import Pilot
from groundwork.findings import Finding
from groundwork.models.registry.registry import Version
from groundwork.store import Store

USE_CASE = "src/use_case"
MACHINES = ("noreply@github.com",)  # who commits what was merged in the browser


def review_findings(pilot: Pilot, store: Store, champion: Version | None) -> list[Finding]:
    """Whether a second person saw the code that the champion was trained by. That nobody stands there shows nothing."""
    if champion is None:
        return []
    check, name, commit = "model-reviewed", f"version {champion.number}", champion.tags["git_commit"]
    if commit == "none":
        return [Finding(check, None, f"{name} was not trained in a git repository")]
    if commit.endswith("-dirty"):
        return [Finding(check, False, f"{name} was trained from files that were not committed")]
    promoted = store.latest_promotion(pilot.name)
    approver = promoted.promoted_by.partition(" (")[0] if promoted else ""
    if pilot.charter.gate.approval == "required" and approver in pilot.owners.approvers:
        return [Finding(check, True, f"{name} was approved by {approver}")]
    change = git(pilot.settings.home, "log", "-1", "--format=%H", commit, "--", USE_CASE)
    if not change or is_shallow(pilot.settings.home):
        return [Finding(check, None, f"git does not tell here who changed {USE_CASE}: `git fetch --unshallow`")]
    author, *others = _people(pilot, change, commit)
    said = f"{USE_CASE} as of {name} was last changed by {author} in {change[:10]}"
    if others:
        return [Finding(check, True, f"{said}, and seen by {', '.join(others)}")]
    return [Finding(check, None, f"{said}; nobody else merged it, or signed it with Reviewed-by")]


def _people(pilot: Pilot, change: str, until: str) -> list[str]:
    """By their addresses: who wrote the change, then who else committed, reviewed or merged it."""

    def told(*arguments: str) -> list[str]:
        return (git(pilot.settings.home, "log", *arguments) or "").splitlines()

    [author] = told("-1", "--format=%ae", change)
    reviewers = told("-1", "--format=%ce%n%(trailers:key=Reviewed-by,valueonly)", change)
    mergers = told("--merges", "--ancestry-path", "--reverse", "--format=%ae", f"{change}..{until}")[:1]
    seen = [each.rpartition("<")[2].strip(" >") for each in (*reviewers, *mergers)]
    return [author, *dict.fromkeys(each for each in seen if each and each not in (author, *MACHINES))]
