"""Parity of served and trained: a conversion must give the pipeline's scores and decisions on all rows it may meet."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from groundwork.models.packaging.probes import Probe
from groundwork.models.serving.predictor import TOLERANCE

Decide = Callable[[NDArray[np.float32], pd.DataFrame], NDArray[np.str_]]  # scores, and the inputs they are for
Score = Callable[[pd.DataFrame], NDArray]

_NAMED = 3  # kinds of rows that a message describes


class NotEqual(Exception):
    """The converted model gives other scores or decisions than the pipeline."""


@dataclass
class Compared:
    """How the converted model's scores differ from the pipeline's, on the rows of one kind."""

    kind: str
    rows: int = 0
    difference: float = 0.0  # the largest one; NaN if the converted model gave no number
    decisions: int = 0  # decisions that differ
    beyond: int = 0  # rows whose difference is beyond the tolerance
    error: str = ""  # of the converted model

    @property
    def equal(self) -> bool:
        return not (self.beyond or self.decisions or self.error)

    def __str__(self) -> str:
        if self.error:
            return f"{self.kind}: the conversion fails ({self.error})"
        return (
            f"{self.kind}: {self.beyond:,} of {self.rows:,} rows differ, by up to {self.difference:.2g}, "
            f"and {self.decisions:,} decisions"
        )


def prove_equal(
    probes: Iterable[list[Probe]], original: Score, converted: Score, decide: Decide, scale: float | None = None
) -> str:
    """Return the comparison of the converted model with the pipeline on these rows, in words.

    A score may differ by TOLERANCE if it is a probability, and by that part of `scale`, or of the score if that is
    larger, if it is a quantity. Raises NotEqual, which names the kinds of rows, if a score differs by more or if any
    decision differs. Rows for which the pipeline raises or gives no finite score have no right answer: they are not
    compared, and the result names them.
    """
    compared: list[Compared] = []
    unanswered: list[str] = []
    for group in probes:
        for (kind, frame), scores in zip(group, _answers(original, group), strict=True):
            if isinstance(scores, Exception):
                unanswered.append(f"{kind} ({summary(scores)[:100]})")
                continue
            finite = np.isfinite(scores.reshape(len(scores), -1)).all(1)
            if not finite.all():
                unanswered.append(kind)
            if finite.any():
                compared.append(_compare(kind, frame[finite], scores[finite], converted, decide, scale))
    rows = sum(each.rows for each in compared)
    different = sorted((each for each in compared if not each.equal), key=lambda each: (-each.decisions, -each.beyond))
    if different:
        raise NotEqual(f"of {rows:,} rows that the contract allows: {_listed(list(map(str, different)), '; ')}")
    said = f"largest difference {max(each.difference for each in compared):.1e}, 0 decisions differ, on {rows:,} rows"
    if unanswered:
        said += f"; the pipeline itself gives no score for: {_listed(unanswered)}"
    return f"proven equal to the pipeline: {said}"


def summary(error: Exception) -> str:
    """Return the type and the message of an error in one short line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _answers(score: Score, group: list[Probe]) -> list[NDArray | Exception]:
    """Return the scores of each probe, or the error. One call for all is tried first, because it is faster."""
    try:
        scores = score(pd.concat([probe.frame for probe in group], ignore_index=True)).astype(np.float32)
        return np.split(scores, np.cumsum([len(probe.frame) for probe in group])[:-1])
    except Exception as error:
        if len(group) == 1:
            return [error]
        return [answer for probe in group for answer in _answers(score, [probe])]


def _compare(
    kind: str, frame: pd.DataFrame, scores: NDArray, converted: Score, decide: Decide, scale: float | None
) -> Compared:
    try:
        found = converted(frame)
    except Exception as error:
        return Compared(kind, len(frame), float("nan"), error=summary(error)[:200])
    difference = np.abs(found.astype(np.float64) - scores)
    allowed = TOLERANCE if scale is None else TOLERANCE * np.maximum(max(1.0, scale), np.abs(scores, dtype=np.float64))
    beyond = ~(difference <= allowed)
    return Compared(
        kind=kind,
        rows=len(frame),
        difference=float(difference.max()),
        decisions=int((decide(found, frame) != decide(scores, frame)).sum()),
        beyond=int(beyond.reshape(len(frame), -1).any(1).sum()),
    )


def _listed(kinds: list[str], between: str = ", ") -> str:
    others = f"{between}and {len(kinds) - _NAMED} more kinds of rows" if len(kinds) > _NAMED else ""
    return between.join(kinds[:_NAMED]) + others
