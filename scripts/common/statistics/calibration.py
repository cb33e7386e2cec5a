"""Whether a model is right as often as it says."""

from dataclasses import dataclass

import numpy as np

from common.task import SINGLE_LABEL


@dataclass(frozen=True)
class Reliability:
    """The points of a reliability diagram, one per bin that has rows; all of shape (points,).

    Attributes:
        low: lower end of the bin, which is not in it (but 0 is in the first).
        high: upper end, which is.
        rows: how many rows have their confidence in it.
        confidence: their mean probability of the predicted class.
        accuracy: the share of them that are right.
    """

    low: np.ndarray
    high: np.ndarray
    rows: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def reliability(labels: np.ndarray, probabilities: np.ndarray, bins: int = 15) -> Reliability:
    """Return the points of a reliability diagram: Guo et al. 2017, "On calibration of modern neural
    networks", ICML, section 2.

    Args:
        labels: shape (rows,).
        probabilities: shape (rows, classes).
        bins: of equal width, from 0 to 1.

    Raises:
        ValueError: fewer than one bin, no rows, or shapes that do not fit.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    if probabilities.ndim != 2 or len(labels) != len(probabilities) or not len(labels) or bins < 1:
        raise ValueError(
            f"{bins} bins of {len(labels)} labels and probabilities of shape {probabilities.shape}"
        )
    confidence = probabilities.max(axis=1)
    right = SINGLE_LABEL.decode(probabilities) == labels
    edges = np.linspace(0, 1, bins + 1)
    which = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    rows = np.bincount(which, minlength=bins)
    full = np.flatnonzero(rows)
    return Reliability(
        edges[full],
        edges[full + 1],
        rows[full],
        np.bincount(which, confidence, minlength=bins)[full] / rows[full],
        np.bincount(which, right, minlength=bins)[full] / rows[full],
    )


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = 15
) -> float:
    """Return the mean distance of accuracy and confidence, over bins, weighted by their rows.

    0 to 1.

    Naeini, Cooper and Hauskrecht 2015, "Obtaining well calibrated probabilities using Bayesian
    binning", AAAI; of the predicted class, as in Guo et al. 2017, equation 3.

    Args:
        labels: shape (rows,).
        probabilities: shape (rows, classes).
        bins: of equal width; the value depends on them, and grows with them on few rows.
    """
    points = reliability(labels, probabilities, bins)
    return float(np.average(np.abs(points.accuracy - points.confidence), weights=points.rows))


def calibrated_error(
    probabilities: np.ndarray, bins: int = 15, draws: int = 200, seed: int = 0
) -> float:
    """Return the expected calibration error that a perfectly calibrated model is expected to have.

    The error is a mean of distances, so chance makes it larger than 0: of few rows, and of
    confidences that are spread over many bins. Here each row is right with the chance that its
    confidence says, again and again.

    Args:
        probabilities: shape (rows, classes); the confidences are theirs.
        bins: as for ``expected_calibration_error``.
        draws: how often the rows are drawn.
        seed: of the draws.
    """
    confidence = np.asarray(probabilities, dtype=float).max(axis=1)
    generator = np.random.default_rng(seed)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    right = generator.random((draws, len(confidence))) < confidence
    off = np.zeros((draws, bins))
    for number in np.unique(which):
        inside = which == number
        off[:, number] = np.abs((right[:, inside] - confidence[inside]).sum(axis=1))
    return float(off.sum(axis=1).mean() / len(confidence))


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Return the mean over rows of the squared error summed over all classes; 0 to 2.

    Brier 1950, "Verification of forecasts expressed in terms of probability", Mon. Weather Rev.
    78, 1-3. For two classes it is twice the score that counts the positive class alone.

    Args:
        labels: shape (rows,).
        probabilities: shape (rows, classes).
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=float)
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())
