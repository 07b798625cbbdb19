"""The model accepts the contract's features, including missing values and unseen cities."""

import numpy as np
import pandas as pd
import pytest

from use_case import model

pytestmark = pytest.mark.proves("infra-spec")

ROWS = 200
random = np.random.default_rng(0)
PAST = ["last_median", "earlier_median", "year_ago_median", "half_year_mean", "last_sales", "last_inventory"]
MONTHS = pd.DataFrame({name: random.uniform(50_000, 200_000, ROWS).astype(np.float32) for name in PAST}).assign(
    city=random.choice(["Abilene", "Waco"], ROWS).astype(object),
    month=random.integers(1, 13, ROWS).astype(np.float32),
)
PRICES = (MONTHS["last_median"] * 1.02).to_numpy()


def test_learns_what_there_is_to_learn() -> None:
    assert np.abs(model.build().fit(MONTHS, PRICES).predict(MONTHS) - PRICES).mean() < 1_000


@pytest.mark.parametrize("unusual", [{"city": "never seen"}, dict.fromkeys(PAST, np.nan)])
@pytest.mark.proves("monitor-numerics")
def test_copes_with_missing_values_and_unseen_cities(unusual: dict) -> None:
    row = MONTHS.head(1).assign(**unusual).astype(MONTHS.dtypes)
    assert np.isfinite(model.build().fit(MONTHS, PRICES).predict(row)).all()
