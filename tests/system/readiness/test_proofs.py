"""What the commands show of the rubric's tests: kept by running them, failing where it fails, unknown where it is."""

import os
import re
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from groundwork.core.errors import ContractBreach, SourceUnavailable
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation import evaluate
from groundwork.models.evaluation.ageing import Aged, Ageing
from groundwork.models.evaluation.estimates import Estimate
from groundwork.models.evaluation.evaluate import Evaluation
from groundwork.models.evaluation.features import Dropped
from groundwork.models.registry.registry import Registry
from groundwork.models.training.reproduce import reproduce
from groundwork.pipeline import by_hand
from groundwork.readiness import prove as proving
from groundwork.readiness.ml_test_score import RUBRIC, ProofError, run_tests
from groundwork.readiness.ml_test_score import TESTS as TESTS_COMMAND
from groundwork.store.database import Store
from groundwork.store.findings import Finding, keep
from groundwork.store.proofs import Proof
from pilots import ROOT
from registries import write_entry
from use_case import model

STATES = {0: "passed", 1: "failed", 2: "unknown"}
FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))
GATE_CHECKS = {
    "data-cost": "passed",
    "model-baseline": "passed",
    "model-slices": "unknown",
    "model-inclusion": "unknown",
    "model-tuned": "unknown",
}


def newest(pilot: Pilot) -> dict[str, Proof]:
    with Store(pilot.settings.store) as store:
        return {check: proofs[-1] for check, proofs in store.proofs.by_check().items()}


def states(pilot: Pilot, *checks: str) -> dict[str, str]:
    found = newest(pilot)
    return {check: STATES[found[check].exit_code] for check in checks or found}


def test_every_proof_says_how_it_came_about(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    proof = newest(pilot)["model-baseline"]
    assert proof.command == "groundwork train"
    assert len(proof.digest) == 64
    assert proof.seconds > 0
    assert (proof.own_data, proof.on_schedule) == (False, False)
    assert "over today's rule" in proof.seen
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "1")
    monkeypatch.setenv("GROUNDWORK_SOURCE_URL", "postgresql://127.0.0.1/ours")
    with Store(pilot.settings.store) as store:
        [kept] = keep(Pilot.here(), store, "test", [Finding("test", True, "seen")], 0)
    assert (kept.own_data, kept.on_schedule) == (True, True)


