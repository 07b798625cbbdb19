"""How a challenger decides in the champion's shadow, on the same records."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from groundwork.store.predictions import Prediction


@dataclass(frozen=True)
class Shadow:
    """A challenger compared with the champion: the records that both decided, and the number of equal decisions."""

    model_version: str
    rows: int
    same_decisions: int

    @property
    def agreement(self) -> float:
        return self.same_decisions / self.rows


def compare(predictions: Iterable[Prediction]) -> list[Shadow]:
    """Return one comparison per challenger; predictions are paired by entity key and event time."""
    answered: dict[tuple[str, str], Prediction] = {}
    shadows: dict[str, list[Prediction]] = defaultdict(list)
    for prediction in predictions:
        if prediction.role == "champion":
            answered[prediction.entity_key, prediction.event_time] = prediction
        elif prediction.role == "shadow":
            shadows[prediction.model_version].append(prediction)
    compared = []
    for version, cast in shadows.items():
        pairs = [(each, answered.get((each.entity_key, each.event_time))) for each in cast]
        both = [(shadow, champion) for shadow, champion in pairs if champion is not None]
        if both:
            same = sum(shadow.decision == champion.decision for shadow, champion in both)
            compared.append(Shadow(version, len(both), same))
    return compared
