"""The model accepts the contract's features, including missing and unseen values."""

import numpy as np
import pandas as pd
import pytest

from use_case import model

pytestmark = pytest.mark.proves("infra-spec")

ROWS = 400
random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "carrier": random.choice(["AA", "B6", "UA"], ROWS).astype(object),
        "distance_miles": random.uniform(100, 3000, ROWS).astype(np.float32),
        "departure_minute": random.integers(0, 1440, ROWS).astype(np.float32),
    }
)
LATE = FRAME["departure_minute"].to_numpy() + random.normal(0, 100, ROWS) > 1000


def test_learns_what_there_is_to_learn() -> None:
    scores = model.build().fit(FRAME, LATE).predict_proba(FRAME)[:, 1]
    assert scores[LATE].mean() > 0.7 > 0.3 > scores[~LATE].mean()


def test_the_same_data_make_the_same_model() -> None:
    first, second = (model.build().fit(FRAME, LATE).predict_proba(FRAME) for _ in range(2))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    "unusual", [{"carrier": "never seen"}, {"carrier": ""}, {"distance_miles": np.nan, "departure_minute": np.nan}]
)
@pytest.mark.proves("monitor-numerics")
def test_copes_with_missing_values_and_unseen_categories(unusual: dict) -> None:
    row = FRAME.head(1).assign(**unusual).astype(FRAME.dtypes)
    [[_, score]] = model.build().fit(FRAME, LATE).predict_proba(row)
    assert 0 <= score <= 1
