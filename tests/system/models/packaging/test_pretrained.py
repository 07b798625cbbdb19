"""A model that was trained elsewhere is served if its signature fits the contract, and goes through the same gate."""

from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from groundwork.core.errors import BundleError, ModelMismatch
from groundwork.documents.pilot import Pilot
from groundwork.models.packaging.pack import pack
from groundwork.models.packaging.pretrained import Pretrained
from groundwork.models.registry.registry import Registry
from groundwork.models.serving.predictor import TOLERANCE, Predictor
from groundwork.models.training.history import read_history
from groundwork.pipeline import by_hand
from mlflow.types import ColSpec, Schema
from numpy.typing import NDArray
from use_case import model as use_case_model

ELSEWHERE = "research"
TYPES = {
    "carrier": "string",
    "origin": "string",
    "destination": "string",
    "distance_miles": "double",
    "departure_minute": "long",
    "arrival_minute": "integer",
    "weekday": "float",
    "origin_late_share_yesterday": "double",
}


class ByTheClock(mlflow.pyfunc.PythonModel):
    """The later in the day, the later; and it insists on the types of its signature."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> NDArray:
        assert model_input["departure_minute"].dtype == np.int64
        assert model_input["arrival_minute"].dtype == np.int32
        unknown = model_input["destination"].isin(["ZZZ", ""]) | model_input["origin_late_share_yesterday"].isna()
        return model_input["departure_minute"].to_numpy() / 1440 * np.where(unknown, 0.5, 0.9)


class Labels(mlflow.pyfunc.PythonModel):
    """Says yes or no instead of how likely it is."""

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> NDArray:
        return model_input["departure_minute"].to_numpy() > 1000


def log(model: Any, types: dict[str, str]) -> str:
    """Register the model as somebody else would; returns its address."""
    signature = mlflow.models.ModelSignature(Schema([ColSpec(kind, name) for name, kind in types.items()]))
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=model,
            signature=signature,
            registered_model_name=ELSEWHERE,
            pip_requirements=["pandas"],
        )
    newest = max(int(found.version) for found in mlflow.MlflowClient().search_model_versions(f"name = '{ELSEWHERE}'"))
    return f"models:/{ELSEWHERE}/{newest}"


@pytest.fixture
def registry(pilot_copy: Pilot) -> Registry:
    """The pilot's registry, which others use too."""
    found = Registry(pilot_copy)
    found.use_experiment()
    return found


def frame(pilot: Pilot) -> pd.DataFrame:
    return read_history(pilot).evaluation.frame


