"""Models of LightGBM and XGBoost are served as ONNX too; runs where the dependency group `boosting` is installed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from groundwork.packaging import pack
from groundwork.predictor import TOLERANCE, Predictor

ROWS = 2000
random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "city": random.choice(["Rome", "Oslo", "Bonn"], ROWS).astype(object),
        "age": np.where(random.random(ROWS) < 0.2, np.nan, random.integers(18, 90, ROWS)).astype(np.float32),
    }
)
LATE = (FRAME["age"].fillna(20) + 30 * (FRAME["city"] == "Rome")).to_numpy() + random.normal(0, 10, ROWS) > 60


def model(library: str) -> Pipeline:
    found = pytest.importorskip(library, reason="needs `uv sync --group boosting`")
    classifier = {"lightgbm": "LGBMClassifier", "xgboost": "XGBClassifier"}[library]
    encode = make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]), remainder="passthrough"
    )
    return make_pipeline(
        encode, getattr(found, classifier)(n_estimators=40, verbosity=0 if library == "xgboost" else -1)
    )


@pytest.mark.parametrize("library", ["lightgbm", "xgboost"])
def test_is_served_as_onnx_with_nulls_and_unseen_categories_proven_equal(library: str, tmp_path: Path) -> None:
    trained = model(library).fit(FRAME, LATE)
    asked = FRAME.assign(city=np.where(np.arange(ROWS) % 10, FRAME["city"], "Nowhere").astype(object))
    bundle = pack(trained, asked, lambda scores: np.where(scores >= 0.3, "act", "keep"), tmp_path)
    assert bundle.format == "onnx", bundle.reason
    scores = Predictor(tmp_path, bundle.sha256, list(asked)).scores({name: asked[name].to_numpy() for name in asked})
    np.testing.assert_allclose(scores, trained.predict_proba(asked)[:, 1], rtol=0, atol=TOLERANCE)
