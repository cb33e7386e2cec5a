"""Intervals against published ones, and how often they hold the truth."""

import math

import numpy as np
import pytest
from scipy import stats

from common.metrics import METRICS
from common.statistics.intervals import (
    Interval,
    bootstrap_intervals,
    decimals,
    percentile_interval,
    rounded,
    wilson,
    within,
)
from common.statistics.resampling import Variant, scores


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611),
     (1, 29, 0.0061, 0.1718)],
)  # fmt: skip
def test_wilson_is_that_of_newcombe(hits, rows, low, high):
    """Newcombe 1998, Stat. Med. 17, 857-872, Table I, method 3."""
    found = wilson(hits, rows)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetrical():
    few, many = wilson(3, 40), wilson(37, 40)
    assert (few.low, few.high) == pytest.approx((1 - many.high, 1 - many.low))


def test_the_percentile_interval_of_the_first_hundred_numbers():
    found = percentile_interval(np.arange(101.0), 0.9)
    assert (found.low, found.high) == pytest.approx((5, 95))


def answers(labels: np.ndarray, wrong: list[int]) -> np.ndarray:
    predicted = labels.copy()
    predicted[wrong] = 1 - predicted[wrong]
    return np.eye(2)[predicted][None]


def test_on_one_class_the_interval_is_that_of_jeffreys():
    """Of 16 right in 20: the Beta(16.5, 4.5) quantiles, Brown, Cai and DasGupta 2001."""
    labels = np.ones(20, dtype=int)
    variant = Variant("a", answers(labels, [0, 1, 2, 3]))
    found = bootstrap_intervals(labels, [variant], ["recall"], resamples=20000)["recall"]["a"].mean
    expected = stats.beta(16.5, 4.5).ppf([0.025, 0.975])
    # The weights of a class sum to its rows, with the prior row shrunk in.
    assert (found.low, found.high) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    "metric", [name for name, known in METRICS.items() if not known.of_probabilities]
)
def test_a_perfect_classifier_is_not_certain(metric):
    labels = np.repeat([0, 1], [26, 4])
    found = bootstrap_intervals(labels, [Variant("a", answers(labels, []))], [metric])[metric]["a"]
    assert found.mean.low < 0.98
    assert found.mean.high > 0.99
    assert found.cells == [found.mean]


def test_the_interval_of_the_loss_is_that_of_a_mean():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 200)
    own = generator.uniform(0.2, 0.9, size=400)
    probabilities = np.where(labels == 1, [1 - own, own], [own, 1 - own]).T[None]
    found = bootstrap_intervals(labels, [Variant("a", probabilities)], ["loss"])["loss"]["a"].mean
    loss = -np.log(own)
    error = np.sqrt(loss[:200].var() / 200 + loss[200:].var() / 200) / 2
    expected = (loss.mean() - 1.96 * error, loss.mean() + 1.96 * error)
    assert (found.low, found.high) == pytest.approx(expected, abs=0.1 * error + 0.004)


def test_the_mean_over_seeds_is_known_better_than_a_seed():
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    right = generator.uniform(size=(3, 200)) < 0.8
    variant = Variant("a", np.eye(2)[np.where(right, labels, 1 - labels)])
    found = bootstrap_intervals(labels, [variant], ["mcc"])["mcc"]["a"]
    assert len(found.cells) == 3
    width = [cell.high - cell.low for cell in found.cells]
    assert (found.mean.high - found.mean.low) < 0.7 * min(width)


