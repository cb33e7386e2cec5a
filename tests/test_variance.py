"""What is due to rows and what to seeds, against an analysis of variance and by hand."""

import math

import numpy as np
import pytest

from common.resampling import Measured, Variant, measure
from common.variance import contrast, mean_interval, satterthwaite, spread_over_seeds


def test_rows_and_seeds_are_those_of_an_analysis_of_variance():
    """Accuracy is a mean over a table of seeds and rows: its variance follows from mean squares.

    (MS seeds + MS rows - MS rest) / (seeds rows), Searle, Casella and McCulloch 1992, section 4.5.
    """
    generator = np.random.default_rng(0)
    seeds, rows = 6, 150
    easy = generator.normal(size=rows) + 0.3 * generator.normal(size=(seeds, 1))
    correct = easy + generator.normal(size=(seeds, rows)) > -1
    labels = np.ones(rows, dtype=int)
    (found,) = measure(
        labels, [Variant("a", np.eye(2)[correct.astype(int)])], "accuracy", resamples=20000
    ).values()
    table = correct.astype(float)
    of_seeds, of_rows = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_seeds[:, None] - of_rows + table.mean()
    mean_square_rest = (rest**2).sum() / (seeds - 1) / (rows - 1)
    mean_square_seeds, mean_square_rows = rows * of_seeds.var(ddof=1), seeds * of_rows.var(ddof=1)
    spread = spread_over_seeds(found)
    assert spread.sd_seeds is not None
    assert spread.sd_seeds**2 == pytest.approx(
        (mean_square_seeds - mean_square_rest) / rows, rel=0.05
    )
    assert spread.interaction == pytest.approx(mean_square_rest / rows, rel=0.05)
    error = contrast([(found, 1.0)]).standard_error
    whole = (mean_square_seeds + mean_square_rows - mean_square_rest) / (seeds * rows)
    assert error**2 == pytest.approx(whole, rel=0.05)
    assert spread.share == pytest.approx(spread.sd_seeds**2 / seeds / whole, rel=0.05)


def measured(values: list[float], replicates: np.ndarray, trained: bool = True) -> Measured:
    return Measured("a", "accuracy", 100, np.array(values), replicates, trained)


def test_one_seed_tells_nothing_of_seeds():
    draws = np.random.default_rng(0).normal(size=(1, 500))
    spread = spread_over_seeds(measured([0.5], draws))
    assert (spread.sd, spread.sd_seeds, spread.variance_seeds, spread.share) == (None,) * 4
    assert not mean_interval(measured([0.5], draws))[1]


def test_a_deterministic_baseline_has_no_variance_over_seeds():
    draws = np.random.default_rng(0).normal(size=(1, 500))
    spread = spread_over_seeds(measured([0.5], draws, trained=False))
    assert (spread.sd_seeds, spread.variance_seeds, spread.share) == (0.0, 0.0, 0.0)
    assert mean_interval(measured([0.5], draws, trained=False))[1]


def test_seeds_that_differ_by_chance_alone_have_no_variance_of_their_own():
    draws = np.random.default_rng(0).normal(scale=0.02, size=(2, 2000))
    spread = spread_over_seeds(measured([0.50, 0.51], draws))
    assert spread.sd == pytest.approx(0.01 / math.sqrt(2))
    assert spread.sd_seeds == 0.0


def test_the_interval_of_a_mean_by_hand():
    """Seeds that agree on which rows are hard: s^2 / 2 of two seeds, and 1 degree of freedom."""
    draws = np.tile(np.random.default_rng(0).normal(scale=1e-6, size=500), (2, 1))
    interval, known = mean_interval(measured([0.4, 0.6], draws))
    half = 12.7062 * math.sqrt(0.02 / 2)
    assert known
    assert (interval.low, interval.high) == pytest.approx((0.5 - half, 0.5 + half), rel=1e-4)


def test_satterthwaite_of_two_equal_variances_is_that_of_welch():
    """s1^2/n1 = s2^2/n2 with 4 degrees of freedom each: 8."""
    assert satterthwaite(2.0, [(1.0, 4), (1.0, 4)]) == pytest.approx(8)
    assert satterthwaite(1.0, []) == math.inf
    assert satterthwaite(0.5, [(1.0, 1)]) == 1
