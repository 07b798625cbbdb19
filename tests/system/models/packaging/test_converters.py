"""Models of LightGBM, XGBoost and PyTorch are served as ONNX too; each test runs where the library is installed."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from described import described
from groundwork.documents.contract.column import Task
from groundwork.models.packaging import converters
from groundwork.models.packaging.pack import pack
from groundwork.models.serving.predictor import TOLERANCE, Predictor
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

ROWS = 2000
random = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "city": random.choice(["Rome", "Oslo", ""], ROWS).astype(object),
        "age": np.where(random.random(ROWS) < 0.2, np.nan, random.integers(18, 90, ROWS)).astype(np.float32),
    }
)
LATE = (FRAME["age"].fillna(20) + 30 * (FRAME["city"] == "Rome")).to_numpy() + random.normal(0, 10, ROWS) > 60
ASKED = FRAME.assign(city=np.where(np.arange(ROWS) % 10, FRAME["city"], "Nowhere").astype(object))

WINDOWS = {"the newest window": ASKED}


def lightgbm() -> Pipeline:
    library = pytest.importorskip("lightgbm", reason="needs `uv sync --group boosting`")
    return make_pipeline(ordinal(), library.LGBMClassifier(n_estimators=40, verbosity=-1))


def xgboost() -> Pipeline:
    library = pytest.importorskip("xgboost", reason="needs `uv sync --group boosting`")
    return make_pipeline(ordinal(), library.XGBClassifier(n_estimators=40, verbosity=0))


def torch() -> Pipeline:
    """A network with an answer per class."""
    skorch = pytest.importorskip("skorch", reason="needs torch, skorch and onnxscript")
    return make_pipeline(one_hot(), network(skorch.NeuralNetClassifier, outputs=2, criterion="CrossEntropyLoss"))


def torch_of_one_output() -> Pipeline:
    """A network with one answer, in a class of the team's own: skorch's wants the outcomes as float32."""
    skorch = pytest.importorskip("skorch", reason="needs torch, skorch and onnxscript")

    class Binary(skorch.NeuralNetBinaryClassifier):
        def fit(self, X: Any, y: Any, **parameters: Any) -> Any:
            return super().fit(X, y.astype(np.float32), **parameters)

    return make_pipeline(one_hot(), network(Binary, outputs=1, criterion="BCEWithLogitsLoss"))


def lightgbm_regressor() -> Pipeline:
    library = pytest.importorskip("lightgbm", reason="needs `uv sync --group boosting`")
    return make_pipeline(ordinal(), library.LGBMRegressor(n_estimators=40, verbosity=-1))


def xgboost_regressor() -> Pipeline:
    library = pytest.importorskip("xgboost", reason="needs `uv sync --group boosting`")
    return make_pipeline(ordinal(), library.XGBRegressor(n_estimators=40, verbosity=0))


def torch_regressor() -> Pipeline:
    """A network for a quantity, in a class of the team's own: skorch's wants the outcomes as a column."""
    skorch = pytest.importorskip("skorch", reason="needs torch, skorch and onnxscript")

    class Regressor(skorch.NeuralNetRegressor):
        def fit(self, X: Any, y: Any, **parameters: Any) -> Any:
            return super().fit(X, y.reshape(-1, 1), **parameters)

    return make_pipeline(one_hot(), network(Regressor, outputs=1, criterion="MSELoss"))


def network(kind: Any, outputs: int, criterion: str) -> Any:
    from torch import manual_seed, nn

    manual_seed(0)
    layers = (nn.LazyLinear(16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, outputs))
    return kind(nn.Sequential(*layers), criterion=getattr(nn, criterion), max_epochs=3, lr=0.1, verbose=0)


def ordinal() -> Any:
    return make_column_transformer(
        (OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city"]), remainder="passthrough"
    )


def one_hot() -> Any:
    return make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32), ["city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["age"]),
    )


@pytest.mark.slow
@pytest.mark.parametrize("build", [lightgbm, xgboost, torch, torch_of_one_output])
def test_is_served_as_onnx_with_nulls_and_unseen_categories_proven_equal(build: Any, tmp_path: Path) -> None:
    trained = build().fit(FRAME, LATE.astype(np.int64))
    bundle = pack(
        trained, WINDOWS, lambda scores, _: np.where(scores >= 0.3, "act", "keep"), tmp_path, described(ASKED)
    )
    assert bundle.format == "onnx", bundle.reason
    predictor = Predictor(tmp_path, bundle.sha256, list(ASKED))
    expected = trained.predict_proba(ASKED)[:, 1]
    assert expected.std() > 0.05  # it has learnt something to be wrong about
    for rows in (1, 7, ROWS):
        scores = predictor.scores({name: ASKED[name].to_numpy()[:rows] for name in ASKED})
        np.testing.assert_allclose(scores, expected[:rows], rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("build", [lightgbm_regressor, xgboost_regressor, torch_regressor])
def test_a_quantity_is_served_as_onnx_too(build: Any, tmp_path: Path) -> None:
    task = Task(kind="regression")
    trained = build().fit(FRAME, (FRAME["age"].fillna(20) / 100 + LATE).to_numpy(np.float32))
    bundle = pack(
        trained, WINDOWS, lambda scores, _: np.where(scores >= 1, "act", "keep"), tmp_path, described(ASKED, task)
    )
    assert bundle.format == "onnx", bundle.reason
    expected = trained.predict(ASKED).ravel()
    assert expected.std() > 0.05
    scores = Predictor(tmp_path, bundle.sha256, list(ASKED), task).scores(
        {name: ASKED[name].to_numpy() for name in ASKED}
    )
    np.testing.assert_allclose(scores, expected, rtol=TOLERANCE, atol=TOLERANCE)


def test_the_reference_of_a_torch_network_is_computed_in_float32_on_the_cpu() -> None:
    """Whatever precision the process asks for; the network itself stays as it is."""
    trained = torch().fit(FRAME, LATE.astype(np.int64))
    from torch import autocast, bfloat16, float32

    plain = trained.predict_proba(ASKED)
    with autocast("cpu", dtype=bfloat16), converters.exact_arithmetic(trained) as model:
        assert model is trained
        np.testing.assert_array_equal(model.predict_proba(ASKED), plain)
    network = trained[-1].module_.to(bfloat16)
    with converters.exact_arithmetic(trained) as model:
        assert all(each.dtype == float32 for each in model[-1].module_.parameters())
        np.testing.assert_allclose(model.predict_proba(ASKED), plain, rtol=0, atol=0.02)
    assert all(each.dtype == bfloat16 for each in network.parameters())
