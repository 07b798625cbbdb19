"""The model accepts the contract's features, including missing speeds and unseen species."""

import numpy as np
import pandas as pd
import pytest

from use_case import model

pytestmark = pytest.mark.proves("infra-spec")

ROWS = 300
random = np.random.default_rng(0)
TEXTS = {
    "aircraft": ["B-737", "MD-80"],
    "operator": ["UNITED AIRLINES", "BUSINESS"],
    "state": ["Texas", "Ohio"],
    "phase": ["Climb", "Approach"],
    "wildlife_size": ["Small", "Large"],
    "species": ["Gull", "Deer"],
    "time_of_day": ["Day", "Night"],
}
STRIKES = pd.DataFrame({name: random.choice(values, ROWS).astype(object) for name, values in TEXTS.items()}).assign(
    speed_knots=random.uniform(60, 250, ROWS).astype(np.float32)
)
SUBSTANTIAL = ((STRIKES["wildlife_size"] == "Large") & (STRIKES["phase"] == "Climb")).to_numpy()


def test_learns_what_there_is_to_learn() -> None:
    scores = model.build().fit(STRIKES, SUBSTANTIAL).predict_proba(STRIKES)[:, 1]
    assert scores[SUBSTANTIAL].min() > scores[~SUBSTANTIAL].max()


@pytest.mark.parametrize("unusual", [{"species": "never seen"}, {"speed_knots": np.nan}])
@pytest.mark.proves("monitor-numerics")
def test_copes_with_missing_values_and_unseen_species(unusual: dict) -> None:
    row = STRIKES.head(1).assign(**unusual).astype(STRIKES.dtypes)
    assert np.isfinite(model.build().fit(STRIKES, SUBSTANTIAL).predict_proba(row)).all()
