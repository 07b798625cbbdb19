"""A pilot with a past that is long enough to look back on."""

import shutil
from pathlib import Path

import duckdb
import pytest
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand
from pilots import enter


@pytest.fixture(scope="session")
def five_months(tmp_path_factory: pytest.TempPathFactory, pilot: Pilot, first_weeks: Path) -> Path:
    """The folder of a pilot with five months, in each of whose windows a model can be judged; only copy it."""
    home = tmp_path_factory.mktemp("months") / "pilot"
    shutil.copytree(pilot.settings.home, home)
    with duckdb.connect(str(home / "data" / "operational.duckdb")) as connection:
        connection.execute(f"attach '{first_weeks}' as weeks (read_only)")
        connection.execute("insert into flights from weeks.flights where month between 3 and 5")
    with pytest.MonkeyPatch.context() as patch:
        by_hand.ingest(enter(home, patch))
    return home


@pytest.fixture
def months(five_months: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pilot:
    """A copy of it to change."""
    return enter(Path(shutil.copytree(five_months, tmp_path / "months")), monkeypatch)
