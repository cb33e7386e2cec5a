"""Calibration by hand."""

import numpy as np
import pytest
from sklearn import metrics

from common.statistics.calibration import (
    brier_score,
    calibrated_error,
    expected_calibration_error,
    reliability,
)

# Confidence 0.9, 0.9, 0.6, 0.6, 0.6; of the sure ones half are right, of the others two thirds.
PROBABILITIES = np.array([[0.9, 0.1], [0.1, 0.9], [0.6, 0.4], [0.4, 0.6], [0.6, 0.4]])
LABELS = np.array([0, 0, 0, 1, 1])


def test_the_points_of_the_diagram_by_hand():
    points = reliability(LABELS, PROBABILITIES, bins=4)
    assert points.low.tolist() == [0.5, 0.75]
    assert points.high.tolist() == [0.75, 1.0]
    assert points.rows.tolist() == [3, 2]
    assert points.confidence == pytest.approx([0.6, 0.9])
    assert points.accuracy == pytest.approx([2 / 3, 1 / 2])


def test_the_expected_calibration_error_by_hand():
    by_hand = 3 / 5 * abs(2 / 3 - 0.6) + 2 / 5 * abs(1 / 2 - 0.9)
    assert expected_calibration_error(LABELS, PROBABILITIES, bins=4) == pytest.approx(by_hand)


def test_one_bin_compares_accuracy_with_mean_confidence():
    found = expected_calibration_error(LABELS, PROBABILITIES, bins=1)
    assert found == pytest.approx(abs(3 / 5 - 0.72))


def test_the_ends_of_the_bins():
    """The upper end is in the bin, the lower is not."""
    points = reliability(np.zeros(3, dtype=int), np.array([[0.5, 0.5], [0.75, 0.25], [1, 0]]), 4)
    assert points.high.tolist() == [0.5, 0.75, 1.0]


def test_sure_and_right_is_calibrated_and_sure_and_wrong_is_not():
    sure = np.eye(2)[[0, 1, 1]]
    right, wrong = np.array([0, 1, 1]), np.array([1, 0, 0])
    assert (expected_calibration_error(right, sure), brier_score(right, sure)) == (0, 0)
    assert (expected_calibration_error(wrong, sure), brier_score(wrong, sure)) == (1, 2)


def test_the_brier_score_by_hand():
    """Three classes, one row: (0.5 - 1)^2 + 0.3^2 + 0.2^2."""
    assert brier_score(np.array([0]), np.array([[0.5, 0.3, 0.2]])) == pytest.approx(0.38)


def test_of_two_classes_it_is_twice_the_score_of_scikit_learn():
    expected = 2 * metrics.brier_score_loss(LABELS, PROBABILITIES[:, 1])
    assert brier_score(LABELS, PROBABILITIES) == pytest.approx(expected)


def test_the_order_of_the_rows_does_not_matter():
    order = np.array([4, 2, 0, 1, 3])
    found = expected_calibration_error(LABELS[order], PROBABILITIES[order])
    assert found == pytest.approx(expected_calibration_error(LABELS, PROBABILITIES))


@pytest.mark.parametrize(
    ("labels", "probabilities", "bins"),
    [([], np.empty((0, 2)), 15), ([0], [[0.5, 0.5]], 0), ([0, 1], [[0.5, 0.5]], 15)],
)
def test_nothing_to_bin_is_refused(labels, probabilities, bins):
    with pytest.raises(ValueError, match="bins of"):
        reliability(np.array(labels, dtype=int), np.array(probabilities), bins)


def test_there_are_fifteen_bins_unless_told_otherwise():
    """As in Guo et al. 2017; of 15 and 16 bins, these answers give another error."""
    assert len(reliability(LABELS, PROBABILITIES).rows) == 2
    ends = reliability(LABELS, PROBABILITIES)
    assert ends.high - ends.low == pytest.approx([1 / 15, 1 / 15])
    draw = np.random.default_rng(0)
    answers = draw.dirichlet([1, 1], size=300)
    labels = (draw.random(300) < answers[:, 1]).astype(int)
    by_default = expected_calibration_error(labels, answers)
    assert by_default == expected_calibration_error(labels, answers, bins=15)
    assert by_default != expected_calibration_error(labels, answers, bins=16)


@pytest.mark.parametrize("rows", [300, 3000])
def test_a_calibrated_model_has_the_error_that_is_expected_of_it(rows):
    """Labels drawn with the chance of the confidence: the mean of their errors, by definition."""
    generator = np.random.default_rng(3)
    confidence = generator.uniform(0.5, 1, rows)
    probabilities = np.stack([confidence, 1 - confidence], axis=1)
    errors = [
        expected_calibration_error((generator.random(rows) > confidence).astype(int), probabilities)
        for _ in range(200)
    ]
    floor = calibrated_error(probabilities)
    assert floor == pytest.approx(np.mean(errors), rel=0.06)
    assert calibrated_error(probabilities) == floor  # seeded


def test_certainty_has_no_error():
    assert calibrated_error(np.eye(2)[[0, 1, 1]]) == 0
