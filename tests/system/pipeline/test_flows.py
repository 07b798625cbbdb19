"""What may pass is tried again, and what will fail again is not."""

import pytest
from groundwork.core.errors import (
    Busy,
    ContractBreach,
    NotEnoughData,
    SchemaMismatch,
    SourceError,
    SourceUnavailable,
    StoreError,
)
from groundwork.data.source import connected
from groundwork.documents.pilot import Pilot
from groundwork.monitoring.drift import DriftUnknown
from groundwork.pipeline import flows
from mlflow.exceptions import MlflowException
from requests import exceptions


def chained(error: Exception, cause: Exception) -> Exception:
    error.__context__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        SourceUnavailable("it does not answer"),
        StoreError("it is down"),
        Busy("another one"),
        ConnectionRefusedError(),
        chained(MlflowException("API request failed"), exceptions.ConnectionError()),
        chained(MlflowException("API request failed"), exceptions.ReadTimeout()),
    ],
)
def test_what_cannot_be_reached_is_tried_again(error: Exception) -> None:
    assert flows.may_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        ContractBreach("too many rows"),
        chained(ContractBreach("too many rows"), ConnectionRefusedError()),
        SourceError("the source does not fit contract.yaml"),
        NotEnoughData("nothing to learn from"),
        DriftUnknown("nobody can tell"),
        SchemaMismatch("run `groundwork migrate`"),
        MlflowException("no such model"),
        FileNotFoundError("model.py"),
        ValueError("a slip of the pen"),
    ],
)
def test_what_will_fail_again_is_not(error: Exception) -> None:
    assert not flows.may_pass(error)


def test_a_source_that_is_away_may_come_back(new_pilot: Pilot) -> None:
    (new_pilot.settings.data_folder / "operational.duckdb").unlink()
    with pytest.raises(SourceUnavailable) as away, connected(new_pilot):
        pytest.fail("there is no such source")
    assert flows.may_pass(away.value)
