"""The 28 tests of Breck et al., The ML Test Score: A Rubric for ML Production Readiness (2017), and their proofs here.

A test earns half a point once it has passed, or where a person states it, and one once it has passed on a schedule on
two days, on the project's own data. The score is the least of the four sections' sums, 7 at most.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.findings import FAILED, PASSED, UNKNOWN, Finding
from groundwork.readiness.scorecard import Row, Section, State
from groundwork.readiness.statements import Attestation, Statements
from groundwork.store.database import Store
from groundwork.store.proofs import Proof


class ProofError(GroundworkError):
    """The tests could not be run."""


@dataclass(frozen=True)
class Rubric:
    """One test of the rubric, and who proves it: pytest by these tests, or else a command in the course of its work."""

    id: str
    title: str
    section: Section
    by: str | tuple[str, ...]

    @property
    def tests(self) -> tuple[str, ...]:
        return () if isinstance(self.by, str) else self.by

    @property
    def proof(self) -> str:
        return self.by if isinstance(self.by, str) else f"pytest {' '.join(self.by)}"


INGEST, TRAIN, MONITOR = "groundwork ingest", "groundwork train", "groundwork monitor"
EVALUATE, REPRODUCE, PROVE = "groundwork evaluate", "groundwork reproduce VERSION", "groundwork readiness --prove"
_SYSTEM = "tests/groundwork/test_"
_OWN = "tests/use_case/test_"

RUBRIC = (
    Rubric("data-schema", "Feature expectations are captured in a schema", "data", INGEST),
    Rubric("data-beneficial", "All features are beneficial", "data", EVALUATE),
    Rubric("data-cost", "No feature's cost is too much", "data", TRAIN),
    Rubric("data-requirements", "Features adhere to meta-level requirements", "data", (f"{_SYSTEM}sensitive.py",)),
    Rubric("data-privacy", "The data pipeline has privacy controls", "data", (f"{_SYSTEM}sensitive.py",)),
    Rubric("data-new-features", "New features can be added quickly", "data", (f"{_SYSTEM}new_feature.py",)),
    Rubric("data-code", "All input feature code is tested", "data", (f"{_OWN}source.py",)),
    Rubric("model-reviewed", "Model specs are reviewed and submitted", "model", PROVE),
    Rubric("model-online", "Offline and online metrics correlate", "model", MONITOR),
    Rubric("model-tuned", "All hyperparameters have been tuned", "model", TRAIN),
    Rubric("model-stale", "The impact of model staleness is known", "model", EVALUATE),
    Rubric("model-baseline", "A simpler model is not better", "model", TRAIN),
    Rubric("model-slices", "Model quality is sufficient on important data slices", "model", TRAIN),
    Rubric("model-inclusion", "The model is tested for considerations of inclusion", "model", TRAIN),
    Rubric("infra-reproducible", "Training is reproducible", "infrastructure", REPRODUCE),
    Rubric("infra-spec", "Model specs are unit tested", "infrastructure", (f"{_OWN}model.py",)),
    Rubric(
        "infra-integration",
        "The ML pipeline is integration tested",
        "infrastructure",
        (f"{_SYSTEM}cli.py::test_real_flows_do_what_the_plain_functions_do",),
    ),
    Rubric(
        "infra-gate",
        "Model quality is validated before serving",
        "infrastructure",
        (f"{_SYSTEM}gate.py", f"{_SYSTEM}train.py"),
    ),
    Rubric(
        "infra-debug",
        "The model is debuggable",
        "infrastructure",
        (f"{_SYSTEM}service.py::test_a_sound_record_is_answered_and_logged",),
    ),
    Rubric(
        "infra-canary",
        "Models are canaried before serving",
        "infrastructure",
        (f"{_SYSTEM}service.py::test_a_challenger_answers_its_share_and_shadows_the_rest",),
    ),
    Rubric(
        "infra-rollback",
        "Serving models can be rolled back",
        "infrastructure",
        (f"{_SYSTEM}faults.py::test_the_rollback_drill",),
    ),
    Rubric(
        "monitor-dependencies",
        "Dependency changes result in notification",
        "monitoring",
        (f"{_SYSTEM}compatibility.py", f"{_SYSTEM}ingest.py::test_columns_that_do_not_fit_the_contract_are_named"),
    ),
    Rubric(
        "monitor-invariants",
        "Data invariants hold for inputs",
        "monitoring",
        (
            f"{_SYSTEM}ingest.py::test_every_kind_of_broken_row_is_quarantined_with_its_reason",
            f"{_SYSTEM}service.py::test_a_bad_request_is_refused_in_words_and_not_logged",
        ),
    ),
    Rubric(
        "monitor-skew",
        "Training and serving are not skewed",
        "monitoring",
        (f"{_SYSTEM}service.py::test_the_service_answers_as_the_trained_pipeline_does",),
    ),
    Rubric("monitor-stale", "Models are not too stale", "monitoring", MONITOR),
    Rubric(
        "monitor-numerics",
        "Models are numerically stable",
        "monitoring",
        (f"{_OWN}model.py::test_copes_with_missing_values_and_unseen_categories", f"{_SYSTEM}gate.py"),
    ),
    Rubric("monitor-performance", "Computing performance has not regressed", "monitoring", MONITOR),
    Rubric("monitor-quality", "Prediction quality has not regressed", "monitoring", MONITOR),
)


def rows(pilot: Pilot, store: Store, statements: Statements, today: date) -> Iterator[Row]:
    """One row per test. What has not run, and nobody has stated, is unknown."""
    proofs = store.proofs.by_check()
    roles = pilot.owners.accountable
    data_owner = roles.data[pilot.contract.dataset.name].name
    owners = {"data": data_owner, "model": roles.model.name}
    for rubric in RUBRIC:
        state, seen, at, points = _seen(proofs.get(rubric.id, []), statements.attested(rubric.id, today))
        yield Row(
            id=rubric.id,
            title=rubric.title,
            section=rubric.section,
            level="should",
            state=state,
            wanted="passed by schedule on two days, on the project's own data",
            seen=seen,
            owner=owners.get(rubric.section, roles.service.name),
            proof=rubric.proof,
            fix=_fix(rubric, state),
            at=at,
            points=points,
        )


def run_tests(pilot: Pilot) -> list[Finding]:
    """Run the project's tests that prove something. Raises ProofError if they cannot be run."""
    wanted = sorted(
        {test for rubric in RUBRIC for test in rubric.tests if (pilot.settings.home / _file(test)).exists()}
    )
    if not wanted:
        return []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *wanted]
        done = subprocess.run(
            command, cwd=pilot.settings.home, capture_output=True, text=True, check=False, env=_clean_environment()
        )
        if not report.exists():
            raise ProofError(f"pytest did not run: {' '.join((done.stdout + done.stderr).split())[-500:]}")
        cases = _cases(report)
    found = []
    for rubric in RUBRIC:
        own = [case for case in cases if any(_belongs(case, test) for test in rubric.tests)]
        ran = [case for case in own if case[2] != "skipped"]
        if not ran:
            continue  # nothing was shown, either way
        failed = sorted({name for _, name, outcome in ran if outcome != "passed"})
        seen = f"of {len(ran)} tests {len(failed)} fail: {', '.join(failed)}" if failed else f"{len(ran)} tests pass"
        found.append(Finding(rubric.id, not failed, seen, repr(sorted(own))))
    return found