def test_it_is_judged_served_and_traced_like_one_trained_here(
    pilot_copy: Pilot, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = log(ByTheClock(), TYPES)
    monkeypatch.setattr(use_case_model, "build", lambda: address)
    with (pilot_copy.settings.home / "charter.yaml").open("a", encoding="utf-8") as charter:
        charter.write("# another model\n")
    trained = by_hand.train(Pilot.here())
    assert (trained.new, trained.version, trained.champion_before) == (True, "2", "1")
    assert trained.bundle.startswith("served through MLflow, which runs code when it is loaded: a row alone costs ")
    assert trained.bundle.endswith(f". {address} holds no scikit-learn pipeline of these features")
    assert any(reason.startswith("roc_auc: required at least 0.55") for reason in trained.verdict.reasons)
    version = registry.find(mlflow.MlflowClient().get_model_version(registry.name, "2").tags["lineage"])
    assert version is not None
    assert (version.judged, version.tags["bundle_format"]) == ("refused", "pyfunc")
    assert mlflow.get_run(version.run_id).data.params["model"] == address
    rows = frame(pilot_copy)
    expected = ByTheClock().predict(None, rows.astype({"departure_minute": "int64", "arrival_minute": "int32"}))
    columns = {name: rows[name].to_numpy() for name in rows}
    scores = registry.predictor(version).scores(columns)
    np.testing.assert_allclose(scores, expected, rtol=0, atol=TOLERANCE)


def test_a_null_and_an_unknown_category_reach_it_as_they_are(
    pilot_copy: Pilot, registry: Registry, tmp_path: Any
) -> None:
    model = Pretrained(log(ByTheClock(), TYPES), pilot_copy.contract.dataset)
    rows = (
        frame(pilot_copy)
        .head(4)
        .assign(
            destination=np.array(["ZZZ", "", "BOS", "BOS"], dtype=object),
            origin_late_share_yesterday=np.array([0.1, 0.1, np.nan, 0.1], dtype=np.float32),
            departure_minute=np.float32(720),
        )
    )
    bundle = pack(model, {"newest": rows}, lambda scores, _: scores > 0.3, tmp_path, pilot_copy.contract.dataset)
    predictor = Predictor(tmp_path, bundle.sha256, list(rows))
    scores = predictor.scores({name: rows[name].to_numpy() for name in rows})
    np.testing.assert_allclose(scores, [0.25, 0.25, 0.25, 0.45], rtol=0, atol=TOLERANCE)


def test_a_scikit_learn_pipeline_from_elsewhere_becomes_onnx(
    pilot_copy: Pilot, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = registry.champion()
    assert version is not None
    monkeypatch.setattr(use_case_model, "build", lambda: f"models:/{registry.name}/1")
    with (pilot_copy.settings.home / "charter.yaml").open("a", encoding="utf-8") as charter:
        charter.write("# another model\n")
    assert by_hand.train(Pilot.here()).in_service
    again = registry.champion()
    assert again is not None
    assert (again.number, again.tags["bundle_format"]) == ("2", "onnx")
    rows = frame(pilot_copy)
    columns = {name: rows[name].to_numpy() for name in rows}
    first, second = (registry.predictor(each).scores(columns) for each in (version, again))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weekday": None}, "weekday: a feature of the contract that the model does not take"),
        ({"colour": "string"}, "colour: the model requires it, contract.yaml lacks this feature"),
        ({"carrier": "double"}, "carrier: the contract says string, the model requires double"),
        ({"distance_miles": "long"}, "distance_miles: the contract says number, the model requires long"),
        ({"weekday": "boolean"}, "weekday: the contract says integer, the model requires boolean"),
    ],
)
def test_a_signature_that_does_not_fit_the_contract_is_refused_by_name(
    change: dict[str, Any], said: str, pilot_copy: Pilot, registry: Registry
) -> None:
    types = {name: kind for name, kind in (TYPES | change).items() if kind}
    with pytest.raises(ModelMismatch, match=r"does not fit contract\.yaml:") as refused:
        Pretrained(log(ByTheClock(), types), pilot_copy.contract.dataset)
    assert str(refused.value).splitlines()[1:] == [said]


def test_a_type_that_cannot_be_missing_is_refused_for_what_may_be(pilot_copy: Pilot, registry: Registry) -> None:
    dataset = pilot_copy.contract.dataset
    columns = [
        column.model_copy(update={"required": column.name != "departure_minute"}) if column.plays("feature") else column
        for column in dataset.columns
    ]
    optional = dataset.model_copy(update={"columns": tuple(columns)})
    with pytest.raises(ModelMismatch, match=r"departure_minute: the contract allows missing values, .* long does not"):
        Pretrained(log(ByTheClock(), TYPES), optional)


def test_a_model_without_a_signature_is_refused(pilot_copy: Pilot, registry: Registry) -> None:
    with mlflow.start_run():
        logged = mlflow.pyfunc.log_model(name="model", python_model=ByTheClock(), pip_requirements=["pandas"])
    with pytest.raises(ModelMismatch, match="it has no signature with names and types"):
        Pretrained(logged.model_uri, pilot_copy.contract.dataset)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("models:/research@champion", "is not the address of a model version, such as models:/NAME/3"),
        ("models:/research/latest", "is not the address of a model version"),
        ("/srv/model", "is not the address of a model version"),
        ("models:/research/99", "cannot be fetched from the registry"),
    ],
)
def test_an_address_that_names_no_version_is_refused(
    address: str, said: str, pilot_copy: Pilot, registry: Registry
) -> None:
    with pytest.raises(ModelMismatch, match=said):
        Pretrained(address, pilot_copy.contract.dataset)


def test_labels_are_no_scores(pilot_copy: Pilot, registry: Registry, tmp_path: Any) -> None:
    model = Pretrained(log(Labels(), TYPES), pilot_copy.contract.dataset)
    windows = {"newest": frame(pilot_copy)}
    with pytest.raises(BundleError, match="required: a probability per row"):
        pack(model, windows, lambda scores, _: scores > 0.3, tmp_path, pilot_copy.contract.dataset)
