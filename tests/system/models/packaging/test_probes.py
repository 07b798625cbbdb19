"""The rows on which a conversion is proven are rows that the contract allows."""

import numpy as np
import pandas as pd
import pytest
from described import described
from groundwork.models.packaging.pack import _to_onnx
from groundwork.models.packaging.probes import Probe, admitted, probes, unseen
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

ROWS = 400
chance = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "city": chance.choice(np.array(["Rome", "Oslo", "Bonn"], dtype=object), ROWS),
        "age": chance.integers(18, 90, ROWS).astype(np.float32),
        "share": chance.random(ROWS).astype(np.float32),
        "member": (chance.random(ROWS) < 0.5).astype(np.float32),
    }
)
DATASET = described(
    FRAME,
    city={"logicalTypeOptions": {"pattern": "^[A-Z][a-z]+$", "maxLength": 4}, "required": True},
    age={"logicalType": "integer", "logicalTypeOptions": {"minimum": 0, "maximum": 120}},
    share={"logicalTypeOptions": {"minimum": 0}},
    member={"logicalType": "boolean", "examples": [True], "required": True},
)
COLUMN = {column.name: column for column in DATASET.features}


def made(graph: bytes | None = None) -> dict[str, pd.DataFrame]:
    groups = probes({"newest": FRAME.iloc[300:], "past": FRAME.iloc[:300]}, DATASET.features, graph)
    return {kind: frame for group in groups for kind, frame in group}


def test_each_kind_of_row_is_made() -> None:
    kinds = made()
    assert list(kinds) == [
        "newest",
        "past",
        "age missing",
        "share missing",
        "every optional feature missing",
        "city",
        "city, unseen values",
        "age within and at its limits",
        "share within and at its limits",
        "share far beyond the values seen (no limit)",
        "member true and false",
        "values mixed from different rows",
    ]
    assert kinds["age missing"]["age"].isna().all()
    assert not kinds["age missing"]["share"].isna().any()
    assert set(kinds["city"]["city"]) == {"Rome", "Oslo", "Bonn"}
    assert {0.0, 120.0} <= set(kinds["age within and at its limits"]["age"])
    assert kinds["share far beyond the values seen (no limit)"]["share"].max() >= 1e30
    assert set(kinds["member true and false"]["member"]) == {0.0, 1.0}


def test_every_row_keeps_the_contract() -> None:
    for kind, frame in made().items():
        assert list(frame) == list(FRAME), kind
        assert all(frame[name].dtype == np.float32 for name in ("age", "share", "member")), kind
        assert frame["city"].str.fullmatch("[A-Z][a-z]{1,3}").all(), kind
        assert (frame["age"].isna() | frame["age"].between(0, 120) & (frame["age"] % 1 == 0)).all(), kind
        assert not (frame["share"] < 0).any(), kind
        assert frame["member"].isin([0, 1]).all(), kind


def test_unseen_texts_fit_the_contract_and_were_not_seen() -> None:
    assert unseen(COLUMN["city"], ["Rome", "Oslo"], {"Rome", "Oslo"}) == ["Emor", "Olso"]
    free = described(FRAME, city={"required": True}).features[0]
    found = unseen(free, ["Rome", "Oslo"], {"Rome", "Oslo", "rome"})
    assert {"unseen", "", "ROME", "Rome "} <= set(found)
    assert not {"Rome", "rome"} & set(found)
    listed = {"quality": [{"metric": "invalidValues", "arguments": {"validValues": ["Rome", "Lima"]}, "mustBe": 0}]}
    assert unseen(described(FRAME, city=listed).features[0], ["Rome"], {"Rome"}) == ["Lima"]


def test_numbers_that_the_contract_refuses_are_left_out() -> None:
    assert admitted(np.array([-1.0, 0.4, 130.0, 7.6]), COLUMN["age"]).tolist() == [0.0, 8.0]


@pytest.mark.parametrize("steps", [[], [StandardScaler()]], ids=["as it is", "scaled"])
def test_numbers_lie_on_and_beside_the_thresholds_of_trees(steps: list[StandardScaler]) -> None:
    """Also behind a scaler, where the tree's thresholds are not the feature's."""
    columns = make_column_transformer(("passthrough", ["share", "age"]))
    tree = DecisionTreeClassifier(max_depth=3, random_state=0)
    model = make_pipeline(columns, *steps, tree).fit(FRAME, FRAME["share"] * FRAME["age"] > 30)
    beside = made(_to_onnx(model, FRAME))["values on and beside the thresholds of trees"]
    fitted = tree.tree_
    at = [model[:-1].transform(beside)[:, place] for place in (0, 1)]
    for place, threshold in zip(fitted.feature, fitted.threshold, strict=True):
        if place == 0:
            below, above = at[0][at[0] <= threshold].max(), at[0][at[0] > threshold].min()
            assert above - below < 1e-6
        if place == 1:
            assert beside["age"].isin([np.floor(threshold), np.floor(threshold) + 1]).any() or steps
    assert (beside["age"] % 1 == 0).all()


def test_without_trees_there_are_no_thresholds() -> None:
    groups = list(probes({"newest": FRAME}, DATASET.features, None))
    assert isinstance(groups[0][0], Probe)
    assert all("thresholds" not in probe.kind for group in groups for probe in group)
