"""The scorecard: what blocks, what nobody knows, and how it looks on days 0, 45, 90 and 91."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from xml.etree import ElementTree

import pytest
from groundwork.core.git import git
from groundwork.documents import sealing
from groundwork.documents.decision_record import ScorecardVerdict, decide
from groundwork.documents.pilot import Pilot
from groundwork.documents.publish import owner_files
from groundwork.readiness import ml_test_score
from groundwork.readiness.assemble import assess
from groundwork.readiness.render import badge, files, html, junit, markdown
from groundwork.readiness.scorecard import Exit, Row, Scorecard, State
from groundwork.store.batches import Prediction
from groundwork.store.connection import utc_text
from groundwork.store.database import Store
from groundwork.store.proofs import Proof
from stores import log

DAY0 = date(2026, 8, 3)
GAIN = {"id": "gain", "question": "Does it pay?", "measure": "gain_per_1000", "op": ">=", "threshold": 1}
PERSON = {"name": "Ada Lovelace", "handle": "ada", "deputy": {"name": "Grace Hopper", "handle": "grace"}}
DECISION = {
    "statement": "Which of tomorrow's departures do we re-plan?",
    "withoutModel": "Re-plan every departure at 17:00 or later.",
    "decider": "duty manager",
    "cadence": "every evening",
    "volumePerMonth": 28000,
    "actions": ["replan", "keep"],
    "override": {"how": "by hand", "who": "duty manager"},
    "changedWork": "planners re-plan the evening before",
}


@pytest.fixture
def ready(new_pilot: Pilot, set_in: Callable) -> Pilot:
    """Everything that people have to settle is settled: what is left is the evidence."""
    charter, owners = new_pilot.settings.home / "charter.yaml", new_pilot.settings.home / "OWNERS"
    set_in(charter, "decision", DECISION)
    set_in(charter, "plan", {"day0": DAY0, "deciders": ["ada", "grace"]})
    set_in(charter, "readyToScale", {"criteria": [GAIN]})
    for role in ("sponsor", "decision", "model", "service"):
        set_in(owners, f"accountable.{role}", PERSON)
    set_in(owners, "accountable.data", {"flights": PERSON})
    git(new_pilot.settings.home, "init", "--quiet")
    return new_pilot


@pytest.fixture
def locked(ready: Pilot) -> Pilot:
    sealing.lock(ready.settings.home, Pilot.here().owners, "ada", DAY0)
    return Pilot.here()


def card(day: int = 45) -> Scorecard:
    pilot = Pilot.here()
    with Store(pilot.settings.store) as store:
        return assess(pilot, store, DAY0 + timedelta(day))


def row(name: str, day: int = 45) -> Row:
    [found] = [row for row in card(day).rows if row.id == name]
    return found


def answer(pilot: Pilot, decision: str, outcome: bool, number: int = 10, day: int = 44) -> None:
    """What a service would have logged, and what came of it."""
    record = {each.name: each.examples[0] for each in pilot.contract.dataset.requested}
    record["departure_minute"] = 600  # before 17:00, so that today's rule would keep the plan
    at = datetime.combine(DAY0 + timedelta(day), datetime.min.time(), UTC)
    ids = [f"{decision}-{outcome}-{day}-{each}" for each in range(number)]
    with Store(pilot.settings.store) as store:
        log(
            store,
            [
                Prediction(
                    prediction_id=each,
                    answered_at=utc_text(at),
                    role="champion",
                    entity_key=each,
                    event_time=at.isoformat(),
                    model_version="1",
                    score=0.5,
                    decision=decision,
                    record=json.dumps(record),
                )
                for each in ids
            ],
        )
        store.outcomes.log([(each, outcome) for each in ids])


def test_a_must_is_unknown_then_fails_then_passes_on_live_evidence(locked: Pilot) -> None:
    assert (row("gain").state, card().exit_code) == ("unknown", Exit.UNDETERMINED)
    answer(locked, "replan", outcome=False)  # each costs 120, and nothing is saved
    assert row("gain").seen == "EUR -120,000 per 1,000 decisions (n = 10)"
    assert (row("gain").state, card().exit_code) == ("failed", Exit.FAILED)
    answer(locked, "replan", outcome=True, number=20)  # each brings 400 - 120
    assert (row("gain").state, card().exit_code, card().verdict) == ("passed", Exit.MET, "Ready to scale")


def test_too_few_samples_are_unknown_and_so_is_what_lies_before_the_window(locked: Pilot, set_in: Callable) -> None:
    answer(locked, "replan", outcome=True)
    set_in(locked.settings.home / "charter.yaml", "readyToScale.criteria.0.minSamples", 11)
    assert (row("gain").state, row("gain").seen) == (
        "unknown",
        "EUR 280,000 per 1,000 decisions (n = 10): too few samples",
    )
    set_in(locked.settings.home / "charter.yaml", "readyToScale.criteria.0.minSamples", 10)
    assert row("gain").state == "passed"
    assert row("gain", day=76).state == "unknown"


@pytest.mark.parametrize(
    ("day", "code", "verdict"),
    [
        (0, Exit.UNDETERMINED, "Not known to be ready to scale: 1 required check is unknown"),
        (45, Exit.MET, "Ready to scale"),
        (90, Exit.UNDETERMINED, "Not known to be ready to scale: 1 required check is unknown"),
        (91, Exit.NOT_IN_FORCE, "Decision overdue by 1 day"),
    ],
)
def test_the_pilot_on_its_days(day: int, code: Exit, verdict: str, locked: Pilot) -> None:
    """On day 90 its one burst of evidence is older than the criterion looks back."""
    answer(locked, "replan", outcome=True)
    assert (card(day).exit_code, card(day).verdict) == (code, verdict)


def test_on_day_91_it_can_still_be_decided_and_is_quiet_afterwards(locked: Pilot) -> None:
    answer(locked, "replan", outcome=True, day=88)
    late = card(91)
    assert (late.exit_code, late.met) == (Exit.NOT_IN_FORCE, True)
    evidence = ScorecardVerdict(late.met, late.verdict, late.sha256, "1")
    decide(locked, "scale", evidence, by=("ada", "grace"), why="It pays.", today=DAY0 + timedelta(91))
    assert card(92).exit_code == Exit.MET


def test_what_other_tools_are_told_is_a_row_and_is_unknown_where_nothing_is(locked: Pilot) -> None:
    assert row("owner-files").state == "failed"  # written for other people than `ready` names
    owner_files.write(Pilot.here())
    assert row("owner-files").state == "passed"
    for path in (owner_files.CODEOWNERS, owner_files.CATALOG, owner_files.ROUTES):
        (locked.settings.home / path).unlink()
    assert (row("owner-files").state, row("owner-files").blocks) == ("unknown", False)


def test_unlocked_criteria_are_not_in_force(ready: Pilot) -> None:
    assert card().exit_code == Exit.NOT_IN_FORCE
    assert card().next_step.startswith("the criteria are not locked")
    assert row("locked").state == "failed"


@pytest.mark.parametrize(
    ("document", "path", "value", "check"),
    [
        ("charter.yaml", "decision.statement", "TBD", "decision"),
        ("charter.yaml", "decision.volumePerMonth", "TBD", "decision"),
        ("charter.yaml", "plan.day0", "TBD", "plan"),
        ("charter.yaml", "plan.deciders", ["ada"], "plan"),
        ("charter.yaml", "plan.deciders", ["ada", "ada"], "plan"),
        ("OWNERS", "accountable.model.name", "TBD", "owners"),
        ("OWNERS", "accountable.model.name", "Data team", "owners"),
        ("OWNERS", "accountable.service.until", DAY0, "owners"),
        ("OWNERS", "accountable.sponsor", None, "owners"),
        ("OWNERS", "accountable.decision.deputy", None, "owners"),
        ("charter.yaml", "readyToScale.criteria.0.threshold", 0, "locked"),
    ],
)
def test_each_thing_left_open_blocks_alone(
    document: str, path: str, value: Any, check: str, locked: Pilot, set_in: Callable
) -> None:
    answer(locked, "replan", outcome=True)
    assert card().exit_code == Exit.MET
    set_in(locked.settings.home / document, path, value)
    assert [blocking.id for blocking in card().blocking] == [check]
    assert row(check).fix


def test_a_line_drawn_after_the_first_model_went_live_was_drawn_to_fit(ready: Pilot) -> None:
    from groundwork.store.promotion_log import Promotion

    name = ready.name
    with Store(ready.settings.store) as store:
        store.promotions.append(
            Promotion(
                model=name,
                number=1,
                promoted_at="2026-08-05T10:00:00+00:00",
                promoted_by="ada",
                from_version="",
                to_version="1",
                why="first",
                evidence_sha256="",
                bundle_sha256="0" * 64,
            )
        )
    sealing.lock(ready.settings.home, Pilot.here().owners, "ada", date(2026, 8, 6))
    assert row("locked").state == "failed"
    assert "after the first model went live on 2026-08-05" in row("locked").seen


def with_measure(pilot: Pilot, set_in: Callable, measure: Any, **more: Any) -> Row:
    set_in(pilot.settings.home / "charter.yaml", "readyToScale.criteria", [GAIN | {"measure": measure} | more])
    return row("gain")


def test_a_query_over_the_store_is_asked_and_changes_nothing(locked: Pilot, set_in: Callable) -> None:
    count = "select count(*), count(*) from predictions"
    assert with_measure(locked, set_in, {"sql": count}).seen == "0 (n = 0): too few samples"
    answer(locked, "keep", outcome=False)
    assert with_measure(locked, set_in, {"sql": count}).state == "passed"
    for query, problem in (
        ("select 1", "must return one row: the value and the number of samples"),
        ("select 1, 1 union all select 2, 2", "must return one row"),
        ("select nonsense", "refused the query"),
        ("select avg(score), 0 from predictions where role = 'shadow'", "returned no value"),
    ):
        found = with_measure(locked, set_in, {"sql": query})
        assert (found.state, problem in found.seen) == ("unknown", True), found.seen
    with_measure(locked, set_in, {"sql": "delete from predictions returning 1, 1"})
    assert with_measure(locked, set_in, {"sql": count}).seen == "10 (n = 10)"


@pytest.fixture
def prometheus(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], None]]:
    """Stands in for Prometheus and answers what it is told to; the real one is asked in the template's own tests."""
    answers: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "success", "data": answers[-1]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("GROUNDWORK_PROMETHEUS_URL", f"http://127.0.0.1:{server.server_port}")
    yield answers.append
    server.shutdown()


