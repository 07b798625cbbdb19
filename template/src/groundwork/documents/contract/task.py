"""What is predicted: yes or no, one of several classes, or a quantity. The type of the contract's outcome decides."""

import json
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

Kind = Literal["binary", "multiclass", "regression"]

# The metrics that the gate knows, per kind of outcome.
METRICS: dict[Kind, tuple[str, ...]] = {
    "binary": ("roc_auc", "average_precision"),
    "multiclass": ("accuracy", "macro_f1", "log_loss"),
    "regression": ("mae", "rmse"),
}
LOWER_IS_BETTER = ("log_loss", "mae", "rmse")


class Task(BaseModel):
    """The kind of outcome, and what follows from it for outcomes and scores.

    A score is the probability of yes, the predicted quantity, or one probability per class, in the order of `classes`.
    """

    model_config = ConfigDict(frozen=True)

    kind: Kind = "binary"
    classes: tuple[str, ...] = ()  # of a multiclass outcome, in the contract's order

    def outcomes(self, values: Sequence[Any]) -> NDArray:
        """Known outcomes as `decision.value` takes them: booleans, names of classes, or float64."""
        return np.array(values, dtype={"binary": bool, "multiclass": str, "regression": np.float64}[self.kind])

    def targets(self, outcomes: NDArray) -> NDArray:
        """The outcomes as a model learns them: 0 and 1, the places of the classes, or float32."""
        if self.kind == "multiclass":
            place = {name: number for number, name in enumerate(self.classes)}
            return np.array([place[str(outcome)] for outcome in outcomes], dtype=np.int64)
        return outcomes.astype(np.int64 if self.kind == "binary" else np.float32)

    def shape(self, rows: int) -> tuple[int, ...]:
        """The shape of the scores of so many rows."""
        return (rows, len(self.classes)) if self.kind == "multiclass" else (rows,)

    def predicted(self, scores: NDArray) -> NDArray:
        """What the scores say: the name of the likeliest class, else the scores themselves."""
        return np.array(self.classes, dtype=object)[scores.argmax(1)] if self.kind == "multiclass" else scores

    def logged(self, scores: NDArray) -> tuple[list[float | None], list[str | None]]:
        """Per row, what the prediction log keeps: the score, or all of them as a JSON object by class."""
        if self.kind != "multiclass":
            return scores.tolist(), [None] * len(scores)
        return [None] * len(scores), [json.dumps(dict(zip(self.classes, row, strict=True))) for row in scores.tolist()]


BINARY = Task()
