"""Ours."""

import pytest

from use_case import model


@pytest.mark.proves("infra-spec")
def test_builds() -> None:
    assert hasattr(model.build(), "fit")
