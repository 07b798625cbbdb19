"""What only people can settle: the decision, its worth, who answers, the line and its seal, and the day of decision."""

from collections.abc import Iterator
from datetime import date

from groundwork.documents import sealing
from groundwork.documents.business_case import returns
from groundwork.documents.charter import Charter
from groundwork.documents.document import unanswered
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import owner_files
from groundwork.readiness.scorecard import Row, State
from groundwork.store.database import Store
from groundwork.store.proofs import Proof


def rows(pilot: Pilot, store: Store, broken_seals: list[str], cannot_tell: str, today: date) -> Iterator[Row]:
    """One row per question. `broken_seals` and `cannot_tell` are what `sealing` found out."""
    charter, owners = pilot.charter, pilot.owners
    decider = owners.accountable.decision.name
    yield _open("decision", "Which decision does it serve?", "must", decider, "decision", charter)
    yield _open("business-case", "What is it worth, and what does it cost?", "should", decider, "businessCase", charter)
    yield _open("roadmap", "What comes after day 90?", "should", decider, "roadmap", charter)
    worth = returns(charter)
    pays = worth is not None and worth.base.net > 0
    yield _row(
        "return",
        "Does it pay?",
        "should",
        "unknown" if worth is None else "passed" if pays else "failed",
        "more benefit than cost in the base case",
        "the business case is incomplete"
        if worth is None
        else " · ".join(f"{name} {case.net:,.0f}" for name, case in vars(worth).items()) + f" {charter.value.currency}",
        decider,
        "charter.yaml, businessCase; computed",
        "" if pays else "complete the business case" if worth is None else "find a larger effect, or decide to stop",
    )
    findings = owners.findings(today)
    yield _row(
        "owners",
        "Does each part have one owner and a deputy?",
        "must",
        "failed" if findings else "passed",
        "one named person each, no groups, no expired appointments",
        "; ".join(findings) or "every owner is named",
        decider,
        "OWNERS",
        f"update OWNERS: {findings[0]}" if findings else "",
    )
    yield _told(pilot, decider)
    yield _sealed(pilot, store, broken_seals, cannot_tell, decider)
    deciders = len(set(charter.plan.deciders))
    planned = charter.plan.day(0) is not None and deciders > 1
    yield _row(
        "plan",
        "Are day 0 and the deciders of day 90 fixed?",
        "must",
        "passed" if planned else "failed",
        "day 0 and at least two deciders",
        f"day 0 is {charter.plan.day0}, {deciders} decider{'' if deciders == 1 else 's'}",
        decider,
        "charter.yaml, plan",
        "" if planned else "set plan.day0 and plan.deciders in charter.yaml",
    )


def not_in_force(pilot: Pilot, broken_seals: list[str]) -> list[str]:
    """Why the criteria do not count."""
    if not pilot.charter.seals:
        return ["the criteria are not locked: agree on them, then run `groundwork charter lock --by HANDLE`"]
    return broken_seals


def _open(name: str, title: str, level: str, owner: str, part: str, charter: Charter) -> Row:
    missing = [path for path in unanswered(charter) if path.startswith(f"{part}.")]
    return _row(
        name,
        title,
        level,
        "failed" if missing else "passed",
        "every field answered",
        f"{len(missing)} open: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}" if missing else "answered",
        owner,
        f"charter.yaml, {part}",
        f"answer {missing[0]} in charter.yaml" if missing else "",
    )


def _told(pilot: Pilot, owner: str) -> Row:
    """Unknown where none of the files is present, as in the service's image."""
    found = owner_files.differences(pilot)
    there = any((pilot.settings.home / path).exists() for path in (owner_files.CODEOWNERS, owner_files.CATALOG))
    return _row(
        "owner-files",
        "Do code review, catalogue and alerts use OWNERS?",
        "should",
        "failed" if found and there else "passed" if there else "unknown",
        "CODEOWNERS, catalog-info.yaml and the alerts' routes match OWNERS",
        "; ".join(f"{path} {problem}" for path, problem in found.items())
        or ("they match" if there else "none of these files is here"),
        owner,
        "`groundwork check`",
        "" if there and not found else "run `groundwork owners` and commit the files it writes",
    )


def _sealed(pilot: Pilot, store: Store, broken_seals: list[str], cannot_tell: str, owner: str) -> Row:
    """The criteria have to be there before the first model is: afterwards they can be made to fit it."""
    seals = pilot.charter.seals
    first = next(iter(store.promotions.of(pilot.name)), None)
    problems = [*broken_seals]
    if not seals:
        problems = ["the criteria are not locked"]
    elif first and first.promoted_at[:10] < seals[0].on.isoformat():
        problems.append(f"locked on {seals[0].on}, after the first model went live on {first.promoted_at[:10]}")
    told = _told_elsewhere(pilot, store) if cannot_tell else None
    if told and told.exit_code:
        problems.append(told.seen)
    unknown = cannot_tell if not problems and told is None else ""
    return _row(
        "locked",
        "Criteria fixed before launch and unchanged?",
        "must",
        "failed" if problems else "unknown" if unknown else "passed",
        "locked before the first promotion, changed only by amendment",
        "; ".join(problems)
        or unknown
        or f"locked on {seals[0].on} by {seals[0].by}, {len(seals) - 1} amendment{'' if len(seals) == 2 else 's'}"
        + (f"; checked with git on {told.proven_at[:10]}" if told else ""),
        owner,
        "charter.yaml, seals; git log",
        ""
        if not problems and not unknown
        else unknown
        or (
            "run `groundwork charter lock --by HANDLE`"
            if not seals
            else "amend the criteria with a second person, or waive the check in readiness.yaml with a reason"
        ),
    )


def _told_elsewhere(pilot: Pilot, store: Store) -> Proof | None:
    """What `readiness --prove` found where git had the history of this very charter; an image has none."""
    digest = sealing.file_digest(pilot.settings.home)
    return next(
        (proof for proof in reversed(store.proofs.by_check().get("locked", [])) if proof.digest == digest), None
    )


def _row(
    name: str, title: str, level: str, state: State, wanted: str, seen: str, owner: str, proof: str, fix: str
) -> Row:
    return Row(
        id=name,
        title=title,
        section="organisation",
        level="must" if level == "must" else "should",
        state=state,
        wanted=wanted,
        seen=seen,
        owner=owner,
        proof=proof,
        fix=fix,
    )
