"""The page at /: the pilot at a glance, for people who never open a terminal; it needs no scripts and no network."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from groundwork.core import pages
from groundwork.decision_record import LAST_DAY, DecisionRecord
from groundwork.documents import UNANSWERED
from groundwork.owners import Accountable
from groundwork.readiness.assess import assess
from groundwork.readiness.criteria import gain_in_service, required
from groundwork.readiness.scorecard import Scorecard
from groundwork.service.champion import ModelLoader
from groundwork.settings import Settings
from groundwork.store import Drift, Store

WINDOW = timedelta(days=30)  # over which the live value is told
DRIFT = {"ok": "no drift", "drift": "drift detected", "unknown": "unknown"}


@dataclass(frozen=True)
class Fact:
    """One thing to know about the pilot, with what stands in smaller letters after and below it."""

    name: str
    value: str
    details: tuple[str, ...] = ()
    unit: str = ""


def home_page(settings: Settings, store: Store, loader: ModelLoader, today: date) -> str:
    """The page as HTML. Raises StoreError if the store cannot be read."""
    card = assess(settings, store, today)
    drift = store.latest_drift()
    facts = [
        _day(settings, card, today),
        _decision_maker(settings),
        _decision_owner(settings.owners.accountable.decision),
        _live_model(settings, store, loader),
        _measured_gain(settings, store, today),
        _drift(drift),
    ]
    return pages.render(
        "service/pages/home.html", charter=settings.charter, card=card, facts=facts, links=_links(settings, drift)
    )


def _day(settings: Settings, card: Scorecard, today: date) -> Fact:
    name, plan = "Day of the pilot", settings.charter.plan
    if card.day is None:
        return Fact(name, "not started", ("Day 0 is not set in charter.yaml",))
    record = DecisionRecord.of(settings.home)
    if record.outcome in ("scale", "stop"):
        return Fact(name, f"decided: {record.outcome}", (f"on {record.decisions[-1].on}",))
    if card.day < 0:
        return Fact(name, f"starts on {plan.day0}")
    due, overdue = record.due(settings.charter), record.days_overdue(settings.charter, today)
    if overdue:
        late = f"Day {card.day}: {overdue} day{'' if overdue == 1 else 's'} overdue"
        return Fact(name, late, (f"The decision was due on {due}",))
    assert due is not None  # day 0 is known, and nothing was decided
    steps = ((30, plan.day30), (60, plan.day60), (LAST_DAY, plan.day90))
    ahead = next(((number, step) for number, step in steps if number >= card.day and step), None)
    following = f"By day {ahead[0]}: {ahead[1][0].outcome}" if ahead else f"Decision due by {due}"
    return Fact(name, f"Day {card.day} of {(due - (plan.day(0) or due)).days}", (following,))


def _decision_maker(settings: Settings) -> Fact:
    """Who takes the decision, by job, and the executive who wants the pilot."""
    decider, sponsor = settings.charter.decision.decider, settings.owners.accountable.sponsor
    named = sponsor.name if sponsor and sponsor.answered else "not named yet"
    return Fact(
        "Decision-maker", "not named yet" if decider.startswith(UNANSWERED) else decider, (f"Sponsor: {named}",)
    )


def _decision_owner(person: Accountable) -> Fact:
    return Fact("Decision owner", person.name, (f"Deputy: {person.deputy.name}" if person.deputy else "No deputy",))


def _live_model(settings: Settings, store: Store, loader: ModelLoader) -> Fact:
    name = "Live model"
    if settings.serve_mode == "no-model":
        return Fact(name, "none", ("The model is switched off; today's rule decides",))
    champion = loader.champion
    if champion is None:
        return Fact(name, "none", (loader.problem,))
    promotion = store.latest_promotion(settings.charter.metadata.name)
    if promotion is None or promotion.to_version != champion.version:
        return Fact(name, f"version {champion.version}", ("Its promotion is not in the promotion log",))
    return Fact(name, f"version {champion.version}", (f"Live since {promotion.promoted_at[:10]}",))


def _measured_gain(settings: Settings, store: Store, today: date) -> Fact:
    """The live value, beside the criterion for scaling."""
    name, charter = "Measured gain over today's rule", settings.charter
    until = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
    live = gain_in_service(settings, store, until - WINDOW, until)
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


def _links(settings: Settings, drift: Drift | None) -> dict[str, str]:
    """Where to read further, by name; what is not there is not linked."""
    links = {"Scorecard": "scorecard", "API": "docs", "Metrics": "metrics"}
    if drift and drift.report and (settings.reports / drift.report.rpartition("/")[2]).exists():
        links["Drift report"] = "report"
    if settings.tracking_uri.startswith("http"):
        links["Models (MLflow)"] = settings.tracking_uri
    if settings.prefect_api_url:
        links["Runs (Prefect)"] = settings.prefect_api_url.removesuffix("/").removesuffix("/api")
    if settings.dashboards_url:
        links["Dashboards"] = settings.dashboards_url
    return links