def _seen(proofs: list[Proof], attested: Attestation | None) -> tuple[State, str, datetime | None, float]:
    """State, what was seen, when, and its points. What a proof leaves open a person may state."""
    last = proofs[-1] if proofs else None
    if attested and (last is None or last.exit_code == UNKNOWN):
        said = f"{attested.by} attested on {attested.on}: {attested.why}"
        return ("passed", said, None, 0.5) if attested.value else ("failed", said, None, 0)
    if last is None:
        return "unknown", "not run yet", None, 0
    at = datetime.fromisoformat(last.proven_at)
    if last.exit_code != PASSED:
        return "failed" if last.exit_code == FAILED else "unknown", last.seen, at, 0
    days = {each.proven_at[:10] for each in proofs if each.exit_code == PASSED and each.own_data and each.on_schedule}
    where = "" if last.own_data else ", on the example's data"
    return "passed", f"{last.seen}{where}", at, 1 if len(days) > 1 else 0.5


def _fix(rubric: Rubric, state: State) -> str:
    if state == "passed":
        return ""
    if state == "failed":
        return "fix what it found, or waive it in readiness.yaml with a reason and an end date"
    return f"run `{PROVE if rubric.tests else rubric.by}`, or attest `{rubric.id}` in readiness.yaml with a reason"


def _clean_environment() -> dict[str, str]:
    """The tests make pilots of their own: nothing may lead them to this one."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("GROUNDWORK_", "MLFLOW_", "PREFECT_"))
    }


def _file(test: str) -> str:
    return test.partition("::")[0]


def _cases(report: Path) -> list[tuple[str, str, str]]:
    """File, name and outcome of each test that was collected."""
    found = []
    for case in ElementTree.parse(report).iter("testcase"):
        outcome = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        file = case.get("classname", "").replace(".", "/") + ".py"
        found.append((file, case.get("name", "").partition("[")[0], outcome))
    return found


def _belongs(case: tuple[str, str, str], test: str) -> bool:
    file, _, name = test.partition("::")
    return case[0] == file and (not name or case[1] == name)
