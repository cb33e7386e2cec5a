"""Lengths in figures: a summary, and bins that every length falls into."""

import numpy as np
import pandas as pd
import pytest

from common.data import lengths


@pytest.mark.parametrize("kind", [np.array, pd.Series])
def test_summary(kind):
    expected = {"mean": 50.0, "median": 50.0, "p95": 95.0, "max": 100}
    assert lengths.summary(kind(range(101))) == expected


def test_summary_of_one_text():
    assert lengths.summary(np.array([7])) == {"mean": 7.0, "median": 7.0, "p95": 7.0, "max": 7}


@pytest.mark.parametrize("longest", [1, 5, 128, 129, 100_000])
def test_the_longest_text_is_in_the_last_bin(longest):
    edges = lengths.bin_edges(longest)
    assert edges[0] == 0
    assert edges[-2] < longest <= edges[-1]
    assert len(edges) <= 65


def test_bins_are_the_same_for_all_but_where_they_end():
    short, long = lengths.bin_edges(40), lengths.bin_edges(100_000)
    assert long[: len(short)] == short == [*range(9), 10, 12, 14, 16, 20, 24, 28, 32, 40]
    assert {2**power for power in range(17)} <= set(long)
    widths = np.diff(long) / long[1:]
    assert (widths[8:] <= 0.25).all()


def test_a_bin_holds_its_right_edge_and_not_its_left_one():
    edges = [0, 1, 2, 4, 8]
    assert lengths.histogram(np.array([1, 2, 3, 4, 4, 5, 8]), edges) == [1, 1, 3, 2]
    assert lengths.histogram(np.array([3]), edges) == [0, 0, 1, 0]


def test_a_text_without_tokens_is_in_the_first_bin():
    assert lengths.histogram(np.array([0, 1]), [0, 1, 2]) == [2, 0]


def test_every_length_is_counted_once():
    found = np.arange(1, 5000)
    counts = lengths.histogram(found, lengths.bin_edges(5000))
    assert sum(counts) == len(found)