def test_a_contract_that_is_broken_is_shown_and_a_source_that_is_away_shows_nothing(
    pilot_copy: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert states(pilot_copy, "data-schema") == {"data-schema": "passed"}
    sql(pilot_copy, "update flights set origin = dest where month = 2")
    with pytest.raises(ContractBreach):
        by_hand.ingest(Pilot.here())
    assert states(pilot_copy, "data-schema") == {"data-schema": "failed"}
    before = newest(pilot_copy)["data-schema"]
    monkeypatch.setenv("GROUNDWORK_SOURCE_URL", f"duckdb://{pilot_copy.settings.home}/away.duckdb")
    with pytest.raises(SourceUnavailable):
        by_hand.ingest(Pilot.here())
    assert newest(pilot_copy)["data-schema"] == before


def test_the_gate_shows_what_it_saw_of_the_version_that_serves(pilot: Pilot) -> None:
    assert states(pilot, *GATE_CHECKS) == GATE_CHECKS


def test_slices_are_shown_and_those_about_people_apart(
    pilot_copy: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract, charter = pilot_copy.settings.home / "contract.yaml", pilot_copy.settings.home / "charter.yaml"
    set_in(contract, "schema.0.properties.3.tags", ["feature", "slice"])
    set_in(charter, "gate.sliceMinimum", 0.5)
    assert by_hand.train(Pilot.here()).in_service
    both = ("model-slices", "model-inclusion")
    assert states(pilot_copy, *both) == {"model-slices": "passed", "model-inclusion": "unknown"}
    reason = {"property": "allowedIn", "value": ["features", "log", "reports"], "description": "Agreed."}
    set_in(contract, "schema.0.properties.3.classification", "restricted")
    set_in(contract, "schema.0.properties.3.customProperties", [reason])
    assert by_hand.train(Pilot.here()).in_service
    assert states(pilot_copy, *both) == {"model-slices": "passed", "model-inclusion": "passed"}
    set_in(charter, "gate.sliceMinimum", 0.99)  # the candidate is refused, and the champion is no better
    assert not by_hand.train(Pilot.here()).in_service
    assert states(pilot_copy, *both) == {"model-slices": "failed", "model-inclusion": "failed"}
    assert "failed: origin 'EWR'" in newest(pilot_copy)["model-slices"].seen


def test_where_no_version_serves_it_is_the_candidate_that_fails(new_pilot: Pilot, set_in: Callable) -> None:
    by_hand.ingest(Pilot.here())
    set_in(new_pilot.settings.home / "charter.yaml", "gate.minGainOverRule", 10**9)
    set_in(new_pilot.settings.home / "charter.yaml", "gate.maxLatencyMs", 0.000001)
    assert by_hand.train(Pilot.here()).standing == "refused"
    both = ("model-baseline", "data-cost")
    assert states(new_pilot, *both) == dict.fromkeys(both, "failed")


@pytest.mark.parametrize(("trials", "expected"), [(1, "failed"), (2, "passed")])
def test_one_set_of_parameters_is_no_search(
    trials: int, expected: str, pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch, set_in: Callable
) -> None:
    name = "histgradientboostingclassifier__max_iter"
    tried = [{name: 20}, {name: 30}][:trials]
    monkeypatch.setattr(model, "search", lambda: tried, raising=False)
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minGainOverChampion", -(10**9))
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minGainOverRule", -(10**9))
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minimum", 0)
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.maxMetricLoss", 1)
    assert by_hand.train(Pilot.here()).in_service
    assert states(pilot_copy, "model-tuned") == {"model-tuned": expected}


def tell_outcomes(pilot: Pilot, told: Callable[[bool], bool] = lambda outcome: outcome) -> None:
    """What came of the newest window, as its rows say, sent to the service."""
    rows = Snapshots(pilot.snapshots, pilot.contract.dataset).read(*FEBRUARY).to_pylist()
    late = {row["flight_id"]: row["late"] for row in rows}
    with Store(pilot.settings.store) as store:
        store.outcomes.log(
            [
                (each.prediction_id, told(late[each.entity_key]))
                for each in store.predictions.between(*FEBRUARY)
                if late.get(each.entity_key) is not None
            ]
        )


def test_the_monitor_shows_how_the_champion_does_in_service(pilot_copy: Pilot, set_in: Callable) -> None:
    checks = ("monitor-quality", "model-online", "monitor-performance", "monitor-stale")
    by_hand.score(Pilot.here())
    by_hand.monitor(Pilot.here())
    assert states(pilot_copy, *checks) == dict(zip(checks, ["unknown", "unknown", "passed", "unknown"], strict=True))
    assert "send outcomes to POST /outcomes" in newest(pilot_copy)["monitor-quality"].seen
    tell_outcomes(pilot_copy)
    by_hand.monitor(Pilot.here())
    assert states(pilot_copy, *checks[:2]) == dict.fromkeys(checks[:2], "passed")
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.maxLatencyMs", 0.000001)
    found = float(newest(pilot_copy)["monitor-quality"].seen.split()[1])
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.minimum", found - 0.001)  # above the metric's bound
    by_hand.monitor(Pilot.here())
    assert states(pilot_copy, "monitor-quality") == {"monitor-quality": "unknown"}
    assert "too few outcomes to be sure of both at 95% confidence" in newest(pilot_copy)["monitor-quality"].seen
    assert states(pilot_copy, "monitor-performance") == {"monitor-performance": "failed"}


def test_outcomes_that_came_otherwise_than_at_the_gate_are_shown(pilot_copy: Pilot) -> None:
    by_hand.score(Pilot.here())
    tell_outcomes(pilot_copy, lambda outcome: not outcome)
    by_hand.monitor(Pilot.here())
    both = ("monitor-quality", "model-online")
    assert states(pilot_copy, *both) == dict.fromkeys(both, "failed")


@pytest.mark.parametrize(
    ("limit", "oldest", "expected"),
    [("0", "3", "failed"), ("1", "3", "passed"), ("not yet", "0", "passed"), ("not yet", "-1", "unknown")],
)
def test_a_champion_past_its_age_is_shown(limit: str, oldest: str, expected: str, pilot_copy: Pilot) -> None:
    """It learned up to February, which is the window that is looked at: its age is 0 windows."""
    import mlflow

    run = Registry(pilot_copy).required_champion().run_id
    mlflow.MlflowClient().set_tag(run, "retrain_after_windows", limit)
    mlflow.MlflowClient().set_tag(run, "oldest_windows_seen", oldest)
    by_hand.score(Pilot.here())
    by_hand.monitor(Pilot.here())
    assert states(pilot_copy, "monitor-stale") == {"monitor-stale": expected}


def evaluation(dropped: list[float] | None, ages: int, retrain_after: int | None = None) -> Evaluation:
    """One with these lower bounds of what is lost without a feature."""
    unused: Any = None
    lost = None if dropped is None else [Dropped(f"f{at}", Estimate(5, lower), 0) for at, lower in enumerate(dropped)]
    ageing = Ageing([Aged(age, 1, Estimate(1, 1)) for age in range(ages)], retrain_after)
    reason = "" if lost else "src/use_case changed"
    return Evaluation("1", unused, unused, unused, unused, [], None, lost, ageing if lost else None, reason, "")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (evaluation([1, 2], ages=3, retrain_after=2), (True, True)),
        (evaluation([1, 2], ages=3), (True, True)),
        (evaluation([1, -2], ages=3, retrain_after=0), (False, False)),
        (evaluation([1], ages=1), (True, None)),
        (evaluation(None, ages=3), (None, None)),
    ],
)
def test_an_evaluation_shows_idle_features_and_age(found: Evaluation, expected: tuple[bool | None, ...]) -> None:
    assert tuple(each.passed for each in evaluate._findings(found)) == expected


