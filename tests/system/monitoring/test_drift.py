"""The distance between two frames means the same whatever their size, and is unknown where it cannot be measured."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from evidently.presets import DataDriftPreset
from groundwork.documents.charter import Monitoring
from groundwork.documents.contract.column import Column
from groundwork.documents.pilot import Pilot
from groundwork.monitoring import drift as drift_module
from groundwork.monitoring.drift import DriftUnknown, measure
from groundwork.pipeline import by_hand
from other_tasks import Ran

LIMITS = Monitoring(window="month", drift_distance=0.1, max_drifted_share=0.2, min_rows=500)
NUMBERS = ["age", "score"]
random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "city": random.choice(["Rome", "Oslo"], 1000).astype(object),
        "age": random.normal(40, 10, 1000).astype(np.float32),
        "score": random.random(1000).astype(np.float32),
    }
)


def test_equal_data_have_no_distance_and_changed_data_have(tmp_path: Path) -> None:
    shifted = FRAME.assign(age=FRAME["age"] + 5, city="Rome")
    assert measure(FRAME, FRAME, NUMBERS, LIMITS, tmp_path / "equal.html").distances == {
        "city": 0,
        "age": 0,
        "score": 0,
    }
    changed = measure(FRAME, shifted, NUMBERS, LIMITS, tmp_path / "changed.html")
    assert sorted(changed.drifted) == ["age", "city"]
    assert changed.distances["age"] == pytest.approx(0.5, abs=0.05)  # in standard deviations
    assert changed.share == pytest.approx(2 / 3)


@pytest.mark.parametrize("rows", [900, 1100])
def test_the_measure_keeps_its_meaning_whatever_the_number_of_rows(rows: int, tmp_path: Path) -> None:
    """Evidently by itself turns from p-values to distances at a thousand rows."""
    reference = pd.concat([FRAME, FRAME]).head(rows)
    shifted = reference.assign(age=reference["age"] + 20)
    found = measure(reference, shifted, NUMBERS, LIMITS, tmp_path / "report.html")
    assert found.drifted == ["age"]
    assert found.distances["age"] == pytest.approx(2, abs=0.2)


def test_the_contract_says_what_is_a_number(tmp_path: Path) -> None:
    """Not its storage: codes that trade places are another mix of categories, and a small step between numbers."""
    codes = FRAME.assign(code=np.where(FRAME.index % 10 == 0, 1.0, 1000.0).astype(np.float32))
    swapped = FRAME.assign(code=np.where(FRAME.index % 10 == 0, 1000.0, 1.0).astype(np.float32))
    as_number = measure(codes, swapped, [*NUMBERS, "code"], LIMITS, tmp_path / "report.html")
    as_category = measure(codes, swapped, NUMBERS, LIMITS, tmp_path / "report.html")
    assert as_number.distances["code"] > 2
    assert 0 < as_category.distances["code"] <= 1
    column = {"name": "code", "description": "", "examples": [1]}
    for kind, tags, numeric in (
        ("integer", [], True),
        ("number", ["feature"], True),
        ("integer", ["feature", "categorical"], False),
        ("boolean", ["feature"], False),
        ("string", ["feature"], False),
    ):
        assert Column.model_validate(column | {"logicalType": kind, "tags": tags}).numeric == numeric


def test_unseen_categories_and_some_missing_values_can_be_measured(tmp_path: Path) -> None:
    current = FRAME.assign(city="Paris", age=FRAME["age"].where(FRAME.index % 2 == 0))
    assert measure(FRAME, current, NUMBERS, LIMITS, tmp_path / "report.html").drifted == ["city"]


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (FRAME.head(499), "499 rows, at least 500 are needed"),
        (FRAME.head(0), "0 rows, at least 500 are needed"),
        (FRAME.drop(columns="age"), "the column age is missing"),
        (FRAME.assign(age=np.nan), "the column age holds no values"),
        (FRAME.assign(city=None), "the column city holds no values"),
    ],
)
def test_what_cannot_be_measured_is_unknown(broken: pd.DataFrame, reason: str, swapped: bool, tmp_path: Path) -> None:
    """On either side."""
    reference, current = (broken, FRAME) if swapped else (FRAME, broken)
    side = "the training window" if swapped else "the logged predictions"
    with pytest.raises(DriftUnknown, match=f"{side}: {reason}"):
        measure(reference, current, NUMBERS, LIMITS, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_library_that_leaves_a_column_out_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(*, columns: list[str], **rest: Any) -> Any:
        return DataDriftPreset(columns=columns[:-1], **rest)

    monkeypatch.setattr(drift_module, "DataDriftPreset", forgetful)
    with pytest.raises(DriftUnknown, match="Evidently gave no distance for score"):
        measure(FRAME, FRAME, NUMBERS, LIMITS, tmp_path / "report.html")


def test_its_predictions_are_watched_for_drift(ran: Ran) -> None:
    done = by_hand.score(Pilot.here())
    assert done.rows > 5000
    drift = by_hand.monitor(Pilot.here())
    assert drift.status in ("ok", "drift")
    assert set(drift.distances) == {*ran.pilot.contract.dataset.feature_names, "score"}


SYLLABLES = [first + second for first in "bdfgklmnprst" for second in "aeiou"]


def notes(seed: int, rows: int = 1000, words: int = 8, shift: int = 0) -> list[str]:
    """Sentences of a language with many rare words, no two alike; with another `shift`, of another language."""
    chance = np.random.default_rng(seed)
    drawn = chance.zipf(1.4, (rows, words)) % 3000 + shift

    def word(number: int) -> str:
        return SYLLABLES[number % 60] + SYLLABLES[number // 60 % 60] + SYLLABLES[number // 3600 % 60]

    return [" ".join(map(word, row[: chance.integers(4, words + 1)])) for row in drawn]


def test_free_text_is_compared_by_its_length_and_its_unseen_words(tmp_path: Path) -> None:
    """As categories, two samples of the same texts have nothing in common."""
    before = FRAME.assign(note=np.array(notes(1), dtype=object))

    def distance(texts: list[str]) -> float:
        current = FRAME.assign(note=np.array(texts, dtype=object))
        measured = measure(before, current, NUMBERS, LIMITS, tmp_path / "report.html")
        assert set(measured.drifted) <= {"note"}
        return measured.distances["note"]

    assert distance(notes(2)) < LIMITS.drift_distance
    assert distance(notes(2, shift=100_000)) > 0.5  # another language
    assert distance(notes(2, words=20)) > 0.5  # longer texts
    assert distance(["", *notes(2)[1:500], *[""] * 500]) > 0.5  # half of them missing
    some_new = [text + " zug zwang" if row % 2 else text for row, text in enumerate(notes(2))]
    assert distance(some_new) > LIMITS.drift_distance


def test_many_categories_that_recur_are_no_free_text(tmp_path: Path) -> None:
    names = np.array([f"place {number % 50}" for number in range(1000)], dtype=object)
    found = measure(
        FRAME.assign(place=names), FRAME.assign(place=names[:1].repeat(1000)), NUMBERS, LIMITS, tmp_path / "report.html"
    )
    assert found.drifted == ["place"]
    assert found.distances["place"] <= 1  # a distance of categories, because "place 0" has neither new words nor length
    alike = FRAME.assign(place=np.array(notes(1), dtype=object), note=np.array(notes(2), dtype=object))
    texts = measure(alike, alike, NUMBERS, LIMITS, tmp_path / "report.html")
    assert texts.distances == dict.fromkeys(alike, 0)