def test_seed_and_order_of_the_rows():
    labels = np.repeat([0, 1], [80, 20])
    variant = Variant("a", answers(labels, [1, 2, 85, 90]))
    order = np.random.default_rng(0).permutation(100)
    shuffled = Variant("a", variant.probabilities[:, order])
    first = bootstrap_intervals(labels, [variant], ["f1"])["f1"]["a"].mean
    assert first == bootstrap_intervals(labels, [variant], ["f1"])["f1"]["a"].mean
    assert first != bootstrap_intervals(labels, [variant], ["f1"], seed=1)["f1"]["a"].mean
    # Other rows get other draws, so that the resamples differ, but not what they tell.
    other = bootstrap_intervals(labels[order], [shuffled], ["f1"])["f1"]["a"].mean
    assert (other.low, other.high) == pytest.approx((first.low, first.high), abs=0.015)


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "mcc", "recall"])
def test_the_interval_holds_the_truth_as_often_as_it_says(metric):
    """39 spam of which 97 % are found, 261 ham of which 0.5 % are not: near the edge.

    A bootstrap of the rows alone holds the recall 69 times in 100, the other metrics 90 times.
    """
    generator, runs = np.random.default_rng(1), 400
    labels = np.repeat([0, 1], [261, 39])
    wrong = generator.uniform(size=(runs, 300)) < np.where(labels == 1, 0.03, 0.005)
    cells = np.eye(2)[np.where(wrong, 1 - labels, labels)]
    variants = [Variant(str(run), cells[run : run + 1]) for run in range(runs)]
    found = bootstrap_intervals(labels, variants, [metric], resamples=1000)[metric]
    expected = np.where(labels == 1, 0.97, 0.995)
    truth = scores(
        np.tile(labels, 2),
        np.eye(2)[np.concatenate([labels, 1 - labels])][None],
        [metric],
        weights=np.concatenate([expected, 1 - expected])[None],
    )[metric][0, 0]
    held = np.mean([each.mean.low <= truth <= each.mean.high for each in found.values()])
    assert 0.92 <= held <= 1.0


@pytest.mark.parametrize(
    ("half_width", "digits"),
    [(0.119, 2), (0.367, 1), (0.0119, 3), (0.00354, 4), (0.0355, 2), (0.096, 2), (0.2, 2),
     (0.5, 1), (3.2, 1), (12, 0), (0, 4), (1e-9, 4)],
)  # fmt: skip
def test_decimals_by_the_rule_of_the_particle_data_group(half_width, digits):
    """0.827 +- 0.119 shows as 0.83 +- 0.12, 0.827 +- 0.367 as 0.8 +- 0.4: their own examples."""
    assert decimals(half_width) == digits


def test_a_value_has_the_digits_of_its_interval():
    assert rounded(0.87342, Interval(0.8312, 0.9111)) == "0.87 (0.83 to 0.91)"
    assert rounded(0.87342, Interval(0.8581, 0.8899)) == "0.873 (0.858 to 0.890)"
    assert rounded(-0.0004, Interval(-0.03, 0.03)) == "0.000 (-0.030 to 0.030)"


def test_an_interval_stays_within_the_range_of_the_metric():
    """On the logit scale, by hand: 0.03 / (0.97 x 0.03) about log(0.97 / 0.03)."""
    found = within(0.97, 0.03, 0.0, 1.0)
    center, half = math.log(0.97 / 0.03), 0.03 / (0.97 * 0.03)
    assert found.low == pytest.approx(1 / (1 + math.exp(half - center)))
    assert found.high == pytest.approx(1 / (1 + math.exp(-half - center)))
    assert 0 < found.low < 0.97 < found.high < 1
    narrow = within(0.5, 0.001, 0.0, 1.0)
    assert (narrow.low, narrow.high) == pytest.approx((0.499, 0.501))


def test_an_interval_of_a_metric_of_another_range():
    whole, half = within(0.5, 0.1, -1.0, 1.0), within(0.75, 0.05, 0.0, 1.0)
    assert (whole.low, whole.high) == pytest.approx((2 * half.low - 1, 2 * half.high - 1))
    loss = within(0.4, 0.1, 0.0, math.inf)
    assert (loss.low, loss.high) == pytest.approx((0.4 * math.exp(-0.25), 0.4 * math.exp(0.25)))


@pytest.mark.parametrize(("value", "most"), [(0.0, 1.0), (1.0, 1.0), (0.0, math.inf)])
def test_at_an_end_of_the_range_a_value_stands_alone(value, most):
    assert within(value, 0.1, 0.0, most) == Interval(value, value)


def test_an_interval_without_width_is_not_shown():
    assert rounded(0.46875, Interval(0.46875, 0.46875)) == "0.469"
