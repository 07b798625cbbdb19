"""What the gate saw, as findings for the scorecard."""

import math

from groundwork.documents.charter import Gate
from groundwork.documents.pilot import Pilot
from groundwork.findings import Finding
from groundwork.models.gate.judgement import Judgement
from groundwork.models.gate.verdict import Slice
from groundwork.models.registry.registry import Version


def gate_findings(pilot: Pilot, served: Version, candidate: Version, judged: Judgement) -> list[Finding]:
    """What the gate saw of the version that serves, or of the candidate where none does."""
    gate, slices, own = pilot.charter.gate, judged.verdict.slices, served.number == candidate.number
    performed = judged.candidate if own else judged.champion
    if performed is None:
        return []  # it could not be loaded, so nothing was seen of it
    name = f"version {served.number}"
    gain = performed.value_per_1000 - judged.rule.value_per_1000
    worth = f"{gain:,.0f} {pilot.charter.value.currency} per 1,000 decisions"
    measured = [(each, each.metric if own else each.champion_metric) for each in slices]
    about_people = [column.name for column in pilot.contract.dataset.slices if column.sensitive]
    trials = int(served.tags.get("trials", "0"))
    tuned = f"{name} has the best of {trials} sets of parameters" if trials else "use_case/model.py has no search()"
    beats = None if math.isnan(gain) else gain > 0 and gain >= gate.min_gain_over_rule
    found = [
        Finding("model-baseline", beats, f"{name} makes {worth} more than the rule"),
        _of_slices("model-slices", gate, measured, "no column of contract.yaml has the tag slice"),
        _of_slices(
            "model-inclusion",
            gate,
            [(each, metric) for each, metric in measured if each.column in about_people],
            "no slice is about people: its column would have a classification",
        ),
        Finding("model-tuned", trials > 1 if trials else None, tuned),
    ]
    costs = judged.verdict.footprint
    if own and costs:
        said = (
            f"with all features, {name} takes {costs.latency_ms:.2f} of {gate.max_latency_ms:g} ms of CPU time for a "
            f"row and {costs.size_mb:.1f} of {gate.max_size_mb:g} MB"
        )
        within = costs.latency_ms <= gate.max_latency_ms and costs.size_mb <= gate.max_size_mb
        found.append(Finding("data-cost", within, said))
    return found


def _of_slices(check: str, gate: Gate, measured: list[tuple[Slice, float | None]], without: str) -> Finding:
    """Every slice that has rows enough must reach the line, and one must have them."""
    known = [
        (each, metric)
        for each, metric in measured
        if metric is not None and not math.isnan(metric) and each.rows >= gate.slice_min_rows
    ]
    if not known:
        return Finding(check, None, without if not measured else f"no slice has {gate.slice_min_rows:,} rows")
    below = [
        f"{each.column} {each.value} {metric:.4f}"
        for each, metric in known
        if not gate.reaches(metric, gate.line_in_a_slice)
    ]
    said = f"{len(known)} of {len(measured)} slices have rows enough; "
    return Finding(check, not below, said + (f"behind the line: {', '.join(below)}" if below else "all reach the line"))
