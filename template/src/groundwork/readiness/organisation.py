"""Checks of the scorecard that people settle: decision, business case, owners, locked criteria and plan."""

from collections.abc import Callable, Iterator
from datetime import date
from functools import partial

from groundwork.documents import sealing
from groundwork.documents.business_case import returns
from groundwork.documents.charter import Charter
from groundwork.documents.document import unanswered
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import owner_files
from groundwork.readiness.scorecard import Level, Row
from groundwork.store.database import Store
from groundwork.store.proofs import Proof

Asked = Callable[..., Row]  # a row of this section, whose owner is the one of the decision


def rows(pilot: Pilot, store: Store, broken_seals: list[str], cannot_tell: str, today: date) -> Iterator[Row]:
    """Return one row per check. `broken_seals` and `cannot_tell` come from the functions of `sealing`."""
    charter, owners = pilot.charter, pilot.owners
    row = partial(Row, section="organisation", owner=owners.accountable.decision.name)
    yield _open(row, "decision", "Which decision does the pilot serve?", "must", "decision", charter)
    yield _open(row, "business-case", "Are benefit and cost estimated?", "should", "businessCase", charter)
    yield _open(row, "roadmap", "What comes after day 90?", "should", "roadmap", charter)
    worth = returns(charter)
    pays = worth is not None and worth.base.net > 0
    yield row(
        id="return",
        title="Is the benefit larger than the cost?",
        level="should",
        state="unknown" if worth is None else "passed" if pays else "failed",
        wanted="more benefit than cost in the base case",
        seen="the business case is incomplete"
        if worth is None
        else " · ".join(f"{name} {case.net:,.0f}" for name, case in vars(worth).items()) + f" {charter.value.currency}",
        proof="charter.yaml, businessCase; computed",
        fix=""
        if pays
        else "complete the business case"
        if worth is None
        else "find a larger effect, or decide to stop",
    )
    findings = owners.findings(today)
    yield row(
        id="owners",
        title="Does each part have one owner and a deputy?",
        level="must",
        state="failed" if findings else "passed",
        wanted="one named person each, no groups, no expired appointments",
        seen="; ".join(findings) or "every owner is named",
        proof="OWNERS",
        fix=f"update OWNERS: {findings[0]}" if findings else "",
    )
    yield _told(row, pilot)
    yield _sealed(row, pilot, store, broken_seals, cannot_tell)
    deciders = len(set(charter.plan.deciders))
    planned = charter.plan.day(0) is not None and deciders > 1
    yield row(
        id="plan",
        title="Are day 0 and the deciders of day 90 fixed?",
        level="must",
        state="passed" if planned else "failed",
        wanted="day 0 and at least two deciders",
        seen=f"day 0 is {charter.plan.day0}, {deciders} decider{'' if deciders == 1 else 's'}",
        proof="charter.yaml, plan",
        fix="" if planned else "set plan.day0 and plan.deciders in charter.yaml",
    )


def not_in_force(pilot: Pilot, broken_seals: list[str]) -> list[str]:
    """Return why the criteria are not in force; empty if they are."""
    if not pilot.charter.seals:
        return ["the criteria are not locked: agree on them, then run `groundwork charter lock --by HANDLE`"]
    return broken_seals


def _open(row: Asked, name: str, title: str, level: Level, part: str, charter: Charter) -> Row:
    missing = [path for path in unanswered(charter) if path.startswith(f"{part}.")]
    return row(
        id=name,
        title=title,
        level=level,
        state="failed" if missing else "passed",
        wanted="every field answered",
        seen=f"{len(missing)} open: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}"
        if missing
        else "answered",
        proof=f"charter.yaml, {part}",
        fix=f"answer {missing[0]} in charter.yaml" if missing else "",
    )


def _told(row: Asked, pilot: Pilot) -> Row:
    """Check the files made from OWNERS; unknown if none of them exists, as in the service's image."""
    found = owner_files.differences(pilot)
    there = any((pilot.settings.home / path).exists() for path in (owner_files.CODEOWNERS, owner_files.CATALOG))
    return row(
        id="owner-files",
        title="Do code review, catalogue and alerts use OWNERS?",
        level="should",
        state="failed" if found and there else "passed" if there else "unknown",
        wanted="CODEOWNERS, catalog-info.yaml and the alerts' routes match OWNERS",
        seen="; ".join(f"{path} {problem}" for path, problem in found.items())
        or ("they match" if there else "none of these files exists"),
        proof="`groundwork check`",
        fix="" if there and not found else "run `groundwork owners` and commit the files it writes",
    )


def _sealed(row: Asked, pilot: Pilot, store: Store, broken_seals: list[str], cannot_tell: str) -> Row:
    """Check that the criteria were locked before the first promotion: later they could be fitted to the model."""
    seals = pilot.charter.seals
    first = next((entry for entry in store.promotions.of(pilot.name) if entry.to_version), None)
    problems = [*broken_seals]
    if not seals:
        problems = ["the criteria are not locked"]
    elif first and first.promoted_at[:10] < seals[0].on.isoformat():
        problems.append(f"locked on {seals[0].on}, after the first model went live on {first.promoted_at[:10]}")
    told = _told_elsewhere(pilot, store) if cannot_tell else None
    if told and told.exit_code:
        problems.append(told.seen)
    unknown = cannot_tell if not problems and told is None else ""
    return row(
        id="locked",
        title="Criteria fixed before launch and unchanged?",
        level="must",
        state="failed" if problems else "unknown" if unknown else "passed",
        wanted="locked before the first promotion, changed only by amendment",
        seen="; ".join(problems)
        or unknown
        or f"locked on {seals[0].on} by {seals[0].by}, {len(seals) - 1} amendment{'' if len(seals) == 2 else 's'}"
        + (f"; checked with git on {told.proven_at[:10]}" if told else ""),
        proof="charter.yaml, seals; git log",
        fix=""
        if not problems and not unknown
        else unknown
        or (
            "run `groundwork charter lock --by HANDLE`"
            if not seals
            else "amend the criteria with a second person, or waive the check in readiness.yaml with a reason"
        ),
    )


def _told_elsewhere(pilot: Pilot, store: Store) -> Proof | None:
    """Return the newest result of `readiness --prove` for this charter; it is kept for images, without git history."""
    digest = sealing.file_digest(pilot.settings.home)
    return next(
        (proof for proof in reversed(store.proofs.by_check().get("locked", [])) if proof.digest == digest), None
    )
