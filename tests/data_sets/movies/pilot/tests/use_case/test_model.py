"""The model accepts the contract's features, including missing values, unseen categories and empty titles."""

import numpy as np
import pandas as pd
import pytest

from use_case import model

pytestmark = pytest.mark.proves("infra-spec")

ROWS = 200
random = np.random.default_rng(0)
FILMS = pd.DataFrame(
    {
        "title": random.choice(["A Day at the Zoo", "The Knife", "The Zoo and the Knife"], ROWS).astype(object),
        "distributor": random.choice(["Warner Bros.", ""], ROWS).astype(object),
        "origin": np.full(ROWS, "", dtype=object),
        "genre": random.choice(["Comedy", "Horror"], ROWS).astype(object),
        "creative_type": np.full(ROWS, "Kids Fiction", dtype=object),
        "budget": np.where(random.random(ROWS) < 0.1, np.nan, random.uniform(1e6, 1e8, ROWS)).astype(np.float32),
    }
)
RATINGS = np.where(FILMS["title"].str.contains("Knife"), 0, 3)


def test_learns_from_words_of_the_title() -> None:
    assert (model.build().fit(FILMS, RATINGS).predict(FILMS) == RATINGS).all()


@pytest.mark.parametrize("unusual", [{"title": ""}, {"title": "Élan"}, {"genre": "never seen"}, {"budget": np.nan}])
@pytest.mark.proves("monitor-numerics")
def test_copes_with_missing_values_and_unseen_categories(unusual: dict) -> None:
    film = FILMS.head(1).assign(**unusual).astype(FILMS.dtypes)
    assert np.isfinite(model.build().fit(FILMS, RATINGS).predict_proba(film)).all()
