"""Which features a model could do without."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from groundwork.core.progress import track
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import parameters_of
from groundwork.models.evaluation.estimates import SEED, Decided, Estimate, gain
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.registry.version import Version
from groundwork.models.serving.predictor import pipeline_scores
from groundwork.models.training.fit import fit
from groundwork.models.training.history import Examples


@dataclass(frozen=True)
class Dropped:
    """What is lost when the model is trained without a feature."""

    feature: str
    value_per_1000: Estimate
    metric: float

    @property
    def needed(self) -> bool:
        """Whether it is more than chance that the decisions make less money without it."""
        return self.value_per_1000.lower > 0


def drop_one_by_one(pilot: Pilot, version: Version, training: Examples, evaluation: Examples) -> Iterator[Dropped]:
    """Train without one feature after the other.

    Its values are shuffled among the rows before the model is fitted, so that they say nothing about any row: a column
    that is missing, or is the same everywhere, is more than many a pipeline can take.
    """
    parameters, dataset = parameters_of(version), pilot.contract.dataset

    def made(without: str | None) -> Decided:
        def blind(rows: Examples) -> Examples:
            if without is None:
                return rows
            shuffled = np.random.default_rng(SEED).permutation(rows.columns[without])
            return replace(rows, columns=rows.columns | {without: shuffled})

        model, _ = fit(blind(training), dataset, parameters)
        scores = pipeline_scores(model, blind(evaluation).frame, dataset.task).astype(np.float32)
        return decided(pilot, scores, evaluation)

    whole = made(None)
    metric = performance(pilot, whole, evaluation).metric
    for name in track("features", list(training.columns)):
        without = made(name)
        yield Dropped(
            name,
            gain(whole, without, pilot.charter.gate.confidence),
            pilot.charter.gate.loss(metric - performance(pilot, without, evaluation).metric),
        )


def describe_features(dropped: list[Dropped]) -> str:
    idle = [each.feature for each in dropped if not each.needed]
    return (
        f"leaving out any one of these loses no more than chance: {', '.join(idle)}"
        if idle
        else "every feature is needed"
    )
