"""The 28 tests of Breck et al., The ML Test Score: A Rubric for ML Production Readiness (2017), and their evidence.

A test earns half a point if it has passed, or if a person attests it. It earns one point if it has passed on a schedule
on two days, on the project's own data. The score is the lowest of the four sections' sums, at most 7.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from groundwork.core.errors import GroundworkError
from groundwork.documents.pilot import Pilot
from groundwork.readiness.scorecard import Row, Section, State
from groundwork.readiness.statements import Attestation, Statements
from groundwork.store.database import Store
from groundwork.store.findings import FAILED, PASSED, UNKNOWN, Finding
from groundwork.store.proofs import Proof


class ProofError(GroundworkError):
    """The tests could not be run."""


@dataclass(frozen=True)
class Rubric:
    """One test of the rubric; `by` is the command that provides its evidence, or TESTS."""

    id: str
    title: str
    section: Section
    by: str


INGEST, TRAIN, MONITOR = "groundwork ingest", "groundwork train", "groundwork monitor"
EVALUATE, REPRODUCE, PROVE = "groundwork evaluate", "groundwork reproduce VERSION", "groundwork readiness --prove"
MARKS = "groundwork.readiness.marks"  # the plugin that keeps the marks in the report
TESTS = "pytest -m proves"  # the tests that name the check in their mark `proves`; PROVE runs them

RUBRIC = (
    Rubric("data-schema", "Feature expectations are captured in a schema", "data", INGEST),
    Rubric("data-beneficial", "All features are beneficial", "data", EVALUATE),
    Rubric("data-cost", "No feature's cost is too much", "data", TRAIN),
    Rubric("data-requirements", "Features adhere to meta-level requirements", "data", TESTS),
    Rubric("data-privacy", "The data pipeline has privacy controls", "data", TESTS),
    Rubric("data-new-features", "New features can be added quickly", "data", TESTS),
    Rubric("data-code", "All input feature code is tested", "data", TESTS),
    Rubric("model-reviewed", "Model specs are reviewed and submitted", "model", PROVE),
    Rubric("model-online", "Offline and online metrics correlate", "model", MONITOR),
    Rubric("model-tuned", "All hyperparameters have been tuned", "model", TRAIN),
    Rubric("model-stale", "The impact of model staleness is known", "model", EVALUATE),
    Rubric("model-baseline", "A simpler model is not better", "model", TRAIN),
    Rubric("model-slices", "Model quality is sufficient on important data slices", "model", TRAIN),
    Rubric("model-inclusion", "The model is tested for considerations of inclusion", "model", TRAIN),
    Rubric("infra-reproducible", "Training is reproducible", "infrastructure", REPRODUCE),
    Rubric("infra-spec", "Model specs are unit tested", "infrastructure", TESTS),
    Rubric("infra-integration", "The ML pipeline is integration tested", "infrastructure", TESTS),
    Rubric("infra-gate", "Model quality is validated before serving", "infrastructure", TESTS),
    Rubric("infra-debug", "The model is debuggable", "infrastructure", TESTS),
    Rubric("infra-canary", "Models are canaried before serving", "infrastructure", TESTS),
    Rubric("infra-rollback", "Serving models can be rolled back", "infrastructure", TESTS),
    Rubric("monitor-dependencies", "Dependency changes result in notification", "monitoring", TESTS),
    Rubric("monitor-invariants", "Data invariants hold for inputs", "monitoring", TESTS),
    Rubric("monitor-skew", "Training and serving are not skewed", "monitoring", TESTS),
    Rubric("monitor-stale", "Models are not too stale", "monitoring", MONITOR),
    Rubric("monitor-numerics", "Models are numerically stable", "monitoring", TESTS),
    Rubric("monitor-performance", "Computing performance has not regressed", "monitoring", MONITOR),
    Rubric("monitor-quality", "Prediction quality has not regressed", "monitoring", MONITOR),
)


def rows(pilot: Pilot, store: Store, statements: Statements, today: date) -> Iterator[Row]:
    """Return one row per test of the rubric. A test that has neither run nor been attested is unknown."""
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
            wanted="passed on a schedule on two days, on the project's own data",
            seen=seen,
            owner=owners.get(rubric.section, roles.service.name),
            proof=rubric.by,
            fix=_fix(rubric, state),
            at=at,
            points=points,
        )


def run_tests(pilot: Pilot) -> list[Finding]:
    """Run the project's tests that have the mark `proves`, and return one finding per check that they name.

    Returns an empty list if the pilot has no tests. Raises ProofError if pytest writes no report.
    """
    if not (pilot.settings.home / "tests").is_dir():  # an image has no tests
        return []
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-m", "proves", "-p", MARKS, "-p", "no:cacheprovider"]
        done = subprocess.run(
            [*command, f"--junitxml={report}", "tests"],
            cwd=pilot.settings.home,
            capture_output=True,
            text=True,
            check=False,
            env=_clean_environment(),
        )
        if not report.exists():
            raise ProofError(f"pytest did not run: {' '.join((done.stdout + done.stderr).split())[-500:]}")
        shown = _shown(report)
    return [_finding(rubric.id, shown[rubric.id]) for rubric in RUBRIC if rubric.id in shown]


def _seen(proofs: list[Proof], attested: Attestation | None) -> tuple[State, str, datetime | None, float]:
    """Return the state, the finding, its time and its points. An attestation counts where no proof decides."""
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
        return "fix the cause, or waive the check in readiness.yaml with a reason and an end date"
    command = PROVE if rubric.by == TESTS else rubric.by
    return f"run `{command}`, or attest `{rubric.id}` in readiness.yaml with a reason"


def _clean_environment() -> dict[str, str]:
    """Return the environment without the pilot's settings, except its source: the tests must not write to the pilot."""
    return {
        name: value
        for name, value in os.environ.items()
        if name == "GROUNDWORK_SOURCE_URL" or not name.startswith(("GROUNDWORK_", "MLFLOW_", "PREFECT_"))
    }


def _shown(report: Path) -> dict[str, list[tuple[str, str]]]:
    """Return, per check, each of its tests with its result: passed, failure, error or skipped."""
    shown: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):  # noqa: S314 - pytest wrote it
        ended = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        for named in case.iterfind("properties/property[@name='proves']"):
            shown[named.get("value", "")].append((case.get("name", ""), ended))
    return shown


def _finding(check: str, shown: list[tuple[str, str]]) -> Finding:
    """Return the worst result of the check's tests: failed if one fails, unknown if one has an error or is skipped."""
    by_end = {ended: sorted({name for name, each in shown if each == ended}) for _, ended in shown}
    for ended, passed, said in (
        ("failure", False, "fail"),
        ("error", None, "could not run"),
        ("skipped", None, "are skipped"),
    ):
        if names := by_end.get(ended):
            seen = f"{sum(each == ended for _, each in shown)} of {len(shown)} tests {said}: {', '.join(names)}"
            return Finding(check, passed, seen, repr(sorted(shown)))
    return Finding(check, True, f"{len(shown)} tests pass", repr(sorted(shown)))
