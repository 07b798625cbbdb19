"""The model takes the contract's features as they come."""

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
        "departure_minute": random.integers(0, 1440, ROWS).astype(np.float32),
    }
)
MINUTES = (FRAME["departure_minute"].to_numpy() / 20 + random.uniform(0, 5, ROWS)).astype(np.float32)


def test_learns_what_there_is_to_learn() -> None:
    predicted = model.build().fit(FRAME, MINUTES).predict(FRAME)
    assert np.abs(predicted - MINUTES).mean() < 5 < np.abs(MINUTES - MINUTES.mean()).mean()


@pytest.mark.parametrize("unusual", [{"carrier": "never seen"}, {"carrier": ""}, {"departure_minute": np.nan}])
@pytest.mark.proves("monitor-numerics")
def test_copes_with_missing_values_and_unseen_categories(unusual: dict) -> None:
    row = FRAME.head(1).assign(**unusual).astype(FRAME.dtypes)
    [predicted] = model.build().fit(FRAME, MINUTES).predict(row)
    assert np.isfinite(predicted)
