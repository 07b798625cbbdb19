"""The page at /: the pilot at a glance, for people who never open a terminal; it needs no scripts and no network."""

from datetime import UTC, date, datetime, timedelta
from html import escape
from string import Template

from groundwork.documents.decision_record import LAST_DAY, DecisionRecord
from groundwork.documents.document import UNANSWERED
from groundwork.documents.owners import Accountable
from groundwork.documents.pilot import Pilot
from groundwork.readiness.assess import assess
from groundwork.readiness.criteria import gain_in_service
from groundwork.readiness.render import VERDICTS, coded
from groundwork.readiness.scorecard import Scorecard
from groundwork.service.champion import ModelLoader
from groundwork.store.database import Store
from groundwork.store.drifts import Drift

WINDOW = timedelta(days=30)  # over which the live value is told

PAGE = Template("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
  :root { color-scheme: light dark; font: 17px/1.5 system-ui, sans-serif }
  body { max-width: 60rem; margin: 0 auto; padding: 1rem }
  h1 { margin-bottom: 0 }
  .verdict { border-left: 0.5rem solid $colour; padding: 0.3rem 1rem; background: #8881; font-size: 1.2rem }
  .verdict p { margin: 0; font-size: 1rem }
  dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; margin: 2rem 0 }
  dl div { border: 1px solid #8884; border-radius: 0.4rem; padding: 0.8rem 1rem }
  dt { font-size: 0.85rem; letter-spacing: 0.03em; opacity: 0.8 }
  dd { margin: 0; overflow-wrap: anywhere }
  dd b { font-size: 1.25rem; font-weight: 600 }
  nav a { display: inline-block; margin-right: 1.2rem; padding: 0.5rem 0 }
</style>
<main>
<h1>$title</h1>
<p><strong>$decision</strong><br>Without the model: $without_model</p>
<div class="verdict"><strong>$verdict</strong><p>Next: $next_step</p></div>
<dl>$facts</dl>
</main>
<nav aria-label="Where to look further">$links</nav>
""")


def page(pilot: Pilot, store: Store, loader: ModelLoader, today: date) -> str:
    """The page as HTML. Raises StoreError if the store cannot be read."""
    charter = pilot.charter
    card = assess(pilot, store, today)
    drift = store.drift.latest()
    facts = {
        "Day": _day(pilot, card, today),
        "For whom": _for_whom(pilot),
        "Answers for the decision": _person(pilot.owners.accountable.decision),
        "Decides now": _champion(pilot, store, loader),
        "Worth, so far": _worth(pilot, store, today),
        "Has the data drifted?": _drift(drift),
    }
    return PAGE.substitute(
        title=escape(charter.metadata.title),
        decision=escape(charter.decision.statement),
        without_model=escape(charter.decision.without_model),
        verdict=escape(card.verdict),
        next_step=coded(card.next_step),
        colour=VERDICTS[card.exit_code][1],
        facts="".join(f"<div><dt>{escape(name)}</dt><dd>{said}</dd></div>" for name, said in facts.items()),
        links="".join(f'<a href="{escape(to)}">{escape(name)}</a>' for name, to in _links(pilot, drift).items()),
    )


def _day(pilot: Pilot, card: Scorecard, today: date) -> str:
    if card.day is None:
        return "<b>not started</b><br>charter.yaml does not say when day 0 is"
    record = DecisionRecord.of(pilot.settings.home)
    if record.outcome in ("scale", "stop"):
        return f"<b>decided: {record.outcome}</b><br>on {record.decisions[-1].on}"
    if card.day < 0:
        return f"<b>starts on {pilot.charter.plan.day0}</b>"
    due = record.due(pilot.charter)
    assert due is not None  # day 0 is known, and nothing was decided
    plan = pilot.charter.plan
    steps = ((30, plan.day30), (60, plan.day60), (LAST_DAY, plan.day90))
    ahead = next(((number, step) for number, step in steps if number >= card.day and step), None)
    following = f"by day {ahead[0]}: {escape(ahead[1][0].outcome)}" if ahead else f"to be decided by {due}"
    return f"<b>{card.day} of {(due - (plan.day(0) or due)).days}</b><br>{following}"


def _for_whom(pilot: Pilot) -> str:
    """Who takes the decision, by job, and who wants the pilot."""
    decider, sponsor = pilot.charter.decision.decider, pilot.owners.accountable.sponsor
    said = "not said yet" if decider.startswith(UNANSWERED) else escape(decider)
    wanted = f"<br>wanted by {escape(sponsor.name)}" if sponsor and sponsor.answered else ""
    return f"<b>{said}</b>{wanted}"


def _person(person: Accountable) -> str:
    deputy = f"<br>deputy: {escape(person.deputy.name)}" if person.deputy else "<br>no deputy"
    return f"<b>{escape(person.name)}</b>{deputy}"


def _champion(pilot: Pilot, store: Store, loader: ModelLoader) -> str:
    if pilot.settings.serve_mode == "no-model":
        return "<b>today's rule</b><br>the model is switched off"
    champion = loader.champion
    if champion is None:
        return f"<b>nobody</b><br>{escape(loader.problem)}"
    promotion = store.promotions.latest(pilot.name)
    known = promotion is not None and promotion.to_version == champion.version
    since = f"since {promotion.promoted_at[:10]}" if promotion and known else "not by the promotion log"
    return f"<b>version {escape(champion.version)}</b><br>{since}"


def _worth(pilot: Pilot, store: Store, today: date) -> str:
    """The live value, beside the line for scaling."""
    until = datetime.combine(today + timedelta(days=1), datetime.min.time(), UTC)
    live = gain_in_service(pilot, store, until - WINDOW, until)
    currency = pilot.charter.value.currency
    words = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
    lines = [
        f"wanted: {words[each.op]} {each.threshold:,.0f} {currency}"
        for each in pilot.charter.ready_to_scale.criteria
        if each.measure == "gain_per_1000"
    ]
    wanted = "".join(f"<br>{escape(line)}" for line in lines)
    if live.value is None:
        return f"<b>unknown</b><br>{escape(live.problem)}{wanted}"
    return (
        f"<b>{live.value:,.0f} {escape(currency)}</b> per 1,000 decisions more than today's rule, "
        f"on {live.samples:,} in {WINDOW.days} days{wanted}"
    )


def _drift(drift: Drift | None) -> str:
    if drift is None:
        return "<b>unknown</b><br>nobody has looked yet"
    said = {"ok": "no", "drift": "yes", "unknown": "unknown"}[drift.status]
    return f"<b>{said}</b><br>{escape(drift.reason)}<br>measured on {drift.measured_at:%Y-%m-%d}"


def _links(pilot: Pilot, drift: Drift | None) -> dict[str, str]:
    """Where to look further; what is not there is not linked."""
    links = {"Scorecard": "scorecard", "How to ask it": "docs", "Metrics": "metrics"}
    if drift and drift.report and (pilot.settings.reports / drift.report.rpartition("/")[2]).exists():
        links["Drift report"] = "report"
    if pilot.settings.tracking_uri.startswith("http"):
        links["Models (MLflow)"] = pilot.settings.tracking_uri
    if pilot.settings.prefect_api_url:
        links["Runs (Prefect)"] = pilot.settings.prefect_api_url.removesuffix("/").removesuffix("/api")
    if pilot.settings.dashboards_url:
        links["Dashboards"] = pilot.settings.dashboards_url
    return links
