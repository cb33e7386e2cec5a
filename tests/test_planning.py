"""What a test set can show, by hand and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from common.statistics.planning import Needed, detectable_difference, needed, power
from common.statistics.resampling import measure
from common.statistics.significance import Comparison, compare
from common.statistics.variance import Block, Contrast, freedom
from tests.simulation import draw, labels_of

Z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)


def comparison(
    value: float,
    rows_variance: float,
    between: float = 0.0,
    interaction: float = 0.0,
    seeds: int = 4,
    trained: bool = True,
) -> Comparison:
    """Of two whose seeds are their own: 1,000 rows; variances are of one seed of one side."""
    blocks = tuple(Block(seeds, between, interaction) for _ in "ab") if trained else ()
    total = rows_variance + 2 * between / seeds
    df = freedom(total, [(each.observed, seeds - 1) for each in blocks if each.observed])
    known = seeds > 1 or not trained
    found = Contrast(value, rows_variance, 2 * between / seeds, float(df), known, 1000, blocks)
    return Comparison("a", "b", "accuracy", found, 0.5, 0.5)


def test_the_detectable_difference_of_rows_alone_by_hand():
    """5 % of 1,000 rows disagree: a standard error of 0.7 points, of which it takes 2.8."""
    found = detectable_difference(comparison(0.01, 0.05 / 1000, seeds=1, trained=False))
    assert found == pytest.approx(2.8016 * math.sqrt(0.05 / 1000), rel=1e-4)


@pytest.mark.parametrize(("df", "errors"), [(2, 17.9), (3, 9.4)])
def test_few_degrees_of_freedom_ask_for_a_larger_difference(df, errors):
    """At Holm's first step of ten; a sum of two quantiles of t would say 15.2 and 8.4."""
    found = Contrast(0.01, 1e-4, 0.0, df, True, 1000, ())
    size = detectable_difference(Comparison("a", "b", "accuracy", found, 0.5, 0.5), alpha=0.005)
    assert size == pytest.approx(errors * 0.01, rel=0.01)


def test_the_power_is_that_of_a_simulation():
    generator = np.random.default_rng(0)
    estimate = 0.02 + 0.01 * generator.normal(size=200_000)
    error = 0.01 * np.sqrt(generator.chisquare(4, size=200_000) / 4)
    seen = (estimate / error > stats.t.ppf(0.975, 4)).mean()
    assert power(0.02, 0.01, np.array([4.0, math.inf]), 0.05) == pytest.approx(
        [seen, stats.norm.sf(1.96 - 2)], abs=0.005
    )


def test_a_difference_of_many_errors_is_always_found():
    errors = np.linspace(30, 400, 741)
    for df in (5, 8, 30, 100, 1e6):
        assert power(errors, 1.0, np.full(len(errors), df), 0.0125) == pytest.approx(1, abs=1e-6)


def test_two_that_never_disagree_tell_nothing():
    assert detectable_difference(comparison(0.0, 0.0)) is None
    assert needed(comparison(0.0, 0.0), 0.02).rows is None
    assert "never disagree" in needed(comparison(0.0, 0.0), 0.02).why


def test_what_no_metric_can_reach_is_not_promised():
    assert detectable_difference(comparison(0.0, 0.25, trained=False), most=1.0) is None


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
    found = np.mean([each.p <= 0.05 for each in runs])
    expected = stats.norm.cdf(Z * true / detectable - 1.96)
    assert found == pytest.approx(expected, abs=0.07)


def test_rows_by_hand_whatever_the_difference_seen():
    """Without seeds the error falls with the root of the rows."""
    variance = 0.05 / 1000
    for seen in (0.0, 0.01, 0.3):
        found = needed(comparison(seen, variance, seeds=1, trained=False), 0.01)
        assert found.rows == pytest.approx(1000 * variance * Z**2 / 0.01**2, rel=1e-2)
        assert (found.seeds, found.why) == (None, "neither has seeds, so rows alone count")


def test_one_seed_leaves_the_seeds_open():
    found = needed(comparison(0.01, 1e-4, seeds=1), 0.01)
    assert found.rows is not None
    assert found.seeds is None
    assert "one seed" in found.why


def test_more_rows_never_do_where_seeds_dominate():
    found = needed(comparison(0.01, 1e-6, 1e-3), 0.01)
    assert found.rows is None
    assert found.seeds is not None
    assert "more rows alone would never do" in found.why
    # 2 x 0.001 / k + 1e-6 is the variance, with so many seeds that z will do.
    assert found.seeds == pytest.approx(2e-3 / (0.01**2 / Z**2 - 1e-6), rel=0.02)


def test_more_seeds_never_do_where_rows_are_few():
    found = needed(comparison(0.01, 1e-4, 1e-8), 0.01)
    assert found.seeds is None
    assert "more seeds alone would never do" in found.why
    assert found.rows is not None


def test_nothing_does_alone():
    found = needed(comparison(0.0, 1e-3, 1e-2), 0.001)
    assert found == Needed(
        None, None, "neither more rows nor more seeds alone would do: it takes both"
    )


def test_errors_of_the_seeds_fall_with_rows_and_with_seeds():
    """All of the variance is interaction: half with twice the rows, or with twice the seeds."""
    interaction, seeds = 4e-4, 8
    part = 2 * interaction / seeds
    found = needed(comparison(0.01, part, 0.0, interaction, seeds), 0.01)
    assert found.rows is not None
    assert found.seeds is not None
    assert found.why == "more rows or more seeds would do"
    more = needed(comparison(0.01, part / 2, 0.0, interaction / 2, seeds), 0.01)
    assert more.seeds == pytest.approx(found.seeds / 2, rel=0.2)
