"""Datasets of several sizes: from how many training rows on a variant is better."""

import pytest

from common.statistics.sizes import better_from


@pytest.mark.parametrize(
    ("outcomes", "rows"),
    [
        ({100: "open", 300: "better", 1000: "better"}, 300),
        ({1000: "better", 100: "open", 300: "better"}, 300),
        ({100: "better", 300: "better"}, 100),
        ({100: "better", 300: "equivalent", 1000: "better"}, 1000),
        ({100: "better", 300: "at least as good"}, None),
        ({100: "worse", 300: "worse"}, None),
        ({}, None),
    ],
)
def test_better_from_the_fewest_rows_on_and_at_every_larger_size(outcomes, rows):
    assert better_from(outcomes) == rows
