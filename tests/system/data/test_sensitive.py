"""Columns that contract.yaml calls confidential stay where they must: in requests and snapshots, nowhere else."""

import json
import re
import traceback
from collections.abc import Callable
from datetime import datetime
from typing import Any

import mlflow
import msgspec
import pytest
from groundwork.core.errors import ContractBreach, DocumentError, SourceError
from groundwork.core.windows import Window
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.monitoring.monitor import check_drift
from groundwork.pipeline import by_hand
from groundwork.service.request_schema import BadRequest, RequestReader
from groundwork.store.database import Store
from use_case import source

NAME = {
    "name": "captain",
    "logicalType": "string",
    "logicalTypeOptions": {"pattern": "^[A-Z]", "maxLength": 40},
    "classification": "Confidential",
    "description": "Who flies.",
    "examples": ["Amelia Earhart"],
}
FEBRUARY = Window(datetime(2013, 2, 1), datetime(2013, 3, 1))
COLUMNS = "schema.0.properties"


def allowed(*places: str, because: str = "Agreed with the works council.") -> dict[str, Any]:
    return {
        "classification": "restricted",
        "customProperties": [{"property": "allowedIn", "value": list(places), "description": because}],
    }


@pytest.fixture
def with_captain(new_pilot: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch) -> Pilot:
    """A pilot whose rows name a person."""
    columns = [column.model_dump(by_alias=True, exclude_defaults=True) for column in new_pilot.contract.dataset.columns]
    set_in(new_pilot.settings.home / "contract.yaml", COLUMNS, json.loads(json.dumps([*columns, NAME])))
    rows = source.rows
    monkeypatch.setattr(
        source, "rows", lambda *window: (found := rows(*window)).mutate(captain="Amelia " + found.flight_id)
    )
    return Pilot.here()


def test_what_is_confidential_stays_in_requests_and_snapshots(with_captain: Pilot) -> None:
    """Not in the prediction log, in the registry, in a report, nor in what is said of a broken request."""
    by_hand.ingest(Pilot.here())
    assert by_hand.train(Pilot.here()).verdict.passed
    by_hand.score(Pilot.here(), *FEBRUARY)
    snapshots = Snapshots(with_captain.snapshots, with_captain.contract.dataset)
    assert snapshots.read()["captain"][0].as_py().startswith("Amelia ")
    with Store(with_captain.settings.store) as store:
        drift = check_drift(with_captain, store, FEBRUARY)
        records = [json.loads(prediction.record) for prediction in store.predictions.between(*FEBRUARY)]
    assert drift.status != "unknown"
    assert records
    assert not any("captain" in record for record in records)
    holding = {
        path.relative_to(with_captain.settings.data_folder).parts[0]
        for path in with_captain.settings.data_folder.rglob("*")
        if path.is_file() and b"Amelia" in path.read_bytes()
    }
    assert holding <= {"snapshots"}
    assert mlflow.search_runs(experiment_names=[Registry(with_captain).name], output_format="list")


def test_a_figure_of_what_is_confidential_is_not_told(with_captain: Pilot, set_in: Callable) -> None:
    """The greatest value is somebody's. How many rows there are is nobody's."""
    quality = [
        {"type": "sql", "query": f"SELECT {figure} FROM ${{object}}{where}", "name": figure, "mustBe": -7}
        for figure, where in (("MAX(LENGTH(captain))", ""), ("COUNT(*)", " WHERE captain IS NOT NULL"))
    ]
    set_in(with_captain.settings.home / "contract.yaml", "schema.0.quality", quality)
    with pytest.raises(ContractBreach) as stopped:
        by_hand.ingest(Pilot.here())
    said = str(stopped.value)
    assert "MAX(LENGTH(captain)) is not shown, because captain is Confidential, and must be exactly -7" in said
    assert re.search(r"COUNT\(\*\) is [\d,]+, and must be exactly -7", said)


