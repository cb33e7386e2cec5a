"""What is due to rows and what to seeds, against an analysis of variance and by hand."""

import math

import numpy as np
import pytest

from common.statistics.resampling import Measured, Variant, measure
from common.statistics.variance import (
    Contrast,
    contrast,
    freedom,
    mean_interval,
    spread_over_seeds,
)


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
    assert spread.variance_seeds == pytest.approx(spread.sd_seeds**2 / seeds)
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
    """s^2 / 2 of two seeds, and 1 degree of freedom, on the logit scale: h / (0.5 x 0.5)."""
    draws = np.tile(np.random.default_rng(0).normal(scale=1e-6, size=500), (2, 1))
    interval, known = mean_interval(measured([0.4, 0.6], draws))
    half = 12.7062 * math.sqrt(0.02 / 2) / 0.25
    assert known
    assert (interval.low, interval.high) == pytest.approx(
        (1 / (1 + math.exp(half)), 1 / (1 + math.exp(-half))), rel=1e-4
    )


def test_degrees_of_freedom_by_hand():
    """Two equal parts of 4 are 8, as Welch has it; half of a variance known for sure: 4 times.

    With fewer than eight seeds the share counts with a power of a quarter of them.
    """
    assert freedom(2.0, [(1.0, 4), (1.0, 4)]) == pytest.approx(8)
    assert freedom(4.0, [(1.0, 8), (1.0, 8)]) == pytest.approx(16 * 4)
    assert freedom(4.0, [(1.0, 4), (1.0, 4)]) == pytest.approx(8 * 2**1.25)
    assert freedom(4.0, [(1.0, 3)]) == pytest.approx(3 * 4)
    assert freedom(4.0, [(1.0, 2)]) == pytest.approx(2 * 4**0.75)
    assert freedom(4.0, [(1.0, 1)]) == pytest.approx(2)
    assert freedom(4.0, [(1.0, 9), (1.0, 1)]) == pytest.approx(4 / (1 + 1 / 9) * math.sqrt(2))
    assert freedom(1.0, []) == math.inf
    assert freedom(0.5, [(1.0, 1)]) == 1
    assert freedom(np.array([1.0, 4.0]), [(np.array([1.0, 1.0]), 3)]) == pytest.approx([3, 12])


@pytest.mark.parametrize("parts", [[(1.0, 2)], [(1.0, 1), (0.5, 3)], [(2.0, 4), (0.1, 2)]])
def test_degrees_of_freedom_are_never_more_than_satterthwaites(parts):
    """Satterthwaite 1946: the variance squared by the sum of squared parts by their freedom."""
    satterthwaite = 3.0**2 / sum(part**2 / df for part, df in parts)
    assert freedom(3.0, parts) <= satterthwaite


def two_with(seeds_a: tuple[int, ...], seeds_b: tuple[int, ...]) -> Contrast:
    """The difference of two variants whose three seeds do the same to both."""
    draws = np.zeros((3, 50))
    a, b = (Measured(name, "accuracy", 100, np.array(values), draws, True, seeds)
            for name, values, seeds in (("a", [0.5, 0.6, 0.7], seeds_a),
                                        ("b", [0.4, 0.5, 0.6], seeds_b)))  # fmt: skip
    return contrast([(a, 1.0), (b, -1.0)])


def test_variants_of_the_same_seeds_are_paired():
    paired, apart = two_with((0, 1, 2), (0, 1, 2)), two_with((0, 1, 2), (0, 1, 3))
    assert paired.value == apart.value == pytest.approx(0.1)
    assert paired.seeds_variance == pytest.approx(0)
    assert apart.seeds_variance == pytest.approx(2 * 0.01 / 3)
    assert [len(each.blocks) for each in (paired, apart, two_with((), ()))] == [1, 2, 2]


def test_a_baseline_is_in_no_block():
    draws = np.zeros((3, 50))
    a = Measured("a", "accuracy", 100, np.array([0.5, 0.6, 0.7]), draws, True, (0, 1, 2))
    b = Measured("b", "accuracy", 100, np.array([0.4]), draws[:1], False)
    found = contrast([(a, 1.0), (b, -1.0)])
    assert [block.seeds for block in found.blocks] == [3]
    assert found.seeds_variance == pytest.approx(0.01 / 3)
