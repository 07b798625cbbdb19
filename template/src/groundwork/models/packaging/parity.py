"""Parity of served and trained: a conversion must give the pipeline's scores and decisions on all rows it may meet."""

from collections.abc import Callable, Iterable, Sequence
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
    """The converted model gives other scores or decisions than the pipeline; the message names the kinds of rows."""


@dataclass
class Compared:
    """How the converted model's scores differ from the pipeline's, on the rows of one kind."""

    kind: str
    rows: int = 0
    difference: float = 0.0  # the largest one, of a quantity as a part of it; NaN if the converted model gave no number
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


@dataclass
class Comparison:
    """The rows compared, by kind, and the kinds for which the pipeline itself gives no score."""

    kinds: list[Compared]
    unanswered: list[str]

    @property
    def rows(self) -> int:
        return sum(each.rows for each in self.kinds)

    @property
    def difference(self) -> float:
        """The largest difference of a score; NaN if the converted model gave no number."""
        return float(np.max([each.difference for each in self.kinds]))


def compare(
    probes: Iterable[list[Probe]], original: Score, converted: Score, decide: Decide, scale: float | None = None
) -> Comparison:
    """Return how the converted model's scores and decisions differ from the pipeline's on these rows.

    A score may differ by TOLERANCE. The difference of a quantity is taken as a part of `scale`, or of the score if that
    is larger. Rows for which the pipeline raises or gives no finite score are not compared: for them
    there is no right answer.
    """
    made = Comparison([], [])
    for group in probes:
        for (kind, frame), scores in zip(group, _answers(original, group), strict=True):
            if isinstance(scores, Exception):
                made.unanswered.append(f"{kind} ({summary(scores)[:100]})")
                continue
            finite = np.isfinite(scores.reshape(len(scores), -1)).all(1)
            if not finite.all():
                made.unanswered.append(kind)
            if finite.any():
                made.kinds.append(_compare(kind, frame[finite], scores[finite], converted, decide, scale))
    return made


def prove_equal(made: Comparison) -> str:
    """Return the comparison in words.

    Raises NotEqual, which names the kinds of rows, if a score differs by more than it may or if any decision differs.
    """
    different = sorted(
        (each for each in made.kinds if not each.equal), key=lambda each: (-each.decisions, -each.beyond)
    )
    if different:
        raise NotEqual(
            f"the conversion gives other answers for {len(different)} of {len(made.kinds)} kinds of rows that the "
            f"contract allows ({made.rows:,} rows tried): {_listed(list(map(str, different)), '; ')}"
        )
    said = f"largest difference {made.difference:.1e}, 0 decisions differ, on {made.rows:,} rows"
    if made.unanswered:
        said += f"; the pipeline itself gives no score for: {_listed(made.unanswered)}"
    return f"proven equal to the pipeline: {said}"


def summary(error: Exception) -> str:
    """Return the error in one short line."""
    if isinstance(error, NotEqual):
        return str(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _answers(score: Score, group: list[Probe]) -> Sequence[NDArray | Exception]:
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
    if scale is not None:
        difference /= np.maximum(max(1.0, scale), np.abs(scores, dtype=np.float64))
    beyond = ~(difference <= TOLERANCE)
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
