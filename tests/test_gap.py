"""The share of a gap that is closed, and Fieller's interval."""

import math

import numpy as np
import pytest

from common.statistics.ranking import fieller, share_of_gap
from common.statistics.resampling import Measured


def test_fieller_by_hand():
    """(2 - 4r)^2 = 4 (0.04 + 0.04 r^2): 15.84 r^2 - 16 r + 3.84 = 0."""
    root = math.sqrt(16**2 - 4 * 15.84 * 3.84)
    expected = ((16 - root) / (2 * 15.84), (16 + root) / (2 * 15.84))
    assert fieller(2, 4, 0.04, 0.04, 0, 2) == pytest.approx(expected)


def test_the_ends_of_fieller_are_at_the_edge_of_significance():
    above, below, var_above, var_below, covariance, t = 0.03, 0.05, 1e-4, 1.2e-4, 4e-5, 1.96
    ends = fieller(above, below, var_above, var_below, covariance, t)
    assert ends is not None
    for end in ends:
        error = math.sqrt(var_above - 2 * end * covariance + end**2 * var_below)
        assert abs(above - end * below) / error == pytest.approx(t)


def test_fieller_is_without_bounds_where_the_denominator_may_be_zero():
    assert fieller(2, 0.3, 0.04, 0.04, 0, 2) is None


def three(
    head: float, adapter: float, full: float, error: float, metric: str = "accuracy", seeds: int = 3
) -> tuple[Measured, Measured, Measured]:
    """Adapter, head and full, whose seeds agree; each with its own error over the rows."""
    generator = np.random.default_rng(0)

    def one(name: str, mean: float) -> Measured:
        draws = np.tile(mean + error * generator.normal(size=4000), (seeds, 1))
        return Measured(name, metric, 1000, np.full(seeds, mean), draws, True)

    return one("lora", adapter), one("head", head), one("full", full)


def test_an_adapter_closes_most_of_the_gap():
    found = share_of_gap(*three(0.7, 0.88, 0.9, 0.005))
    assert found.share == pytest.approx(0.9)
    assert found.low is not None
    assert found.high is not None
    # Errors independent and small: the variance of a quotient by the delta method.
    error = 0.005 / 0.2 * math.sqrt(1 + 0.9**2 + 0.1**2)
    assert (found.low, found.high) == pytest.approx((0.9 - 1.96 * error, 0.9 + 1.96 * error), 0.02)
    assert (found.reason, found.seeds_known) == (None, True)


def test_each_of_the_three_counts_with_its_own_error():
    generator = np.random.default_rng(0)
    errors = {"lora": 0.01, "head": 0.002, "full": 0.005}
    means = {"lora": 0.88, "head": 0.7, "full": 0.9}
    parts = {}
    for name, error in errors.items():
        draws = np.tile(means[name] + error * generator.normal(size=4000), (3, 1))
        parts[name] = Measured(name, "accuracy", 1000, np.full(3, means[name]), draws, True)
    found = share_of_gap(parts["lora"], parts["head"], parts["full"])
    assert found.low is not None
    assert found.high is not None
    # By the delta method; for other errors, whose covariance is not that of equal ones.
    error = math.sqrt(0.01**2 + (0.9 * 0.005) ** 2 + (0.1 * 0.002) ** 2) / 0.2
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.03)


def test_what_the_rows_do_to_all_three_cancels():
    """The test rows move all three together: only what each has for itself makes the share vary."""
    generator = np.random.default_rng(0)
    shared = 0.02 * generator.normal(size=4000)
    parts = []
    for name, mean in (("lora", 0.75), ("head", 0.7), ("full", 0.9)):
        draws = np.tile(mean + shared + 0.003 * generator.normal(size=4000), (3, 1))
        parts.append(Measured(name, "accuracy", 1000, np.full(3, mean), draws, True))
    lora, head, full = parts
    found = share_of_gap(lora, head, full)
    assert found.low is not None
    assert found.high is not None
    error = 0.003 / 0.2 * math.sqrt(1 + 0.25**2 + 0.75**2)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * error, rel=0.05)


def test_of_a_loss_too():
    found = share_of_gap(*three(0.5, 0.32, 0.3, 0.005, "loss"))
    assert found.share == pytest.approx(0.9)


def test_an_adapter_may_do_better_or_worse_than_both():
    assert share_of_gap(*three(0.7, 0.95, 0.9, 0.005)).share == pytest.approx(1.25)
    assert share_of_gap(*three(0.7, 0.65, 0.9, 0.005)).share == pytest.approx(-0.25)


def test_no_gap_no_share():
    found = share_of_gap(*three(0.70, 0.71, 0.71, 0.01))
    assert (found.share, found.low, found.high) == (None, None, None)
    assert found.reason == "the gap is not significant"


@pytest.mark.parametrize(("metric", "head", "full"), [("accuracy", 0.9, 0.7), ("loss", 0.3, 0.5)])
def test_where_full_is_worse_there_is_no_gap_to_close(metric, head, full):
    found = share_of_gap(*three(head, 0.8, full, 0.005, metric))
    assert (found.share, found.reason) == (None, "full is worse than head")


def test_one_seed_says_so():
    found = share_of_gap(*three(0.7, 0.88, 0.9, 0.005, seeds=1))
    assert found.share == pytest.approx(0.9)
    assert not found.seeds_known


def test_the_interval_holds_the_truth_as_often_as_it_says():
    generator, held = np.random.default_rng(1), []
    for _ in range(400):
        head, adapter, full = map(float, generator.normal([0.70, 0.78, 0.80], 0.01))
        found = share_of_gap(*three(head, adapter, full, 0.01))
        assert found.low is not None
        assert found.high is not None
        held.append(found.low <= 0.8 <= found.high)
    assert 0.92 <= np.mean(held) <= 0.98
