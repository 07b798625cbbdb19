"""A feature is added quickly: a column of the contract and one of the source, and everything else follows."""

from collections.abc import Callable
from datetime import datetime

import pytest
import yaml
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.models.registry.registry import Registry
from groundwork.pipeline import by_hand
from groundwork.service.request_schema import RequestReader
from groundwork.store.database import Store
from use_case import source

FEATURE = {
    "name": "is_weekend",
    "logicalType": "integer",
    "tags": ["feature"],
    "description": "1 on Saturdays and Sundays.",
    "examples": [1],
}
BOTH_MONTHS = (datetime(2013, 1, 1), datetime(2013, 3, 1))


def test_a_new_feature_is_ingested_trained_on_asked_for_and_logged(
    pilot_copy: Pilot, set_in: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = pilot_copy.settings.home / "contract.yaml"
    columns = yaml.safe_load(contract.read_text(encoding="utf-8"))["schema"][0]["properties"]
    set_in(contract, "schema.0.properties", [*columns, FEATURE])
    rows = source.rows
    monkeypatch.setattr(
        source, "rows", lambda *window: (found := rows(*window)).mutate(is_weekend=(found.weekday >= 6).cast("int64"))
    )
    by_hand.ingest(Pilot.here())  # by their fingerprints, both months have changed
    trained = by_hand.train(Pilot.here())
    assert trained.verdict.checks[0].passed
    pilot = Pilot.here()
    version = Registry(pilot).version(trained.version)
    assert version is not None
    assert Registry(pilot).predictor(version).bundle.features[-1] == "is_weekend"
    assert RequestReader(pilot.contract, 1).example["records"][0]["is_weekend"] == 1
    version_before = Snapshots(pilot.snapshots, pilot.contract.dataset).version
    assert by_hand.ingest(Pilot.here())[-1].version == version_before  # and they have not changed again
    if trained.in_service:
        by_hand.score(Pilot.here())
        with Store(pilot.settings.store) as store:
            assert '"is_weekend":1' in "".join(each.record for each in store.predictions.between(*BOTH_MONTHS))
