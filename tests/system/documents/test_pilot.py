"""The documents of a pilot fit each other."""

from collections.abc import Callable

import pytest
from groundwork.core.errors import DocumentError
from groundwork.documents.pilot import Pilot


def test_somebody_must_answer_for_the_contracts_data_set(new_pilot: Pilot, set_in: Callable) -> None:
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.name", "visits")
    with pytest.raises(DocumentError, match=r"OWNERS: accountable\.data: has no owner for the data set visits"):
        Pilot.here().owners  # noqa: B018 - read for its error


def test_the_metric_of_the_gate_must_measure_the_outcome(new_pilot: Pilot, set_in: Callable) -> None:
    gate = {"metric": "mae", "maximum": 10, "minGainOverRule": 0, "minGainOverChampion": 0, "maxMetricLoss": 1}
    set_in(new_pilot.settings.home / "charter.yaml", "gate", gate | {"minRows": 1000})
    with pytest.raises(
        DocumentError, match=r"charter\.yaml: gate\.metric: mae does not measure a boolean, the type of late"
    ):
        Pilot.here().contract  # noqa: B018 - read for its error
