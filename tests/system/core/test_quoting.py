"""Figures in messages are as long as they need to be."""

import pytest
from groundwork.core.quoting import rounded


@pytest.mark.parametrize(
    ("figure", "text"),
    [
        (0.62724, "0.6272"),
        (0.6, "0.6"),
        (-0.0101, "-0.0101"),
        (12.3456, "12.35"),
        (12_000.0, "12,000"),
        (-1234.5678, "-1,235"),
        (0, "0"),
        (float("nan"), "nan"),
    ],
)
def test_a_figure_has_four_digits_and_no_more(figure: float, text: str) -> None:
    assert rounded(figure) == text
