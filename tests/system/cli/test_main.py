"""The command line: what is no command is wrong use."""

from commands import groundwork
from groundwork.documents.pilot import Pilot


def test_what_is_no_command_is_wrong_use(new_pilot: Pilot) -> None:
    assert groundwork("ingets").returncode == 2
    assert groundwork("ingest", "--since", "yesterday").returncode == 2
