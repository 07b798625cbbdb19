"""The state of the pilot: the page at /, for people who do not use a terminal, and /status, for programs.

The page has no scripts and no external files.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from groundwork import __version__
from groundwork.core import pages
from groundwork.documents.decision_record import LAST_DAY, DecisionRecord
from groundwork.documents.document import UNANSWERED
from groundwork.documents.owners import Accountable
from groundwork.documents.pilot import Pilot
from groundwork.readiness.assemble import assess
from groundwork.readiness.criteria import Measurement, gain_in_service, required
from groundwork.readiness.scorecard import Scorecard
from groundwork.service.champion import ModelLoader
from groundwork.store.database import Store
from groundwork.store.drifts import Drift

WINDOW = timedelta(days=30)  # period of the measured gain
MENDED = "`groundwork verify` shows what is wrong, and how two people mend it"
DRIFT = {"ok": "no drift", "drift": "drift detected", "unknown": "unknown"}


@dataclass(frozen=True)
class Fact:
    """One fact about the pilot, with its unit after it and details below it."""

    name: str
    value: str
    details: tuple[str, ...] = ()
    unit: str = ""


def home_page(pilot: Pilot, store: Store, loader: ModelLoader, today: date, stopped: str = "") -> str:
    """Return the page as HTML; `stopped` says why the service is not ready, though a model may be loaded.

    Raises StoreError if the store cannot be read.
    """
    card = assess(pilot, store, today)
    drift = store.drift.latest()
    facts = [
        *([Fact("Service", "not ready", (stopped,))] if stopped else []),
        *([Fact("Promotion log", "broken", (loader.broken, MENDED))] if loader.broken else []),
        _day(pilot, card, today),
        _decision_maker(pilot),
        _decision_owner(pilot.owners.accountable.decision),
        _live_model(_live(loader)),
        _measured_gain(pilot, _gain(pilot, store, today)),
        _drift(drift),
    ]
    return pages.render(
        "service/pages/home.html", charter=pilot.charter, card=card, facts=facts, links=_links(pilot, drift)
    )


def status(pilot: Pilot, store: Store, loader: ModelLoader, today: date) -> dict[str, Any]:
    """Return the same as a dictionary that can be written as JSON. Raises StoreError if the store cannot be read."""
    card, live, gain = assess(pilot, store, today), _live(loader), _gain(pilot, store, today)
    drift = store.drift.latest()
    return {
        "pilot": pilot.name,
        "groundwork": __version__,
        "on": today.isoformat(),
        "day": card.day,
        "verdict": card.verdict,
        "exit_code": int(card.exit_code),
        "next_step": card.next_step,
        "champion": {"version": live.version, "live_since": live.since, "reason": live.reason},
        "gain_per_1000": {
            "value": gain.value,
            "currency": pilot.charter.value.currency,
            "samples": gain.samples,
            "days": WINDOW.days,
            "reason": gain.problem,
        },
        "drift": {
            "status": drift.status if drift else "unknown",
            "measured_at": drift.measured_at.isoformat() if drift else None,
        },
    }


def _day(pilot: Pilot, card: Scorecard, today: date) -> Fact:
    name, plan = "Day of the pilot", pilot.charter.plan
    if card.day is None:
        return Fact(name, "not started", ("Day 0 is not set in charter.yaml",))
    record = DecisionRecord.of(pilot.settings.home)
    if record.outcome in ("scale", "stop"):
        return Fact(name, f"decided: {record.outcome}", (f"on {record.decisions[-1].on}",))
    if card.day < 0:
        return Fact(name, f"starts on {plan.day0}")
    due, overdue = record.due(pilot.charter), record.days_overdue(pilot.charter, today)
    if overdue:
        late = f"Day {card.day}: {overdue} day{'' if overdue == 1 else 's'} overdue"
        return Fact(name, late, (f"The decision was due on {due}",))
    assert due is not None  # day 0 is set and there is no decision
    steps = ((30, plan.day30), (60, plan.day60), (LAST_DAY, plan.day90))
    ahead = next(((number, step) for number, step in steps if number >= card.day and step), None)
    following = f"By day {ahead[0]}: {ahead[1][0].outcome}" if ahead else f"Decision due by {due}"
    return Fact(name, f"Day {card.day} of {(due - (plan.day(0) or due)).days}", (following,))


def _decision_maker(pilot: Pilot) -> Fact:
    """Return the decision-maker, by job, and the sponsor."""
    decider, sponsor = pilot.charter.decision.decider, pilot.owners.accountable.sponsor
    named = sponsor.name if sponsor and sponsor.answered else "not named yet"
    return Fact(
        "Decision-maker", "not named yet" if decider.startswith(UNANSWERED) else decider, (f"Sponsor: {named}",)
    )


def _decision_owner(person: Accountable) -> Fact:
    return Fact("Decision owner", person.name, (f"Deputy: {person.deputy.name}" if person.deputy else "No deputy",))


class _Live(NamedTuple):
    """The version that answers."""

    version: str | None
    since: str | None  # time of its promotion, in UTC
    reason: str  # why there is none, or why its time is not known; else empty


def _live(loader: ModelLoader) -> _Live:
    if loader.no_model:
        return _Live(None, None, _switched_off(loader))
    champion = loader.champion
    if champion is None:
        return _Live(None, None, loader.problem)
    if loader.entry is None or loader.entry.to_version != champion.version:
        return _Live(champion.version, None, "Its promotion is not in the promotion log")
    return _Live(champion.version, loader.entry.promoted_at, "")


def _switched_off(loader: ModelLoader) -> str:
    """Return that today's rule decides, and who has switched the model off, if it is in the promotion log."""
    entry = loader.entry
    if entry is None or entry.serves != "no-model":
        return "The model is switched off; today's rule decides"
    return f"Switched off by {entry.promoted_by}: {entry.why}; today's rule decides"


