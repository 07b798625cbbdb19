"""Train a candidate, let the gate judge it on the newest window, and promote it if it passes."""

import time
from dataclasses import dataclass
from typing import Literal

from groundwork.documents.pilot import Pilot
from groundwork.findings import keep
from groundwork.models.evaluation.estimates import Performance
from groundwork.models.gate.findings import gate_findings
from groundwork.models.gate.judgement import Judgement, judge_version
from groundwork.models.gate.verdict import Verdict
from groundwork.models.registry.promotion import login, promote, reconcile
from groundwork.models.registry.registry import Registry, Version
from groundwork.models.training.candidate import fit_and_register
from groundwork.models.training.history import read_history
from groundwork.models.training.lineage import lineage
from groundwork.store import Promotion, Store

Standing = Literal["champion", "promoted", "pending", "refused", "taken out"]


@dataclass(frozen=True)
class Trained:
    """How a training run ended."""

    version: str
    new: bool  # false if the same data, code and documents had been trained before
    standing: Standing  # champion: it was already; taken out: it was once, and stays out
    champion_before: str | None
    verdict: Verdict
    candidate: Performance
    rule: Performance
    champion: Performance | None
    gain_per_1000: float  # money more than the no-model rule made
    bundle: str
    rows: int

    @property
    def in_service(self) -> bool:
        """Whether it is the champion now."""
        return self.standing in ("champion", "promoted")


def train(pilot: Pilot) -> Trained:
    """Train a candidate, judge it, and promote it if the gate lets it through.

    Training again on the same data, code and documents takes the version that is there. It is judged once: a version
    that was taken out of service since is not put back by training again. One that waits for approval is judged anew
    once there is another champion.
    """
    began = time.monotonic()
    with Store(pilot.settings.store) as store, store.recorded("train") as run:
        registry = Registry(pilot)
        newest = reconcile(store, registry)
        history = read_history(pilot)
        run.rows_in = len(history.training) + len(history.evaluation)
        made_from = lineage(pilot, history.snapshot_version)
        found = registry.find(made_from["lineage"])
        version = found or fit_and_register(pilot, registry, history, made_from)
        judged = judge_version(pilot, registry, version, history.evaluation)
        champion = judged.champion_number
        standing: Standing
        if version.number == champion:
            standing = "champion"
        elif version.judged == "promoted":
            standing = "taken out"
        elif version.judged == "refused":
            standing = "refused"
        elif version.judged == "pending" and version.judged_against == champion:
            standing = "pending"
        else:
            version = registry.record_evidence(version, judged.evidence(pilot, history))
            standing = _let_in(pilot, store, registry, version, newest, judged)
        served = version if standing in ("champion", "promoted") or not champion else registry.required_champion()
        keep(pilot, store, "groundwork train", gate_findings(pilot, served, version, judged), began)
        run.message = standing if standing != "refused" else "refused: " + "; ".join(judged.verdict.reasons)
    return Trained(
        version=version.number,
        new=found is None,
        standing=standing,
        champion_before=champion or None,
        verdict=judged.verdict,
        candidate=judged.candidate,
        rule=judged.rule,
        champion=judged.champion,
        gain_per_1000=judged.gain_per_1000,
        bundle=version.tags["bundle_reason"],
        rows=len(history.training),
    )


def _let_in(
    pilot: Pilot, store: Store, registry: Registry, version: Version, newest: Promotion | None, judged: Judgement
) -> Standing:
    if not judged.verdict.passed:
        registry.refuse(version)
        return "refused"
    if pilot.charter.gate.approval == "required":
        registry.hold(version)
        return "pending"
    why = f"passed the gate: {judged.gain_per_1000:,.0f} {pilot.charter.value.currency} per 1,000 decisions more than "
    promote(store, registry, version, newest, login(), why + "the no-model rule")
    return "promoted"
