"""A pytest plugin: writes the checks that a test's mark `proves` names into the JUnit report."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Add the names of the checks to each test, as properties of its case in the JUnit report."""
    for item in items:
        for mark in item.iter_markers("proves"):
            item.user_properties += [("proves", check) for check in mark.args]
