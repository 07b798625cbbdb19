"""A plugin of pytest: the report of a test says which checks of the scorecard its mark `proves` names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the names with each test, as properties of its case in the JUnit report."""
    for item in items:
        for mark in item.iter_markers("proves"):
            item.user_properties += [("proves", check) for check in mark.args]