@pytest.mark.parametrize("value", ["amelia earhart", "Amelia Earhart" * 9, 1937])
def test_a_refusal_never_repeats_a_value(value: Any, with_captain: Pilot) -> None:
    reader = RequestReader(with_captain.contract, max_records=1)
    [record] = reader.example["records"]
    assert record["captain"] == "Amelia Earhart"
    with pytest.raises(BadRequest) as refused:
        reader.read(msgspec.json.encode({"records": [record | {"captain": value}]}))
    assert "captain" in str(refused.value)
    assert not re.search("earhart|1937", str(refused.value), re.IGNORECASE)


@pytest.mark.parametrize("lazily", [True, False])
def test_what_an_engine_says_is_not_repeated(
    lazily: bool, with_captain: Pilot, sql: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the message, nor in the trace that Prefect keeps of it."""

    def fail(*_: object) -> None:
        raise ValueError("Amelia is no number")

    if lazily:
        sql(with_captain, "alter table flights alter distance type varchar using 'Amelia'")
    else:
        monkeypatch.setattr(source, "rows", fail)
    with pytest.raises(SourceError) as stopped:
        by_hand.ingest(Pilot.here(), *FEBRUARY)
    assert "(message omitted, because it may contain sensitive values)" in str(stopped.value)
    assert "Amelia" not in "".join(traceback.format_exception(stopped.value))


@pytest.mark.parametrize(
    ("column", "changes", "message"),
    [
        (2, {"classification": "confidential"}, "carrier is confidential, so it cannot have the tag feature"),
        (2, {"classification": "PII"}, "carrier is PII, so it cannot have the tag feature"),
        (
            2,
            allowed("log"),
            "unless its customProperties contain allowedIn with features",
        ),
        (0, {"classification": "restricted"}, "cannot be the primaryKey, which the prediction log contains"),
        (0, allowed("features"), "cannot be the primaryKey"),
        (2, allowed("features", because=""), "allowedIn needs the reason as its description"),
        (2, allowed("everywhere"), "allowedIn must be a list of features, log, reports"),
        (2, allowed("features") | {"classification": "internal"}, "allowedIn applies only to a column"),
        (11, {"tags": ["subject"]}, "because `erase` looks for it"),
    ],
)
def test_what_is_confidential_needs_a_reason_to_go_elsewhere(
    column: int, changes: dict[str, Any], message: str, with_captain: Pilot, set_in: Callable
) -> None:
    for key, value in changes.items():
        set_in(with_captain.settings.home / "contract.yaml", f"{COLUMNS}.{column}.{key}", value)
    with pytest.raises(DocumentError) as refused:
        Pilot.here().contract  # noqa: B018 - read for its error
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("places", "logged", "reported"),
    [
        (["features"], False, False),
        (["features", "log"], True, False),
        (["features", "reports"], False, False),
        (["features", "log", "reports"], True, True),
    ],
)
def test_what_is_allowed_goes_there_and_nowhere_else(
    places: list[str], logged: bool, reported: bool, new_pilot: Pilot, set_in: Callable
) -> None:
    for key, value in allowed(*places).items():
        set_in(new_pilot.settings.home / "contract.yaml", f"{COLUMNS}.2.{key}", value)
    dataset = Pilot.here().contract.dataset
    assert "carrier" in dataset.feature_names
    assert ("carrier" in [column.name for column in dataset.logged]) == logged
    assert ("carrier" in [column.name for column in dataset.reported]) == reported


def test_drift_is_measured_without_what_may_not_be_logged(pilot_copy: Pilot, set_in: Callable) -> None:
    for key, value in allowed("features").items():
        set_in(pilot_copy.settings.home / "contract.yaml", f"{COLUMNS}.2.{key}", value)
    pilot = Pilot.here()
    by_hand.score(Pilot.here(), *FEBRUARY)
    with Store(pilot.settings.store) as store:
        drift = check_drift(pilot, store, FEBRUARY)
        assert not any("carrier" in json.loads(each.record) for each in store.predictions.between(*FEBRUARY))
    assert set(drift.distances) == {*pilot.contract.dataset.feature_names, "score"} - {"carrier"}
