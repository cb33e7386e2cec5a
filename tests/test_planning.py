"""What a test set can show, by hand and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from common.statistics.planning import Needed, detectable_difference, needed
from common.statistics.resampling import measure
from common.statistics.significance import Comparison, compare
from common.statistics.variance import Contrast, Side
from tests.simulation import draw, labels_of

Z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)


def comparison(
    value: float,
    rows_variance: float,
    seeds_variance: float = 0.0,
    interaction: float = 0.0,
    seeds: int = 4,
    trained: bool = True,
) -> Comparison:
    """Of two alike: 1,000 rows; the variance and interaction are those of one seed of one side."""
    sides = tuple(
        Side(name, weight, seeds, trained, seeds_variance, interaction)
        for name, weight in (("a", 1.0), ("b", -1.0))
    )
    part = 2 * (seeds_variance + interaction) / seeds
    total = rows_variance + 2 * seeds_variance / seeds
    df = 2 * (seeds - 1) / min(1, part / total) if part else math.inf
    known = seeds > 1 or not trained
    found = Contrast(value, rows_variance, 2 * seeds_variance / seeds, df, known, 1000, sides)
    return Comparison("a", "b", "accuracy", found, 0.5, 0.5)


def test_the_detectable_difference_of_rows_alone_by_hand():
    """5 % of 1,000 rows disagree: a standard error of 0.7 points, of which it takes 2.8."""
    found = detectable_difference(comparison(0.01, 0.05 / 1000, seeds=1, trained=False))
    assert found == pytest.approx(2.8016 * math.sqrt(0.05 / 1000), rel=1e-4)


def test_few_seeds_ask_for_a_larger_difference():
    few = detectable_difference(comparison(0.01, 1e-9, 1e-4, seeds=2))
    df = 2
    expected = (stats.t.ppf(0.975, df) + stats.t.ppf(0.8, df)) * 0.01
    assert few == pytest.approx(expected, rel=1e-3)


def test_two_that_never_disagree_tell_nothing():
    assert detectable_difference(comparison(0.0, 0.0)) is None
    assert needed(comparison(0.0, 0.0)).rows is None
    assert "do not differ" in needed(comparison(0.0, 1e-4)).why


def test_the_power_at_the_detectable_difference_is_as_asked():
    """A difference of that size between two models, simulated, is found in 80 of 100."""
    generator, labels = np.random.default_rng(2), labels_of(1000, 0.5)

    def pairs(runs: int, quality: float) -> list[Comparison]:
        families = draw(generator, labels, runs, [1, 1], [0, 0], [1.5, quality])
        flat = [each for family in families for each in family]
        found = measure(labels, flat, "accuracy", resamples=300)
        return [compare(found[a.name], found[b.name]) for a, b in families]

    runs = pairs(400, 1.65)
    true = abs(np.mean([each.contrast.value for each in runs]))
    detectable = np.mean([detectable_difference(each) or 0 for each in runs])
    power = np.mean([each.p <= 0.05 for each in runs])
    expected = stats.norm.cdf(Z * true / detectable - 1.96)
    assert power == pytest.approx(expected, abs=0.07)


def test_rows_by_hand():
    """Without seeds the error falls with the root of the rows."""
    value, variance = 0.01, 0.05 / 1000
    found = needed(comparison(value, variance, seeds=1, trained=False))
    assert found.rows == pytest.approx(1000 * variance * Z**2 / value**2, rel=2e-3)
    assert (found.seeds, found.why) == (None, "neither has seeds, so rows alone count")


def test_one_seed_leaves_the_seeds_open():
    found = needed(comparison(0.01, 1e-4, seeds=1))
    assert found.rows is not None
    assert found.seeds is None
    assert "one seed" in found.why


def test_more_rows_never_do_where_seeds_dominate():
    found = needed(comparison(0.01, 1e-6, 1e-3))
    assert found.rows is None
    assert found.seeds is not None
    assert "more rows alone would never do" in found.why
    # 2 x 0.001 / k + 1e-6 is the variance, with so many seeds that z will do.
    assert found.seeds == pytest.approx(2e-3 / (0.01**2 / Z**2 - 1e-6), rel=0.02)


def test_more_seeds_never_do_where_rows_are_few():
    found = needed(comparison(0.01, 1e-4, 1e-8))
    assert found.seeds is None
    assert "more seeds alone would never do" in found.why
    assert found.rows == pytest.approx(1000 * 1e-4 * Z**2 / 0.01**2, rel=0.02)


def test_a_small_difference_takes_both():
    found = needed(comparison(0.001, 1e-4, 1e-4))
    assert found == Needed(None, None, "neither more rows nor more seeds alone would do: "
                                       "it takes both")  # fmt: skip


def test_either_does_and_a_clear_difference_takes_few():
    found = needed(comparison(0.05, 1e-4, 1e-4, interaction=1e-5))
    assert found.why == "more rows or more seeds would do"
    assert found.rows is not None and found.rows < 1000
    assert found.seeds is not None and found.seeds <= 4


def test_a_detectable_difference_needs_no_more_than_there_is():
    """Of simulated answers, so that the variances of rows, seeds and both are as they come."""
    generator, labels = np.random.default_rng(3), labels_of(500, 0.5)
    (family,) = draw(generator, labels, 1, [3, 3], [0.05, 0.05], [1.5, 1.6])
    found = compare(*measure(labels, family, "accuracy").values())
    detectable = detectable_difference(found)
    assert detectable is not None
    larger = Contrast(**{**vars(found.contrast), "value": 1.01 * detectable})
    plan = needed(Comparison("a", "b", "accuracy", larger, 0.01, 0.01))
    assert plan.rows is not None and plan.rows <= 500
    assert plan.seeds is not None and plan.seeds <= 3
    smaller = Contrast(**{**vars(found.contrast), "value": 0.99 * detectable})
    plan = needed(Comparison("a", "b", "accuracy", smaller, 0.01, 0.01))
    assert plan.rows is None or plan.rows > 500
    assert plan.seeds is None or plan.seeds > 3
