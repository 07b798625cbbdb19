"""The verbs about the data: what they say of quarantine and erasure."""

import re
from collections.abc import Callable
from datetime import datetime

import pytest
from commands import groundwork
from groundwork.data.snapshots import Snapshots
from groundwork.documents.pilot import Pilot
from groundwork.pipeline import by_hand


def test_quarantine_and_erasure_say_what_they_did(new_pilot: Pilot, sql: Callable, set_in: Callable) -> None:
    sql(new_pilot, "update flights set origin = 'HPN' where flight < 10")
    by_hand.ingest(Pilot.here(), datetime(2013, 1, 1), datetime(2013, 2, 1))
    said = groundwork("quarantine", "list").stdout
    assert re.search(r"2013-01-01 to 2013-01-31 +\d+ rows  origin: is none of EWR, JFK, LGA: HPN\n", said)
    assert "Grace Hopper (@grace) answers for the data set flights" in said
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.3.quality", [])
    assert re.search(
        r"✓ replay +\d+ rows added, 0 stay in quarantine, snapshot version 1 ",
        groundwork("quarantine", "replay").stdout,
    )
    assert "the quarantine is empty" in groundwork("quarantine", "list").stdout
    subject = Snapshots(new_pilot.snapshots, new_pilot.contract.dataset).read()["flight_id"][0].as_py()
    said = groundwork("erase", "--subject", subject).stdout
    assert "erased by flight_id: 1 snapshot rows, 0 quarantined rows, 0 predictions, 0 outcomes" in said
    assert "not erased: the source, backups and models trained on this subject\n" in said
    said = groundwork("erase", "--subject", subject, MLFLOW_TRACKING_URI="http://127.0.0.1:9").stdout
    assert "not erased: the source, backups, models trained on this subject and drift reports on the MLflow" in said


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        ("ada", "weekday is an integer, and 'ada' is not an integer"),
        ("1.3e18", "weekday is an integer, and '1.3e18' is not an integer"),
        ("9223372036854775808", "weekday is an integer of 64 bits, and 9223372036854775808 is beyond"),
    ],
)
def test_a_subject_of_another_type_is_wrong_usage(subject: str, why: str, new_pilot: Pilot, set_in: Callable) -> None:
    """Not an erasure of nothing, which would look like success."""
    set_in(new_pilot.settings.home / "contract.yaml", "schema.0.properties.8.tags", ["feature", "subject"])
    done = groundwork("erase", "--subject", subject)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"✗ {why}\n"
    assert not (new_pilot.settings.data_folder / "erased").exists()
