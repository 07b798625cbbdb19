"""The 28 tests of Breck et al., The ML Test Score: A Rubric for ML Production Readiness (2017), and their proofs here.

A test earns half a point once it has passed, or where a person states it, and one once it has passed on a schedule on
two days, on the project's own data. The score is the least of the four sections' sums, 7 at most.
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
    """One test of the rubric, and what proves it: a command in the course of its work, or the tests that name it."""

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
            proof=rubric.by,
            fix=_fix(rubric, state),
            at=at,
            points=points,
        )


def run_tests(pilot: Pilot) -> list[Finding]:
    """Run the project's tests that are marked `proves`. Raises ProofError if they cannot be run."""
    if not (pilot.settings.home / "tests").is_dir():  # as in an image
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
    command = PROVE if rubric.by == TESTS else rubric.by
    return f"run `{command}`, or attest `{rubric.id}` in readiness.yaml with a reason"


def _clean_environment() -> dict[str, str]:
    """Of this pilot, the tests are told where its source is; what they write goes elsewhere."""
    return {
        name: value
        for name, value in os.environ.items()
        if name == "GROUNDWORK_SOURCE_URL" or not name.startswith(("GROUNDWORK_", "MLFLOW_", "PREFECT_"))
    }


def _shown(report: Path) -> dict[str, list[tuple[str, str]]]:
    """By check, the names of the tests that name it, and how each ended: passed, failure, error or skipped."""
    shown: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for case in ElementTree.parse(report).iter("testcase"):
        ended = next((child.tag for child in case if child.tag in ("failure", "error", "skipped")), "passed")
        for named in case.iterfind("properties/property[@name='proves']"):
            shown[named.get("value", "")].append((case.get("name", ""), ended))
    return shown


def _finding(check: str, shown: list[tuple[str, str]]) -> Finding:
    """The worst of its tests: one that fails; then one that could not be run to its end, of which nothing is known."""
    by_end = {ended: sorted({name for name, each in shown if each == ended}) for _, ended in shown}
    for ended, passed, said in (
        ("failure", False, "fail"),
        ("error", None, "could not run"),
        ("skipped", None, "are skipped"),
    ):
        if names := by_end.get(ended):
            seen = f"of {len(shown)} tests {sum(each == ended for _, each in shown)} {said}: {', '.join(names)}"
            return Finding(check, passed, seen, repr(sorted(shown)))
    return Finding(check, True, f"{len(shown)} tests pass", repr(sorted(shown)))
