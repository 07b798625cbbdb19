"""The contract as a page for people who do not read YAML."""

from groundwork.documents.contract.contract import Contract
from groundwork.documents.publish.data_dictionary import render
from pilots import documents


def test_the_time_zone_of_a_timestamp_is_shown() -> None:
    page = render(Contract.load(documents() / "contract.yaml"))
    assert "| date and time in America/New_York; required |" in page
