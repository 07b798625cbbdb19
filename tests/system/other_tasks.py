"""Pilots that predict one of several classes, or a quantity: the whole way, where the example decides yes or no."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import ibis
import numpy as np
import pytest
import yaml
from groundwork.documents.contract.column import Task
from groundwork.documents.pilot import Pilot
from groundwork.models.training.train import Trained
from groundwork.pipeline import by_hand
from pilots import enter, write_pilot
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline
from use_case import decision, model, source

build_example, rows_of_flights = model.build, source.rows
CLASSES = ("on time", "late", "early")  # in no order but the contract's


class Variant(NamedTuple):
    """What a team would write to predict something else, and what follows from it."""

    task: Task
    outcome: dict[str, Any]
    gate: dict[str, Any]
    unreachable: dict[str, Any]
    refused: str
    told: Callable[[Any, Any], Any]  # the outcome, of whether a flight was late and when it left
    build: Callable[[], Pipeline]
    decide: Callable[..., Any]
    value: Callable[..., Any]
    outcomes: list[Any]
    no_outcomes: list[Any]


def small(estimator: type) -> Callable[[], Pipeline]:
    """The example's pipeline with another model at its end, which is quickly fitted over and over."""
    return lambda: Pipeline([*build_example().steps[:-1], ("model", estimator(max_iter=20, random_state=0))])


def class_told(late: Any, minute: Any) -> Any:
    known = ibis.cases((late, "late"), (minute < 600, "early"), else_="on time")
    return ibis.ifelse(late.isnull(), ibis.null("string"), known)


MULTICLASS = Variant(
    task=Task(kind="multiclass", classes=CLASSES),
    outcome={
        "logicalType": "string",
        "examples": ["early"],
        "quality": [{"metric": "invalidValues", "arguments": {"validValues": list(CLASSES)}, "mustBe": 0}],
    },
    gate={"metric": "log_loss", "minimum": None, "maximum": 0.9},
    unreachable={"maximum": 0.01},
    refused="log_loss: required at most 0.01, found 0.",
    told=class_told,
    build=small(HistGradientBoostingClassifier),
    decide=lambda scores, worth: np.where(scores[:, 1] * worth["benefitPerHit"] >= 120, "replan", "keep"),
    value=lambda decisions, outcomes, worth: (decisions == "replan") * ((outcomes == "late") * 400.0 - 120),
    outcomes=["late", "on time"],
    no_outcomes=[True, 1, "Late", None],
)
REGRESSION = Variant(
    task=Task(kind="regression"),
    outcome={"logicalType": "number", "logicalTypeOptions": {"minimum": 0}, "examples": [12.5]},
    gate={"metric": "mae", "minimum": None, "maximum": 25, "maxMetricLoss": 1},
    unreachable={"maximum": 0.5},
    refused="mae: required at most 0.5, found ",
    told=lambda late, minute: late.cast("float64") * 40 + minute / 60,
    build=small(HistGradientBoostingRegressor),
    decide=lambda scores, worth: np.where(scores >= 25, "replan", "keep"),
    value=lambda decisions, outcomes, worth: (decisions == "replan") * ((outcomes >= 40) * 400.0 - 120),
    outcomes=[12, 0.5],
    no_outcomes=[True, "late", -1, None],
)


class Ran(NamedTuple):
    """A pilot of that kind after its first training."""

    variant: Variant
    pilot: Pilot
    trained: Trained


@contextmanager
def use_case_of(variant: Variant, home: Path) -> Iterator[Pilot]:
    """The pilot in this folder, and the use case's code as such a team would write it."""

    def rows(backend: ibis.BaseBackend, start: datetime, end: datetime) -> ibis.Table:
        known = rows_of_flights(backend, start, end)
        return known.mutate(late=variant.told(known.late, known.departure_minute))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "rows", rows)
        patch.setattr(model, "build", variant.build)
        patch.setattr(decision, "decide", variant.decide)
        patch.setattr(decision, "value", variant.value)
        yield enter(home, patch)


VARIANTS = {"multiclass": MULTICLASS, "regression": REGRESSION}


def first_training(kind: str, home: Path, flights: Path) -> Ran:
    """Make a pilot of that kind in a new folder."""
    variant = VARIANTS[kind]
    write_pilot(home, flights)
    change(home / "contract.yaml", "schema.0.properties.-1", variant.outcome)
    change(home / "charter.yaml", "gate", variant.gate)
    with use_case_of(variant, home) as pilot:
        by_hand.ingest(pilot)
        return Ran(variant, pilot, by_hand.train(pilot))


def change(document: Path, path: str, values: dict[str, Any]) -> None:
    """Set keys of a part of a document; None takes one away."""
    content = yaml.safe_load(document.read_text(encoding="utf-8"))
    part = content
    for step in path.split("."):
        part = part[int(step) if step.lstrip("-").isdigit() else step]
    part.update(values)
    for key in [key for key, value in part.items() if value is None]:
        del part[key]
    document.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
