"""The 28 tests of Breck et al., The ML Test Score: A Rubric for ML Production Readiness (2017), and their proofs here.

A test earns half a point once it has run, and one once it has run on its own on two days, on the project's own data.
What a person states instead earns half a point. The score is the least of the four sections' sums, 7 at most.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from groundwork.errors import GroundworkError
from groundwork.readiness.scorecard import Row, Section, State
from groundwork.readiness.statements import Statements
from groundwork.settings import Settings
from groundwork.store import Proof, Store, utc_text

PROVE = "`groundwork readiness --prove`"


class ProofError(GroundworkError):
    """The tests could not be run."""


@dataclass(frozen=True)
class Rubric:
    """One test of the rubric: proven by pytest, a flow that succeeds or the gate, or else stated by a person."""

    id: str
    title: str
    section: Section
    tests: tuple[str, ...] = ()
    flow: str = ""
    gate: bool = False

    @property
    def proof(self) -> str:
        if self.tests:
            return f"pytest {' '.join(self.tests)}"
        if self.flow or self.gate:
            return f"groundwork {self.flow or 'train'}"
        return f"readiness.yaml: attestation {self.id}"


_SYSTEM = "tests/groundwork/test_"
_OWN = "tests/use_case/test_"

RUBRIC = (
    Rubric("data-schema", "Feature expectations are captured in a schema", "data", flow="ingest"),
    Rubric("data-beneficial", "All features are beneficial", "data"),
    Rubric("data-cost", "No feature's cost is too much", "data"),
    Rubric("data-requirements", "Features adhere to meta-level requirements", "data", (f"{_SYSTEM}sensitive.py",)),
    Rubric("data-privacy", "The data pipeline has privacy controls", "data", (f"{_SYSTEM}sensitive.py",)),
    Rubric("data-new-features", "New features can be added quickly", "data"),
    Rubric("data-code", "All input feature code is tested", "data", (f"{_OWN}source.py",)),
    Rubric("model-reviewed", "Model specs are reviewed and submitted", "model"),
    Rubric("model-online", "Offline and online metrics correlate", "model"),
    Rubric("model-tuned", "All hyperparameters have been tuned", "model"),
    Rubric("model-stale", "The impact of model staleness is known", "model"),
    Rubric("model-baseline", "A simpler model is not better", "model", gate=True),
    Rubric("model-slices", "Model quality is sufficient on important data slices", "model"),
    Rubric("model-inclusion", "The model is tested for considerations of inclusion", "model"),
    Rubric("infra-reproducible", "Training is reproducible", "infrastructure", (f"{_OWN}model.py",)),
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
    Rubric("monitor-stale", "Models are not too stale", "monitoring", flow="monitor"),
    Rubric(
        "monitor-numerics",
        "Models are numerically stable",
        "monitoring",
        (f"{_OWN}model.py::test_copes_with_missing_values_and_unseen_categories", f"{_SYSTEM}gate.py"),
    ),
    Rubric("monitor-performance", "Computing performance has not regressed", "monitoring"),
    Rubric("monitor-quality", "Prediction quality has not regressed", "monitoring"),
)


def rows(settings: Settings, store: Store, statements: Statements, today: date) -> Iterator[Row]:
    """One row per test. What has not run, and nobody has stated, is unknown."""
    proofs = store.proofs()
    roles = settings.owners.accountable
    data_owner = roles.data[settings.contract.dataset.name].name
    owners = {"data": data_owner, "model": roles.model.name}
    for rubric in RUBRIC:
        state, seen, at, points = _seen(rubric, proofs.get(rubric.id, []), settings, store, statements)
        yield Row(
            id=rubric.id,
            title=rubric.title,
            section=rubric.section,
            level="should",
            state=state,
            wanted="runs on its own, on two days, on the project's own data",
            seen=seen,
            owner=owners.get(rubric.section, roles.service.name),
            proof=rubric.proof,
            fix=_fix(rubric, state),
            at=at,
            points=points,
        )


def prove(settings: Settings, store: Store) -> list[Proof]:
    """Run the tests that prove something, and keep how each ended. Raises ProofError if they cannot be run."""
    wanted = sorted({test for rubric in RUBRIC for test in rubric.tests if (settings.home / _file(test)).exists()})
    now = utc_text(datetime.now(UTC))
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", *wanted]
        started = time.monotonic()
        done = subprocess.run(
            command, cwd=settings.home, capture_output=True, text=True, check=False, env=_clean_environment()
        )
        seconds = time.monotonic() - started
        if not report.exists():
            raise ProofError(f"pytest did not run: {' '.join((done.stdout + done.stderr).split())[-500:]}")
        cases = _cases(report)
    found = []
    for rubric in RUBRIC:
        own = [case for case in cases if any(_belongs(case, test) for test in rubric.tests)]
        ran = [case for case in own if case[2] != "skipped"]
        if not ran:
            continue  # nothing was shown, either way
        failed = any(outcome != "passed" for _, _, outcome in ran)
        digest = hashlib.sha256(repr(sorted(own)).encode()).hexdigest()
        found.append(Proof(rubric.id, now, rubric.proof, int(failed), digest, seconds, bool(settings.source_url)))
    store.record_proofs(found)
    return found


def _seen(
    rubric: Rubric, proofs: list[Proof], settings: Settings, store: Store, statements: Statements
) -> tuple[State, str, datetime | None, float]:
    """State, what was seen, when, and its points."""
    if rubric.tests and proofs:
        last = proofs[-1]
        at = datetime.fromisoformat(last.proven_at)
        if last.exit_code:
            return "failed", "its tests fail", at, 0
        days = {proof.proven_at[:10] for proof in proofs if proof.exit_code == 0 and proof.own_data}
        where = "its own data" if last.own_data else "the example's data"
        return "passed", f"its tests pass, on {where}", at, 1 if len(days) > 1 else 0.5
    if rubric.flow and (succeeded := store.successes(rubric.flow)):
        days = {at.date().isoformat() for at in succeeded}
        full = len(days) > 1 and bool(settings.source_url)
        return "passed", f"{rubric.flow} succeeded {len(succeeded)} times", succeeded[-1], 1 if full else 0.5
    promoted = store.latest_promotion(settings.charter.metadata.name) if rubric.gate else None
    if promoted:
        said = f"version {promoted.to_version} beat today's rule at the gate"
        return "passed", said, datetime.fromisoformat(promoted.promoted_at), 0.5
    attested = statements.attested(rubric.id)
    if attested:
        said = f"{attested.by} states on {attested.on}: {attested.why}"
        return ("passed", said, None, 0.5) if attested.value else ("failed", said, None, 0)
    ran_by_itself = rubric.tests or rubric.flow or rubric.gate
    return "unknown", "it has not run" if ran_by_itself else "nobody has stated it", None, 0


def _fix(rubric: Rubric, state: State) -> str:
    if state == "passed":
        return ""
    if rubric.tests:
        return "mend what its tests find" if state == "failed" else PROVE
    return (
        f"`{rubric.proof}`" if rubric.flow or rubric.gate else f"state `{rubric.id}` in readiness.yaml, with a reason"
    )


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
