"""What is said of rows: counts that are right, whatever is wrong with the rows."""

import pandas as pd
import pytest

from common.cli import InputError
from common.data import corpus


def test_rows_in_are_counted_with_what_is_odd_in_them(take_in):
    rows = [("a b", "x"), ("c\ufffd", "y"), ("d", "10"), ("e", "9"), ("f", "x")]
    found = corpus.found(take_in(train=rows))["train"]
    assert found["rows"] == 5
    assert list(found["classes"].items()) == [("9", 1), ("10", 1), ("x", 2), ("y", 1)]
    assert found["encoding"]["replacement character"] == 1
    assert found["characters"]["max"] == 3
    assert set(found["oddities"].values()) == {0}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [("aabb", True), ("bbba", True), ("aaba", False), ("aaaa", False), ("ab", False)],
)
def test_rows_sorted_by_label_are_known(labels, expected):
    assert corpus.is_sorted(pd.Series(list(labels))) is expected


def test_a_split_without_a_class_is_refused(take_in):
    rows = take_in(test=[("a", "x"), ("b", "x")]).tables["test"].assign(label=0)
    with pytest.raises(InputError, match=r"test \(2 rows\) holds no row of class 'y'"):
        corpus.kept(rows, ["x", "y"], "test")
