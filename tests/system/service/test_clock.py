"""A clock that is far off makes the service not ready, with the cause everywhere, until it is right again."""

import asyncio
import time
from collections.abc import Callable
from email.utils import formatdate

import pytest
from groundwork.core.errors import StoreError
from groundwork.documents.pilot import Pilot
from groundwork.service import clock as module
from groundwork.service.clock import Clock
from groundwork.service.mlflow_client import TrackingServer
from groundwork.store.database import Store
from pilots import Postgres
from serving import served_here


def compared(of_store: Callable[[], float | None], of_registry: Callable[[], float | None]) -> Clock:
    async def once() -> Clock:
        clock = Clock(of_store, of_registry)
        task = asyncio.create_task(clock.keep_comparing())
        await asyncio.sleep(0.2)
        task.cancel()
        return clock

    return asyncio.run(once())


def down() -> float | None:
    raise StoreError("the store failed")


@pytest.mark.parametrize(
    ("store", "registry", "problem"),
    [
        (299.0, None, ""),
        (3600.0, 0.0, "the clock of this machine is 3,600 s ahead of that of the database"),
        (None, -301.0, "the clock of this machine is 301 s behind that of the registry"),
        (None, None, ""),
    ],
)
def test_it_is_compared_with_the_database_or_else_the_registry(
    store: float | None, registry: float | None, problem: str
) -> None:
    assert compared(lambda: store, lambda: registry).problem == problem


def test_a_database_that_is_down_is_no_clock() -> None:
    assert compared(down, lambda: 400.0).problem.endswith("400 s ahead of that of the registry")


def test_a_database_knows_the_time_and_a_file_does_not(postgres: Postgres, new_pilot: Pilot) -> None:
    with Store(postgres.empty_database()) as store:
        ahead = store.seconds_ahead()
    assert ahead is not None
    assert abs(ahead) < 5
    with Store(new_pilot.settings.store) as store:
        assert store.seconds_ahead() is None


def test_a_registry_tells_the_time_with_each_answer(new_pilot: Pilot) -> None:
    server = TrackingServer(new_pilot)
    for said, ahead in ((formatdate(time.time() - 1000, usegmt=True), 1000), ("yesterday", 1000), (None, 1000)):
        server._compare_clocks(said)
        assert server.ahead == pytest.approx(ahead, abs=5)


def test_a_service_whose_clock_is_far_off_is_not_ready_until_it_is_right(
    pilot_copy: Pilot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ahead = [1234.0]
    monkeypatch.setattr(module, "SECONDS", 0.1)
    monkeypatch.setattr(Store, "seconds_ahead", lambda store: ahead[0])
    with served_here(pilot_copy, from_cache=True) as client:

        def wait_for(status: int) -> None:
            deadline = time.monotonic() + 30
            while client.get("/health/ready").status_code != status:
                assert time.monotonic() < deadline
                time.sleep(0.05)

        wait_for(503)
        told = "the clock of this machine is 1,234 s ahead of that of the database"
        assert client.get("/health/ready").json()["detail"] == told
        assert told in client.get("/").text
        metrics = client.get("/metrics").text.splitlines()
        assert {"groundwork_ready 0.0", "groundwork_clock_ahead_seconds 1234.0"} <= set(metrics)
        ahead[0] = 0.5
        wait_for(200)
        assert told not in client.get("/").text