def _live_model(live: _Live) -> Fact:
    detail = live.reason or f"Live since {(live.since or '')[:10]}"
    return Fact("Live model", f"version {live.version}" if live.version else "none", (detail,))


def _gain(pilot: Pilot, store: Store, today: date) -> Measurement:
    """Return the gain over today's rule in the last days of WINDOW."""
    until = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
    return gain_in_service(pilot, store, until - WINDOW, until)


def _measured_gain(pilot: Pilot, live: Measurement) -> Fact:
    """Return the measured gain, with the criteria for scaling."""
    name, charter = "Measured gain over today's rule", pilot.charter
    targets = tuple(
        f"Required to scale: {required(each, charter.value.currency)}"
        for each in charter.ready_to_scale.criteria
        if each.measure == "gain_per_1000"
    )
    if live.value is None:
        return Fact(name, "unknown", (live.problem, *targets))
    return Fact(
        name,
        f"{charter.value.currency} {live.value:,.0f}",
        targets,
        unit=f"per 1,000 decisions (n = {live.samples:,}, last {WINDOW.days} days)",
    )


def _drift(drift: Drift | None) -> Fact:
    if drift is None:
        return Fact("Data drift", "unknown", ("Not measured yet: run `groundwork monitor`",))
    return Fact("Data drift", DRIFT[drift.status], (drift.reason, f"Measured on {drift.measured_at:%Y-%m-%d}"))


def _links(pilot: Pilot, drift: Drift | None) -> dict[str, str]:
    """Return the addresses of other pages that exist, by name."""
    links = {"Scorecard": "scorecard", "API": "docs", "Metrics": "metrics"}
    if drift and drift.report and (pilot.settings.reports / Path(drift.report).name).exists():
        links["Drift report"] = "report"
    if pilot.settings.tracking_uri.startswith("http"):
        links["Models (MLflow)"] = pilot.settings.tracking_uri
    if pilot.settings.prefect_api_url:
        links["Runs (Prefect)"] = pilot.settings.prefect_api_url.removesuffix("/").removesuffix("/api")
    if pilot.settings.dashboards_url:
        links["Dashboards"] = pilot.settings.dashboards_url
    return links
