"""Prefect's server is the one that PREFECT_API_URL names, or that of a worker that runs in this pilot."""

import fcntl
import os

import pytest
from groundwork.core.errors import Busy
from groundwork.documents.pilot import Pilot
from groundwork.pipeline.prefect_server import address_of_worker, announced, connect

ADDRESS = "http://127.0.0.1:1/api"


def test_only_the_note_of_a_living_worker_counts(new_pilot: Pilot) -> None:
    settings = new_pilot.settings
    assert address_of_worker(settings) is None
    note = settings.data_folder / "prefect" / "worker"
    note.write_text(ADDRESS)
    assert address_of_worker(settings) is None  # left behind by one that was killed
    with note.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert address_of_worker(settings) == ADDRESS
        with pytest.raises(Busy, match="a worker already runs"), announced(settings):
            pytest.fail("there are two workers")
    assert "PREFECT_API_URL" not in os.environ


def test_without_a_server_prefect_is_told_of_none(new_pilot: Pilot) -> None:
    assert not connect(new_pilot.settings)
    assert "PREFECT_API_URL" not in os.environ


def test_a_server_that_is_named_counts_before_that_of_the_worker(
    new_pilot: Pilot, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = new_pilot.settings.data_folder / "prefect" / "worker"
    note.parent.mkdir(parents=True)
    note.write_text(ADDRESS)
    with note.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:2/api")
        assert connect(Pilot.here().settings)
        assert os.environ["PREFECT_API_URL"] == "http://127.0.0.1:2/api"
        monkeypatch.delenv("PREFECT_API_URL")
        monkeypatch.setenv("PREFECT_API_URL", "")  # so that what is set from now on is undone
        assert connect(Pilot.here().settings)
        assert os.environ["PREFECT_API_URL"] == ADDRESS