def vector(*values: str) -> dict[str, Any]:
    return {"resultType": "vector", "result": [{"metric": {}, "value": [0, value]} for value in values]}


def test_prometheus_is_asked_and_believed_only_with_one_number(
    prometheus: Callable, locked: Pilot, set_in: Callable
) -> None:
    for result, state in (
        (vector("2"), "passed"),
        (vector("0.5"), "failed"),
        (vector(), "unknown"),
        (vector("1", "2"), "unknown"),
        (vector("NaN"), "unknown"),
        ({"resultType": "scalar", "result": [0, "3"]}, "passed"),
    ):
        prometheus(result)
        assert with_measure(locked, set_in, {"promql": "up"}).state == state
    prometheus(vector("5"))
    assert with_measure(locked, set_in, {"promql": "up", "samples": "up"}, minSamples=6).state == "unknown"


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:9"])
def test_without_prometheus_it_is_unknown(
    url: str, locked: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GROUNDWORK_PROMETHEUS_URL", url)
    assert with_measure(locked, set_in, {"promql": "up"}).state == "unknown"


def test_an_attestation_counts_while_it_is_fresh(locked: Pilot, set_in: Callable) -> None:
    assert "trained is not attested in readiness.yaml" in with_measure(locked, set_in, {"attestation": "trained"}).seen
    state(locked, attestations=[{"id": "trained", "value": 1, "by": "ada", "on": DAY0 + timedelta(40), "why": "Seen."}])
    assert row("gain").state == "passed"
    assert row("gain", day=85).state == "unknown"


def test_another_check_can_be_a_criterion(locked: Pilot, set_in: Callable) -> None:
    assert with_measure(locked, set_in, {"check": "owners"}).state == "passed"
    assert with_measure(locked, set_in, {"check": "data-code"}).state == "unknown"
    assert "is not a check of the scorecard" in with_measure(locked, set_in, {"check": "nonsense"}).seen


def test_a_stop_criterion_that_is_met_blocks(locked: Pilot, set_in: Callable) -> None:
    answer(locked, "replan", outcome=True)
    stop = GAIN | {"id": "harm", "measure": {"attestation": "complaints"}, "op": ">", "threshold": 20}
    set_in(locked.settings.home / "charter.yaml", "stopCriteria", [stop])
    for complaints, expected in ((21, "failed"), (20, "passed")):
        said = {"id": "complaints", "value": complaints, "by": "ada", "on": DAY0 + timedelta(44), "why": "Counted."}
        state(locked, attestations=[said])
        assert row("harm").state == expected
    assert row("harm").wanted == "at most 20 in 30 days, at least 1 sample"
    assert row("harm").fix == ""


def state(pilot: Pilot, **statements: Any) -> None:
    import yaml

    content = {"apiVersion": "groundwork/v1", "kind": "Statements"} | statements
    (pilot.settings.home / "readiness.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def test_a_waiver_holds_until_its_day_and_hides_nothing(locked: Pilot, set_in: Callable) -> None:
    answer(locked, "replan", outcome=True)
    set_in(locked.settings.home / "OWNERS", "accountable.sponsor", None)
    waiver = {"check": "owners", "by": "ada", "until": DAY0 + timedelta(45), "why": "The sponsor is being chosen."}
    state(locked, waivers=[waiver])
    assert card(45).exit_code == Exit.MET
    assert (row("owners").state, row("owners").waived[:13]) == ("failed", "waived by ada")
    assert card(46).exit_code == Exit.FAILED


# Each is a scorecard that would be dishonest if it counted as met.
SOUND = Row("a", "A?", "scale", "must", "passed", "w", "s", "ada", "p", "")


@pytest.mark.parametrize(
    ("state_", "blocks"),
    [
        ("passed", False),
        ("failed", True),
        ("unknown", True),
        ("error", True),
        ("warning", False),
        ("not applicable", False),
    ],
)
def test_what_a_state_of_a_must_means(state_: State, blocks: bool) -> None:
    changed = Scorecard("Pilot", DAY0, 0, (SOUND, replace(SOUND, id="b", state=state_)), (), "")
    assert changed.met is not blocks
    assert changed.exit_code == (Exit.MET if not blocks else Exit.FAILED if state_ == "failed" else Exit.UNDETERMINED)
    should = Scorecard("Pilot", DAY0, 0, (replace(SOUND, state=state_, level="should"),), (), "")
    assert should.exit_code == Exit.MET


def test_the_rubric_has_its_28_tests_and_the_weakest_section_counts() -> None:
    sections = [rubric.section for rubric in ml_test_score.RUBRIC]
    assert [sections.count(each) for each in ("data", "model", "infrastructure", "monitoring")] == [7, 7, 7, 7]


def proven(
    pilot: Pilot, check: str = "data-code", day: int = 1, own_data: bool = True, exit_code: int = 0, **more: bool
) -> float | None:
    """A run of what proves the check, on a schedule unless said otherwise; returns the points that it has now."""
    at = utc_text(datetime.combine(DAY0 + timedelta(day), datetime.min.time(), UTC))
    proof = Proof(
        check_id=check,
        proven_at=at,
        command="pytest",
        exit_code=exit_code,
        digest="0" * 64,
        seconds=1.0,
        own_data=own_data,
        on_schedule=more.get("on_schedule", True),
        seen="seen",
    )
    with Store(pilot.settings.store) as store:
        store.proofs.record([proof])
    return row(check).points


def test_a_test_earns_a_point_by_running_on_a_schedule_on_two_days_on_own_data(locked: Pilot) -> None:
    assert row("data-code").state == "unknown"
    assert proven(locked, day=1, own_data=False) == 0.5
    assert proven(locked, day=2, own_data=False) == 0.5
    assert proven(locked, day=3) == 0.5
    assert proven(locked, day=3) == 0.5
    assert proven(locked, day=4, on_schedule=False) == 0.5
    assert proven(locked, day=5) == 1
    assert proven(locked, day=6, exit_code=1) == 0
    assert (row("data-code").state, row("data-code").seen) == ("failed", "seen")
    assert proven(locked, day=7, exit_code=2) == 0
    assert row("data-code").state == "unknown"


@pytest.mark.parametrize("check", [rubric.id for rubric in ml_test_score.RUBRIC])
def test_what_is_not_shown_of_a_test_that_must_be_blocks(check: str, locked: Pilot, set_in: Callable) -> None:
    assert with_measure(locked, set_in, {"check": check}).state == "unknown"
    sealing.amend(
        locked.settings.home, Pilot.here().owners, by="ada", approved_by="grace", reason="It matters here.", today=DAY0
    )
    for day, exit_code, expected in ((1, 1, Exit.FAILED), (2, 2, Exit.UNDETERMINED), (3, 0, Exit.MET)):
        proven(locked, check, day, exit_code=exit_code)
        assert card().exit_code == expected


def test_a_person_may_state_what_is_not_shown_and_not_what_is_shown_otherwise(locked: Pilot) -> None:
    said = {"id": "model-inclusion", "value": 1, "by": "ada", "on": DAY0, "why": "No decision is about people."}
    state(locked, attestations=[said])
    assert (row("model-inclusion").state, row("model-inclusion").points) == ("passed", 0.5)
    proven(locked, "model-inclusion", exit_code=2)
    assert row("model-inclusion").state == "passed"
    proven(locked, "model-inclusion", day=2, exit_code=1)
    assert row("model-inclusion").state == "failed"


def test_the_junit_report_has_what_its_schema_requires_whatever_a_check_found(locked: Pilot) -> None:
    """Jenkins' junit-10.xsd requires the counts; XML 1.0 cannot hold control characters, not even escaped."""
    hostile = "".join(map(chr, [*range(0x20), 0x7F, 0xD800, 0xFFFE, 0xFFFF, 0x1F600])) + '<&]]>"'
    states: list[State] = ["failed", "error", "unknown", "warning", "not applicable", "passed"]
    rows = [replace(row("gain"), state=state, seen=hostile, fix=hostile) for state in states]
    waived = replace(rows[0], waived=hostile)
    for shown, (failures, errors, skipped) in (
        (replace(card(), rows=(*rows, waived)), (1, 3, 2)),
        (replace(card(), rows=()), (0, 0, 0)),
    ):
        suite = ElementTree.fromstring(junit(shown).encode("utf-8"))
        counts = {"tests": len(shown.rows), "failures": failures, "errors": errors, "skipped": skipped}
        assert suite.attrib == {"name": "readiness"} | {name: str(count) for name, count in counts.items()}
        for kind, count in (("failure", failures), ("error", errors), ("skipped", skipped)):
            assert len(suite.findall(f"testcase/{kind}")) == count
            assert all("\U0001f600<&]]>" in case.attrib["message"] for case in suite.iter(kind))


def test_every_form_says_the_same(locked: Pilot) -> None:
    shown = card()
    assert markdown(shown).startswith(f"# {shown.verdict}\n\n**Next:** {shown.next_step}")
    assert f"<h1>{shown.verdict}</h1>\n<p>Next: {shown.next_step}" in html(shown).replace("&#39;", "'")
    assert ">unknown</text>" in badge(shown)
    suite = ElementTree.fromstring(junit(shown))
    assert len(suite.findall("testcase")) == len(shown.rows)
    assert not any(case.find("error") is None for case in suite.findall("testcase") if case.get("name") == "gain")
    for outside in ("http://", "https://", "<script", "@import", "url("):
        assert outside not in files(shown)["scorecard.html"]
