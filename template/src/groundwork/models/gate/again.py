"""Judges the versions that count by the gate once more, and changes nothing: neither a version nor the champion."""

from dataclasses import dataclass
from typing import Any

from groundwork.core.errors import BundleError, NoChampion
from groundwork.documents.pilot import Pilot
from groundwork.models.gate.judgement import judge_version
from groundwork.models.registry.registry import Registry
from groundwork.models.training.history import read_history


@dataclass(frozen=True, kw_only=True)
class JudgedAgain:
    """What the gate says of a version now; `passed` is None if the version cannot be judged, for the `reason`."""

    version: str
    champion: bool
    passed: bool | None
    reason: str = ""
    evidence: dict[str, Any]  # as `Judgement.evidence` returns it


def judge_again(pilot: Pilot) -> list[JudgedAgain]:
    """Judge the champion and the newest version on the newest window, as `train` would, and store nothing.

    Raises NoChampion if there is no version at all, NotEnoughData if there are too few rows.
    """
    registry = Registry(pilot)
    champion, newest = registry.champion(), registry.newest()
    versions = {each.number: each for each in (champion, newest) if each}
    if not versions:
        raise NoChampion(f"{registry.name} has no version yet: run `groundwork train`")
    history = read_history(pilot)
    found = []
    for number, version in versions.items():
        serves = champion is not None and champion.number == number
        try:
            judged = judge_version(pilot, registry, version, history.evaluation)
        except BundleError as error:
            found.append(JudgedAgain(version=number, champion=serves, passed=None, reason=str(error), evidence={}))
            continue
        evidence = judged.evidence(pilot, history)
        found.append(JudgedAgain(version=number, champion=serves, passed=judged.verdict.passed, evidence=evidence))
    return found
