"""Finds features that the model does not need."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from groundwork.core.progress import track
from groundwork.documents.pilot import Pilot
from groundwork.models.evaluation.ageing import parameters_of
from groundwork.models.evaluation.estimates import SEED, Decisions, Estimate, gain
from groundwork.models.evaluation.performance import decided, performance
from groundwork.models.registry.version import Version
from groundwork.models.serving.predictor import pipeline_scores
from groundwork.models.training.fit import fit
from groundwork.models.training.history import Examples


@dataclass(frozen=True)
class Dropped:
    """The loss when the model is trained without a feature: in money per 1,000 decisions, and in the metric."""

    feature: str
    value_per_1000: Estimate
    metric: float

    @property
    def needed(self) -> bool:
        """Whether the loss of money is significant at the charter's confidence."""
        return self.value_per_1000.lower > 0


def drop_one_by_one(pilot: Pilot, version: Version, training: Examples, evaluation: Examples) -> Iterator[Dropped]:
    """Train without each feature in turn, and yield the losses.

    The feature's values are shuffled among the rows before the model is fitted, so that they carry no information. The
    column is not removed or set to a constant, because many pipelines fail on that.
    """
    parameters, dataset = parameters_of(version), pilot.contract.dataset

    def made(without: str | None) -> Decisions:
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
    """Return the features that are not needed, in words."""
    idle = [each.feature for each in dropped if not each.needed]
    return (
        f"training without any one of these features loses no significant gain: {', '.join(idle)}"
        if idle
        else "every feature is needed"
    )
