"""The most likely rating is booked, and its money is counted as in the charter."""

import numpy as np

from use_case import decision

WORTH = {"benefitPerHit": 5000.0, "costPerAction": 2500.0}


def test_books_for_the_most_likely_rating() -> None:
    scores = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.2, 0.3, 0.4]], dtype=np.float32)
    assert decision.decide(scores, WORTH).tolist() == ["R", "G"]


def test_money_of_a_right_and_a_wrong_booking() -> None:
    assert decision.value(np.array(["R", "G"]), np.array(["R", "R"]), WORTH).tolist() == [2500, -2500]
