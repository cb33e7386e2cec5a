import numpy as np
import pytest

from common.report import disagreements
from common.report.disagreements import ALPHABET


@pytest.mark.parametrize(("classes", "letters"), [(1, 1), (2, 1), (64, 1), (65, 2), (5000, 3)])
def test_letters_of_a_class(classes, letters):
    assert disagreements.letters_per_class(classes) == letters


def test_numbers_come_back_from_the_string():
    for classes in (2, 64, 65, 5000):
        numbers = np.random.default_rng(0).integers(0, classes, 100)
        letters = disagreements.letters_per_class(classes)
        text = disagreements.encode(numbers, classes)
        assert len(text) == 100 * letters
        found = [
            sum(ALPHABET.index(c) * 64**p for p, c in enumerate(reversed(text[i : i + letters])))
            for i in range(0, len(text), letters)
        ]
        assert found == numbers.tolist()


def test_the_most_divided_rows_come_first_and_unanimous_ones_not_at_all():
    labels = np.array([0, 0, 0, 0, 0])
    predictions = np.array([[0, 0, 1, 1, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0], [0, 1, 1, 0, 1]])
    assert disagreements.disputed(predictions, labels, np.ones(4)) == [3, 1, 4]


def test_a_cell_without_weight_makes_no_row_more_telling():
    labels = np.array([0, 1, 1])
    predictions = np.array([[0, 0, 0], [0, 1, 1], [0, 1, 0]])
    assert disagreements.disputed(predictions, labels, np.array([0, 1, 1])) == [2, 1]


def test_long_texts_are_cut_and_the_rest_is_left_out():
    texts = ["a" * 30, "b" * 5, "c" * 1000]
    assert disagreements.shortened(texts, 1000) == (["a" * 7 + "…", "b" * 5, "c" * 7 + "…"], 2)
    assert disagreements.shortened(["ü" * 10], 1000) == (["üüü…"], 1), "no half letters"
    assert disagreements.shortened(["x"] * 5, 3) == (["x"] * 3, 0)
    assert disagreements.shortened([], 10) == ([], 0)