def test_training_that_comes_out_otherwise_is_shown(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reproduce(pilot_copy, "1").status == "equal"
    assert states(pilot_copy, "infra-reproducible") == {"infra-reproducible": "passed"}
    build = model.build
    slower = {"histgradientboostingclassifier__learning_rate": 0.01}
    monkeypatch.setattr(model, "build", lambda: build().set_params(**slower))
    assert reproduce(pilot_copy, "1").status == "different"
    assert states(pilot_copy, "infra-reproducible") == {"infra-reproducible": "failed"}
    (pilot_copy.settings.home / "charter.yaml").open("a").write("# a word\n")
    assert reproduce(Pilot.here(), "1").status == "unknown"
    assert states(pilot_copy, "infra-reproducible") == {"infra-reproducible": "unknown"}


TESTS = """
import pytest

@pytest.fixture
def away():
    pytest.fail("the source is away")

@pytest.mark.proves("data-code", "data-privacy")
def test_reads(): pass

@pytest.mark.proves("data-privacy")
def test_erases(): assert False

@pytest.mark.proves("infra-spec")
@pytest.mark.skip
def test_later(): pass

@pytest.mark.proves("monitor-skew")
def test_serves(away): pass

@pytest.mark.proves("no-check-of-the-rubric")
def test_of_another(): pass

def test_that_proves_nothing(): assert False
"""


def test_the_worst_of_the_tests_that_name_a_check_is_kept(new_pilot: Pilot) -> None:
    """What is skipped, or cannot be run, leaves the check unknown; tests without the mark are not run."""
    own = new_pilot.settings.home / "tests" / "anywhere"
    own.mkdir(parents=True)
    (own / "test_of_theirs.py").write_text(TESTS, encoding="utf-8")
    (new_pilot.settings.home / "pytest.ini").write_text("[pytest]\nmarkers = proves(*checks): a check\n")
    assert {each.check: (each.passed, each.seen) for each in run_tests(new_pilot)} == {
        "data-privacy": (False, "1 of 2 tests fail: test_erases"),
        "data-code": (True, "1 tests pass"),
        "infra-spec": (None, "1 of 1 tests are skipped: test_later"),
        "monitor-skew": (None, "1 of 1 tests could not run: test_serves"),
    }


def test_the_tests_know_the_pilots_source_and_nothing_else_of_it(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = new_pilot.settings.home / "tests"
    own.mkdir()
    (own / "test_environment.py").write_text(
        "import os, pytest\n@pytest.mark.proves('data-code')\ndef test_it():\n"
        "    assert [name for name in os.environ if name.startswith('GROUNDWORK_')] == ['GROUNDWORK_SOURCE_URL']\n"
    )
    monkeypatch.setenv("GROUNDWORK_SOURCE_URL", "postgresql://127.0.0.1/ours")
    assert [each.passed for each in run_tests(new_pilot)] == [True]


def test_without_tests_at_hand_nothing_is_shown(new_pilot: Pilot) -> None:
    assert run_tests(new_pilot) == []


def test_every_check_that_tests_prove_is_named_by_one_that_a_pilot_has() -> None:
    named = {
        name
        for file in (ROOT / "template/tests/system").glob("test_*.py")
        for marks in re.findall(r"^@proves\((.*)\)", file.read_text(encoding="utf-8"), re.MULTILINE)
        for name in re.findall(r'"([a-z-]+)"', marks)
    }
    assert named == {rubric.id for rubric in RUBRIC if rubric.by == TESTS_COMMAND}


def test_what_cannot_be_proven_keeps_nothing_else_from_it(pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_pytest(_: Pilot) -> list[Finding]:
        raise ProofError("pytest did not run")

    monkeypatch.setattr(proving, "run_tests", without_pytest)
    monkeypatch.setattr(proving, "evaluate", lambda *_: None)  # has tests of its own, and takes its time
    with pytest.raises(ProofError, match="pytest did not run"):
        by_hand.prove(Pilot.here())
    assert states(pilot_copy, "infra-reproducible") == {"infra-reproducible": "passed"}
    monkeypatch.setattr(proving, "run_tests", lambda _: [Finding("data-code", True, "3 tests pass")])
    assert "data-code" in {proof.check_id for proof in by_hand.prove(Pilot.here())}


@pytest.fixture
def history(pilot_copy: Pilot) -> Callable[..., str]:
    """Runs git in the pilot as somebody; returns what it said."""

    def git(who: str, *arguments: str) -> str:
        name = {f"GIT_{role}_NAME": who for role in ("AUTHOR", "COMMITTER")}
        address = {f"GIT_{role}_EMAIL": f"{who}@example.com" for role in ("AUTHOR", "COMMITTER")}
        done = subprocess.run(
            ["git", *arguments],
            cwd=pilot_copy.settings.home,
            env=os.environ | name | address,
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().strip()

    (pilot_copy.settings.home / "src" / "use_case").mkdir(parents=True)
    git("ada", "init", "--quiet", "--initial-branch=main")
    return git


def change(home: Path, text: str) -> None:
    (home / "src" / "use_case" / "model.py").write_text(text, encoding="utf-8")


def review(pilot: Pilot, commit: str) -> Finding:
    registry = Registry(pilot)
    registry._client.set_model_version_tag(registry.name, "1", "git_commit", commit)
    with Store(pilot.settings.store) as store:
        [found] = proving.review_findings(pilot, store, registry.champion())
    return found


def test_a_change_counts_as_reviewed_once_a_second_person_stands_in_git(
    pilot_copy: Pilot, history: Callable[..., str]
) -> None:
    home = pilot_copy.settings.home
    assert review(pilot_copy, "none").passed is None
    assert review(pilot_copy, "0123-dirty").passed is False
    change(home, "one")
    history("ada", "add", "src")
    history("ada", "commit", "--quiet", "-m", "A model")
    alone = history("ada", "rev-parse", "HEAD")
    found = review(pilot_copy, alone)
    assert (found.passed, "last changed by ada@example.com" in found.seen) == (None, True)
    change(home, "two")
    history("ada", "commit", "--quiet", "-am", "Better\n\nReviewed-by: Grace Hopper <grace@example.com>")
    found = review(pilot_copy, history("ada", "rev-parse", "HEAD"))
    assert (found.passed, found.seen.endswith("second person: grace@example.com")) == (True, True)
    for merger, passed in (("ada", None), ("emmy", True)):
        history("ada", "checkout", "--quiet", "-b", f"for-{merger}")
        change(home, merger)
        history("ada", "commit", "--quiet", "-am", "Better still")
        history("ada", "checkout", "--quiet", "main")
        history(merger, "merge", "--quiet", "--no-ff", "-m", "Merge", f"for-{merger}")
        assert review(pilot_copy, history("ada", "rev-parse", "HEAD")).passed is passed


def test_a_version_that_a_named_person_approved_is_reviewed(
    pilot_copy: Pilot, set_in: Callable, history: Callable[..., str]
) -> None:
    write_entry(pilot_copy, from_version="", promoted_by="ada (logged in as root)")
    assert review(pilot_copy, "0123").passed is None
    set_in(pilot_copy.settings.home / "charter.yaml", "gate.approval", "required")
    found = review(Pilot.here(), "0123")
    assert (found.passed, found.seen) == (True, "version 1 was approved by ada")
