"""A service that tests share, and a second version for it to take up."""

import shutil
from collections.abc import Iterator

import pytest
from groundwork.documents.pilot import Pilot
from pilots import enter
from registries import register_again
from serving import FROM_CACHE, Service, serving


@pytest.fixture(scope="session")
def shared_service(pilot: Pilot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that the tests which do it no harm share, with a client's time cut short."""
    home = tmp_path_factory.mktemp("shared") / "pilot"
    shutil.copytree(pilot.settings.home, home)
    with pytest.MonkeyPatch.context() as patch:
        started = Service(enter(home, patch), GROUNDWORK_CLIENT_SECONDS="0.5", **FROM_CACHE)
    with serving(started) as service:
        yield service


@pytest.fixture
def second_version(pilot_copy: Pilot) -> str:
    """A second version in the registry, with the first one's bundle."""
    return register_again(pilot_copy).number
